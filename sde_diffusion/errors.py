"""The one error that a user can cause: it becomes one line on the command line."""

from __future__ import annotations


class InputError(ValueError):
    """A wrong input: the message names the key and the remedy, in one line."""
