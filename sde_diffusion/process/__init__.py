"""The forward process: SDEs, their noise, and grids of times."""
