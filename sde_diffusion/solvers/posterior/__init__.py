"""Solvers that draw from the posterior of a measurement: they need the step or the noise."""
