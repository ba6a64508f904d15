"""Solvers that choose their own steps."""
