"""Solvers inside the loops of other libraries, which call the network themselves."""
