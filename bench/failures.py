"""Errors that end a cell with a status of its own. Worker half; bench.contract hands them on."""

from __future__ import annotations


class BenchError(Exception):
    """Root of the errors that have a message for the user and no traceback.

    BenchError
     +-- UsageError      bad input: exit code 2            (bench.errors)
     +-- EnvError        an environment cannot be made     (bench.errors)
     +-- Unsupported     the framework cannot do this: a row, not a failure
     +-- ParityError     the model computes something else: a row with status parity_failed
     +-- Incapable       a capability was tried, and what came out is wrong: a row that failed
     +-- TooSlow         what is left does not fit before the deadline: a row with status timeout
    """


class Unsupported(BenchError):
    """The backend cannot do this; the message is a fact about the framework."""


class ParityError(BenchError):
    """The program is not the reference's function; the message says by how much."""


class Incapable(BenchError):
    """The framework did what was asked, and the result is wrong; the message says by how much."""


class TooSlow(BenchError):
    """A step takes so long that the cell cannot be measured before its deadline."""
