"""Samplers of models that are no denoisers: they answer with an end of the path."""
