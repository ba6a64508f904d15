"""Procedural scenes of coloured shapes, with exact captions and layouts, and a reader of them."""
