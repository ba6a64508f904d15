"""Guidance that needs the step or a memory: solvers around other solvers."""
