"""Types of arguments, in argparse's sense."""

from __future__ import annotations

import argparse

from workloads.own import modules


def count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def fraction(text: str) -> float:
    """A number between 0 and 1, both left out."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1, such as 0.03")
    return value


def factory(text: str) -> str:
    """``package.module:function``."""
    try:
        return modules.named(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
