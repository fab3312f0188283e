"""CI reads its own pilot back and fails for a row that is missing, double, stray or wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ci_rows import EXPECTED, faults

Rows = list[dict[str, str]]


def rows() -> Rows:
    return [
        {
            **dict(zip(("backend", "workload", "model"), key, strict=True)),
            **dict(zip(("status", "parity"), values, strict=True)),
            "reason": "",
        }
        for key, values in EXPECTED.items()
    ]


def test_the_expected_rows_pass() -> None:
    assert len(EXPECTED) == 6
    assert faults(rows()) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda found: found.pop(0), "torch/cnn/cnn: 0 rows instead of one"),
        (lambda found: found.append(found[0]), "torch/cnn/cnn: 2 rows instead of one"),
        (lambda found: found[0].update(status="crashed", parity=""), "torch/cnn/cnn: ('crashed'"),
        (lambda found: found[0].update(parity=""), "torch/cnn/cnn: ('ok', '') instead of"),
        (lambda found: found[3].update(status="ok", parity="passed"), "onnxruntime/cnn/cnn: ('ok'"),
        (lambda found: found.append({**found[0], "backend": "jax"}), "jax/cnn/cnn: nobody asked"),
    ],
)
def test_anything_else_is_one_fault(spoil: Callable[[Rows], object], said: str) -> None:
    found = rows()
    spoil(found)
    (line,) = faults(found)
    assert line.startswith(said)
