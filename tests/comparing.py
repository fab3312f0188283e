"""Results files with chosen throughputs, for tests of what compares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.rows.files import ResultFile
from tests.rows import ok_row

RATE = 1280.0  # samples/s of ``ok_row``
TORCH = "torch/cnn/cnn/small/cpu/fp32/eager/out-of-box/b64/w1"
JAX = "jax/cnn/cnn/small/cpu/fp32/compiled/out-of-box/b64/w1"


def row(factor: float, **changes: Any) -> dict[str, Any]:
    """``ok_row`` at another speed: 50 ms a step and 1.28 TFLOP/s of a product's 3.2 at factor 1."""
    speed = {
        "samples_per_s": RATE * factor,
        "step_ms_p50": 50.0 / factor,
        "step_ms_p95": 55.0 / factor,
        "step_ms_p99": 60.0 / factor,
        "tflops": 1.28 * factor,
        "mfu": 0.4 * factor,
    }
    return ok_row(**(speed | changes))


def rows(factors: Sequence[float], **changes: Any) -> list[dict[str, Any]]:
    """One fresh process a factor."""
    return [row(factor, repeat=at, **changes) for at, factor in enumerate(factors, start=1)]


def write(
    path: Path,
    rows: Iterable[Mapping[str, Any]],
    times: Mapping[tuple[str, int], Any] | None = None,
) -> Path:
    """times: cell_id and repeat -> raw times."""
    with ResultFile.create(path) as file:
        for one in rows:
            file.append(dict(one), (times or {}).get((one["cell_id"], one["repeat"])))
    return path
