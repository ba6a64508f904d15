"""Distances between image sets. Metrics see images and features, never solvers."""
