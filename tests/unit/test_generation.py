"""What the gate of generation lets through: a fake decoder whose tokens are written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import generation
from bench.contract import BenchError, Cell
from bench.generation import NEW_TOKENS, Answers, Generation
from tests.cells import cell
from workloads import catalogue, flops

VOCAB = 64
CLEARLY, HARDLY = 0.3, 1e-3
"""Margins of the reference's choices, of the largest logit."""


def answers(margin: float = CLEARLY) -> Answers:
    tokens = np.arange(2 * NEW_TOKENS).reshape(2, NEW_TOKENS) % VOCAB
    margins = np.full((2, NEW_TOKENS), margin)
    first, last = (generation.words(logits_for(tokens[:, at])) for at in (0, -1))
    return Answers(10, [3, 5], tokens, margins, first, last)


def logits_for(tokens: np.ndarray) -> np.ndarray:
    """[B, VOCAB], largest at the tokens."""
    return np.eye(VOCAB)[tokens] + np.linspace(0, 0.5, VOCAB)


class Spoken(Generation):
    """Says what it is told, whatever the prompts are."""

    def __init__(self, tokens: np.ndarray, *, off: float = 0.0) -> None:
        self.n_params = 10
        self.said = tokens
        self.off = off
        self.place = -1

    def prefill(self) -> None:
        self.place = 0

    def decode(self) -> None:
        self.place += 1

    def tokens(self) -> np.ndarray:
        return self.said[:, self.place]

    def logits(self) -> np.ndarray:
        return logits_for(self.tokens()) * (1 + self.off)

    def cache(self) -> generation.Cache:
        return generation.Cache(nbytes=4, itemsize=4)


def served(precision: str = "fp32") -> Cell:
    return replace(cell(), workload="generate", precision=precision)


def with_another(place: int) -> np.ndarray:
    """The reference's tokens, but one of the second prompt."""
    tokens = answers().tokens.copy()
    tokens[1, place] = (tokens[1, place] + 1) % VOCAB
    return tokens


def test_the_references_tokens_pass():
    found = generation.check(Spoken(answers().tokens), answers(), served())
    assert (found.failures, found.equal, found.logits_err) == ([], 1.0, 0.0)


def test_one_other_token_fails_and_is_named():
    found = generation.check(Spoken(with_another(20)), answers(), served())
    (failure,) = found.failures
    assert failure == "token 21 of prompt 2 is 53, the reference's 52"
    assert found.equal == (NEW_TOKENS + 20) / 2 / NEW_TOKENS


@pytest.mark.parametrize(("margin", "passes"), [(CLEARLY, False), (HARDLY, True)])
def test_a_lower_precision_may_choose_otherwise_where_the_choice_was_close(margin, passes):
    found = generation.check(Spoken(with_another(0)), answers(margin), served("bf16"))
    wrong = [failure for failure in found.failures if "token" in failure]
    assert not wrong if passes else wrong


def test_logits_are_bound_even_where_the_tokens_are_right():
    found = generation.check(Spoken(answers().tokens, off=1e-3), answers(), served())
    assert found.failures == ["logits off by 0.001 (bound 1e-05)"]


def test_another_count_of_parameters_fails():
    program = Spoken(answers().tokens)
    program.n_params = 11
    assert generation.check(program, answers(), served()).failures == [
        "11 parameters instead of 10"
    ]


def test_more_prompts_than_the_reference_has_start_again_from_the_first():
    three = answers().of(3)
    assert three.rows == [3, 5, 3]
    np.testing.assert_array_equal(three.tokens[2], answers().tokens[0])


@pytest.mark.parametrize("text", ["{}", "[1", '{"param_count": 1, "generate": {"rows": [1]}}'])
def test_a_trace_without_answers_is_refused_in_one_line(tmp_path: Path, text: str):
    path = tmp_path / "trace.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError, match="no answers of a decoder in it"):
        Answers.read(path)


def test_operations_of_a_generation_are_those_of_its_tokens():
    dims: Any = catalogue.of_model("decoder", "tiny").dims
    # 64 tokens less the last pass the layers; 32 choices; attention over 1 .. 63 tokens, the
    # prompt's counted whole.
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 176
    attention = 2 * 64 * (32 * 32 + sum(range(33, 64)))
    expected = 2 * (63 * 2 * layer + 2 * attention + 32 * 64 * 512)
    assert flops.per_generation(dims, NEW_TOKENS) == expected
