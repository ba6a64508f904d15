"""The one error that a user can cause: it becomes one line on the command line."""

from __future__ import annotations


class InputError(ValueError):
    """A wrong input: the message names the key and the remedy, in one line.

    What it repeats of a file or a command line is escaped: no newline and no control character of a
    name reaches a terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escaped(message))


def escaped(text: str) -> str:
    """``text`` with its control characters, and others that nobody sees, as Python writes them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class ArgumentsError(InputError, TypeError):
    """A constructor is called with arguments that it does not take."""


class BudgetError(InputError):
    """``nfe`` evaluations buy no whole number of steps; those ``near`` do, as ``terms`` say."""

    def __init__(self, nfe: int, terms: str, near: list[int]) -> None:
        super().__init__(f"nfe={nfe}: {terms}; give one of {near}")
        self.terms, self.near = terms, near


class DivergedError(InputError):
    """A solver's images are no numbers: a fault of one cell of a comparison, not of the others."""
