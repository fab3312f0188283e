"""Serving a decoder: what a backend promises, and what the reference's answer is.

Worker half. A module that ``Entry.generates`` names has one function::

    start(cell, weights, prompts) -> Generation     # prompts: int64 [B, P]

Decoding is greedy: the next token is the one with the largest logit, whatever comes; there is no
end of text.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bench import parity
from bench.contract import BenchError, Cell, Program, Weights

NEW_TOKENS = 32
"""Generated for every prompt; the cache has room for so many after the prompt, and for no more."""


@dataclass(frozen=True)
class Cache:
    """nbytes: of all arrays together. itemsize: bytes of one number in them."""

    nbytes: int
    itemsize: int


class Generation(Program, ABC):
    """A decoder with a cache of keys and values, which is allocated once, at its full length.

    All prompts are equally long. ``prefill`` and ``decode`` may only enqueue.
    """

    @abstractmethod
    def prefill(self) -> None:
        """Forget what was generated; run all prompts at once, and choose each one's next token.

        The head is applied to the last position only.
        """

    @abstractmethod
    def decode(self) -> None:
        """Run the tokens that were chosen last, and choose the next; NEW_TOKENS - 1 times."""

    @abstractmethod
    def tokens(self) -> np.ndarray:
        """The tokens chosen last, whole numbers [B], on the host (waits)."""

    @abstractmethod
    def logits(self) -> np.ndarray:
        """Those that they were chosen by, float32 [B, vocab], on the host (waits)."""

    @abstractmethod
    def cache(self) -> Cache:
        """Keys and values as they are allocated, of all prompts and layers."""


class Generating(Protocol):
    """The module's names."""

    def start(self, cell: Cell, weights: Weights, prompts: np.ndarray) -> Generation: ...


@dataclass(frozen=True)
class Answers:
    """What the float64 reference generates for some of the held-out samples, without a cache.

    rows: which samples. tokens, margins [N, NEW_TOKENS]: the tokens, and by how much of the largest
    logit the second best was behind. first, last [N, words]: ``parity.sampled`` logits by which
    the first and the last token were chosen.
    """

    param_count: int
    rows: list[int]
    tokens: np.ndarray
    margins: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Answers:
        try:
            raw = json.loads(path.read_text())
            part = raw["generate"]
            answers = cls(
                param_count=int(raw["param_count"]),
                rows=[int(row) for row in part["rows"]],
                tokens=np.array(part["tokens"], np.int64),
                margins=np.array(part["margins"], np.float64),
                first=np.array(part["first"], np.float64),
                last=np.array(part["last"], np.float64),
            )
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise BenchError(f"{path}: no answers of a decoder in it ({error!r})") from error
        if answers.tokens.shape != (len(answers.rows), NEW_TOKENS):
            raise BenchError(f"{path}: {answers.tokens.shape} tokens, not {NEW_TOKENS} a prompt")
        return answers

    def of(self, count: int) -> Answers:
        """For ``count`` prompts: these, again from the first where there are not so many."""
        order = np.arange(count) % len(self.rows)
        arrays = {name: getattr(self, name)[order] for name in ("tokens", "margins", "first")}
        rows = [self.rows[place] for place in order]
        return Answers(self.param_count, rows, last=self.last[order], **arrays)


@dataclass(frozen=True)
class Verdict:
    """logits_err: of the first token's logits, and of the last one's where all tokens are equal.
    equal: the leading tokens that are, a mean over the prompts, as a share. taken_ns: the whole
    generation, with what is compiled in it. failures: none: it passed.
    """

    logits_err: float
    equal: float
    taken_ns: int
    failures: list[str]


def check(program: Generation, answers: Answers, cell: Cell) -> Verdict:
    """Generate once, and compare with the reference.

    A precision's bound on logits says how large a margin it may overrun: two logits may each be off
    by so much. Until a prompt's first choice that is closer, all of its tokens must be equal. In
    float32 the reference has no closer choice.
    """
    bound = parity.BOUNDS[cell.precision].logits
    started = time.perf_counter_ns()
    program.prefill()
    chosen = [program.tokens()]
    first = program.logits()
    for _ in range(NEW_TOKENS - 1):
        program.decode()
        chosen.append(program.tokens())
    taken_ns = time.perf_counter_ns() - started
    tokens = np.stack(chosen, axis=1)
    equal = leading(tokens == answers.tokens)
    failures = []
    if program.n_params != answers.param_count:
        failures.append(f"{program.n_params} parameters instead of {answers.param_count}")
    errors = [parity.relative_error(words(first), answers.first)]
    whole = equal == NEW_TOKENS
    if whole.any():
        last = words(program.logits())[whole]
        errors.append(parity.relative_error(last, answers.last[whole]))
    if not max(errors) <= bound:
        failures.append(f"logits off by {max(errors):.2g} (bound {bound:.0e})")
    needed = leading(answers.margins > 2 * bound)
    if (equal < needed).any():
        worst = int(np.argmax(needed - equal))
        failures.append(
            f"token {equal[worst] + 1} of prompt {worst + 1} is {tokens[worst, equal[worst]]}, the"
            f" reference's {answers.tokens[worst, equal[worst]]}"
        )
    return Verdict(max(errors), float(equal.mean()) / NEW_TOKENS, taken_ns, failures)


def leading(right: np.ndarray) -> np.ndarray:
    """How many of each row's first are true; bool [N, n] -> int [N]."""
    found: np.ndarray = np.cumprod(right.astype(int), axis=1).sum(axis=1)
    return found


def words(logits: np.ndarray) -> np.ndarray:
    """[B, vocab] -> of each those words that a trace has."""
    return parity.sampled(logits[:, None])[:, 0]
