"""The library: what a user imports and calls; components by name or as objects."""
