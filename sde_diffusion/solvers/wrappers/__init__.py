"""Solvers around other solvers."""
