"""What the device can do at all, measured through the backend that is being measured.

Worker half. A model that seems faster than a matrix product in the precision that it claims does
not compute in that precision.
"""

from __future__ import annotations

from bench import clock
from bench.contract import Adapter, Cell

LONG_NS = 4_000_000  # a product must last this long for its rate to be the machine's
SIZES = (512, 1024, 2048, 4096, 8192, 16384)
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


def gemm_tflops(adapter: Adapter, cell: Cell) -> dict[str, float]:
    """TFLOP/s of a square matrix product, in the cell's precision and in every other there is."""
    wanted = dict.fromkeys((cell.precision, *PRECISIONS))
    rates = {precision: _rate(adapter, cell, precision) for precision in wanted}
    return {precision: rate for precision, rate in rates.items() if rate is not None}


def _rate(adapter: Adapter, cell: Cell, precision: str) -> float | None:
    """The best of all sizes until one lasts long enough; None where there is no such product."""
    best: float | None = None
    for n in SIZES:
        kernel = adapter.gemm(cell, precision, n)
        if kernel is None:
            return best
        clock.block(kernel.run, kernel.wait, 1)
        fastest = min(clock.latencies(kernel.run, kernel.wait, 5))
        best = max(best or 0.0, 2 * n**3 / fastest / 1e3)  # 2 n^3 FLOP; 1 FLOP/ns = 1e-3 TFLOP/s
        if fastest >= LONG_NS:
            return best
    return best
