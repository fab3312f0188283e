"""What the device can do at all, measured through the backend that is being measured.

Worker half. A model that seems faster than a matrix product in the precision that it claims does
not compute in that precision. The rates of the matrix product and of memory, and the time of a
launch, tell two machines apart from two versions of the software.
"""

from __future__ import annotations

import statistics

from bench import clock
from bench.contract import Adapter, Cell

LONG_NS = 4_000_000  # a product must last this long for its rate to be the machine's
SIZES = (512, 1024, 2048, 4096, 8192, 16384)
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")

STREAMS = (2**24, 2**26, 2**28, 2**30)
"""Numbers to add 1 to; 64 MiB of them, and as much for the result, are more than caches hold."""

STREAM_NS = 2_000_000  # beside this a launch, some 10 us, is little
TRIES = 5
LAUNCHES = 500
REDUCTIONS = 11


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
        fastest = min(clock.latencies(kernel.run, kernel.wait, TRIES))
        best = max(best or 0.0, 2 * n**3 / fastest / 1e3)  # 2 n^3 FLOP; 1 FLOP/ns = 1e-3 TFLOP/s
        if fastest >= LONG_NS:
            return best
    return best


def memory_gb_s(adapter: Adapter, cell: Cell) -> float:
    """GB/s that are read and written where 1 is added to float32 numbers; the best of some tries.

    As in McCalpin's STREAM, what the caches fetch only to overwrite it is not counted.
    """
    rate = 0.0
    for n in STREAMS:
        kernel = adapter.stream(cell, n)
        clock.block(kernel.run, kernel.wait, 1)
        fastest = min(clock.latencies(kernel.run, kernel.wait, TRIES))
        rate = 2 * 4 * n / fastest  # bytes/ns = GB/s
        if fastest >= STREAM_NS:
            break
    return rate


def allreduce_ms(adapter: Adapter, cell: Cell, n: int) -> float | None:
    """Median milliseconds of one sum of n float32 numbers over the devices of the cell.

    With n the parameters', what sharing the gradients takes where nothing hides it. The number of
    tries is fixed: all processes have to make as many. None where it cannot be had by itself.
    """
    kernel = adapter.allreduce(cell, n)
    if kernel is None:
        return None
    clock.latencies(kernel.run, kernel.wait, 2)
    return statistics.median(clock.latencies(kernel.run, kernel.wait, REDUCTIONS)) / 1e6


def launch_us(adapter: Adapter, cell: Cell) -> float:
    """Median microseconds from asking for one addition of two numbers until its result is there."""
    kernel = adapter.stream(cell, 1)
    clock.latencies(kernel.run, kernel.wait, LAUNCHES // 10)  # the first ones compile
    return statistics.median(clock.latencies(kernel.run, kernel.wait, LAUNCHES)) / 1e3
