"""What a row may not say: figures that contradict each other, their status or common sense.

Parent half, stdlib only, pure. Each rule returns what it found as one clause in words. A rule
speaks only of figures that are there: a row that crashed half way has few of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from bench.contract import GENERATE
from bench.rows.column import Row
from bench.rows.columns import CACHES, COLUMNS, PARITIES, RUNGS, STATUSES, VERSION
from bench.rows.kinds import problem_of

STEP_FACTOR = 8.0
"""Throughput is the median of blocks; latency is measured apart, at another moment, and waits for
every step. They were seen to differ by 2.3 on a loaded shared machine, and by 5.3 where ten
processes shared two cores. A step that takes longer than throughput allows by more than this was
not waited for, or counted twice: the error that flatters, and what this is for."""

STALL_FACTOR = 100.0
"""The other way round the row only looks slower than it is, and a machine that stalls makes it so:
seen by 15, where three processes shared two cores. A thousand is milliseconds taken for seconds."""

SYNC_MS = 0.2
"""On an accelerator a step that is waited for also pays a launch and a synchronisation, which
blocks hide: for very short steps that is more than the factor."""

DERIVED_WITHIN = 0.01
RATE_MARGIN = 1.1
"""A matrix product is not quite the most that a device can do."""

DEVICE_MARGIN = 1.5
"""On a loaded shared machine the product was seen to be slowed more than the model; what the check
is for, a wrong count of samples or seconds, is off by more."""

_CELL = ("backend", "workload", "model", "size", "device", "precision", "mode", "track")
_NEEDED = (
    *("schema", "run_id", "cell_id", "repeat", "started_at", "host"),
    *_CELL,
    *("batch", "world_size", "status"),
)
_POSITIVE = ("batch", "world_size")
_SIGNED = ("loss_first", "loss_last")  # a user's own loss may be a log-likelihood
_OK = ("build_s", "backend_version", "import_s", "wall_s", "peak_host_mib", "baseline_host_mib")
_OK_TRAIN = ("samples_per_s", "step_ms_p50", "step_ms_p95", "step_ms_p99", "steps", "param_count")
_OK_INFER = (
    "infer_samples_per_s",
    "infer_ms_p50",
    "infer_ms_p95",
    "infer_ms_p99",
    "infer_steps",
    "export_rung",
)
_OK_GENERATE = ("ttft_ms_p50", "itl_ms_p50", "decode_tokens_per_s", "param_count")
_OK_POSITIVE = (*_OK_TRAIN, *_OK_INFER[:-1], "peak_host_mib", "wall_s")
_NOTHING_RAN = ("unsupported", "env_failed")
# These may hold each other: the gate takes the first step, and the first step compiles.
_WALL_PARTS = ("compile_s", "first_step_s", "parity_s", "warmup_s", "export_s")
_WALL_DISJOINT = ("import_s", "build_s", "measure_s", "target_s")
_SHARES = ("accuracy", "accuracy_start", "accuracy_reference", "target_found", "tokens_equal")
_TARGET = ("target_found", "target_s", "target_samples", "target_compile_s")
_CHOICES = {"status": STATUSES, "parity": PARITIES, "export_rung": RUNGS, "compile_cache": CACHES}


def contradictions(row: Row) -> list[str]:
    """What ``row`` says that cannot be true, each in one line; empty for a row to be trusted."""
    if found := list(_malformed(row)):
        return found  # the other rules compute with the values
    return [clause for rule in _RULES for clause in rule(row)]


def infers(row: Row) -> bool:
    """Whether its throughput is inference's: of what has an export format, or generates."""
    return _given(row, "export_format") or row.get("workload") == GENERATE


def _malformed(row: Row) -> Iterator[str]:
    """Wrong types, and numbers that are not finite or are negative."""
    for column in COLUMNS:
        value = row.get(column.name)
        if value is None:
            continue
        if problem := problem_of(column.kind, value):
            yield f"{column.name} {problem}"
        elif column.kind in ("int", "float") and column.name not in _SIGNED and value < 0:
            yield f"{column.name} is negative: {value}"
        elif column.name in _POSITIVE and value == 0:
            yield f"{column.name} is zero"


def _identity(row: Row) -> Iterator[str]:
    yield from (f"{name} is missing" for name in _NEEDED if not _given(row, name))
    if _given(row, "schema") and row["schema"] != VERSION:
        yield f"schema is {row['schema']}, not {VERSION}"
    for name, known in _CHOICES.items():
        if _given(row, name) and row[name] not in known:
            yield f"{name} {row[name]!r} is none of {', '.join(known)}"
    if row.get("workload") == "export" and not _given(row, "export_format"):
        yield "export_format is missing on an export row"
    yield from _cell_id(row)


def _cell_id(row: Row) -> Iterator[str]:
    """The id is made from the row's own columns (``contract.Cell.id``)."""
    if any(not _given(row, name) for name in _NEEDED):
        return
    parts = [row[name] for name in _CELL] + [f"b{row['batch']}", f"w{row['world_size']}"]
    parts += [row[name] for name in ("export_format", "capability") if _given(row, name)]
    expected = "/".join(parts)
    if not f"{row['cell_id']}/".startswith(f"{expected}/"):
        yield f"cell_id {row['cell_id']!r} does not start with {expected!r}, its own columns"


def _outcome(row: Row) -> Iterator[str]:
    """Status, reason, parity and what must or must not have been measured agree."""
    status = row.get("status")
    if status == "ok":
        yield from _ok(row)
    elif not _given(row, "reason"):
        yield f"reason is missing on a row with status {status}"
    if status == "parity_failed" and row.get("parity") != "failed":
        yield f"status is parity_failed, but parity is {row.get('parity') or 'empty'!r}"
    if status in _NOTHING_RAN:
        measured = ("samples_per_s", "infer_samples_per_s")
        yield from (f"{name} on a row that is {status}" for name in measured if _given(row, name))


def _ok(row: Row) -> Iterator[str]:
    if _given(row, "capability"):
        # Some of these build no model: all but the first.
        yield from (f"{name} is missing" for name in _OK[1:] if not _given(row, name))
        return
    if row.get("parity") != "passed":
        yield f"status is ok, but parity is {row.get('parity') or 'empty'!r}"
    figures: tuple[str, ...] = _OK_INFER if infers(row) else _OK_TRAIN
    if row.get("workload") == GENERATE:
        figures = (*_OK_INFER[:-1], *_OK_GENERATE)
    needed = _OK if _given(row, "trial") else (*_OK, *figures)  # a trial trains, and times nothing
    yield from (f"{name} is missing" for name in needed if not _given(row, name))
    yield from (f"{name} is zero" for name in needed if name in _OK_POSITIVE and row.get(name) == 0)
    rung = row.get("export_rung")
    if rung in RUNGS and RUNGS.index(rung) < RUNGS.index("numerics"):
        yield f"status is ok, but the exported file only got to the rung {rung}"


def _latency(row: Row) -> Iterator[str]:
    """Percentiles are in order, and throughput is about batch / latency."""
    for prefix in ("step", "infer"):
        names = [
            f"{prefix}_ms_{p}" for p in ("p50", "p95", "p99") if _given(row, f"{prefix}_ms_{p}")
        ]
        for low, high in pairwise(names):
            if row[low] > row[high]:
                yield f"{low} {row[low]:g} is above {high} {row[high]:g}"
    for rate, name in (("samples_per_s", "step_ms_p50"), ("infer_samples_per_s", "infer_ms_p50")):
        if not (row.get(rate) and row.get(name) and row.get("batch") and row.get("world_size")):
            continue
        implied = row["batch"] * row["world_size"] / row[rate] * 1e3
        slack = 0.0 if row.get("device") == "cpu" else SYNC_MS
        if row[name] > STEP_FACTOR * implied + slack or implied > STALL_FACTOR * row[name]:
            yield (
                f"{name} is {row[name]:.4g}, but batch x world_size / {rate} makes {implied:.4g} ms"
            )


def _flops(row: Row) -> Iterator[str]:
    """The derived rates follow from what they are derived from, and the device can do them."""
    rate = row.get("infer_samples_per_s" if infers(row) else "samples_per_s")
    flops, tflops, gemm = (row.get(n) for n in ("flops_per_sample", "tflops", "gemm_tflops"))
    processes = row.get("world_size") or 1
    yield from _derived(row, "tflops", _product(flops, rate, 1e-12))
    reachable = _product(gemm, processes)
    share = tflops / reachable if tflops is not None and reachable else None
    yield from _derived(row, "mfu", share)
    honest = None if share is None else share <= RATE_MARGIN
    said = row.get("precision_honest")
    if said != honest:
        yield (
            f"precision_honest is {_shown(said)}, but tflops and gemm_tflops"
            f" make it {_shown(honest)}"
        )
    most = _product(row.get("device_tflops"), processes)
    if tflops is not None and most is not None and tflops > most * DEVICE_MARGIN:
        yield f"more FLOP/s than the device has: tflops {tflops:.4g}, device {most:.4g}"


def _derived(row: Row, name: str, expected: float | None) -> Iterator[str]:
    if not _given(row, name):
        return
    if expected is None:
        yield f"{name} is given, but not what it is derived from"
    elif not math.isclose(row[name], expected, rel_tol=DERIVED_WITHIN):
        yield f"{name} is {row[name]:.4g}, but the row's own figures make {expected:.4g}"


def _amounts(row: Row) -> Iterator[str]:
    """Parts do not exceed their wholes."""
    for part, whole in (
        ("baseline_host_mib", "peak_host_mib"),
        ("real_tokens_per_s", "tokens_per_s"),
        ("target_compile_s", "target_s"),
        ("ttft_ms_p50", "ttft_ms_p99"),
        ("itl_ms_p50", "itl_ms_p99"),
        ("cache_bytes_formula", "cache_bytes_per_token"),
    ):
        if _given(row, part) and _given(row, whole) and row[part] > row[whole]:
            yield f"{part} {row[part]:g} is above {whole} {row[whole]:g}"
    for name in _SHARES:
        if _given(row, name) and row[name] > 1:
            yield f"{name} {row[name]:g} is above 1"
    if not _given(row, "wall_s"):
        return
    disjoint = sum(row[name] for name in _WALL_DISJOINT if _given(row, name))
    parts = {" + ".join(_WALL_DISJOINT): disjoint}
    parts |= {name: row[name] for name in _WALL_PARTS if _given(row, name)}
    for name, value in parts.items():
        if value > row["wall_s"]:
            yield f"{name} is {value:.4g} s, more than wall_s {row['wall_s']:.4g}"


def _given(row: Row, name: str) -> bool:
    return row.get(name) not in (None, "")


def _product(*factors: float | None) -> float | None:
    known = [factor for factor in factors if factor is not None]
    return math.prod(known) if len(known) == len(factors) else None


def _shown(value: object) -> str:
    return "empty" if value is None else str(value).lower()


def _target(row: Row) -> Iterator[str]:
    """A target is met where, and only where, the accuracy was found."""
    asked, found = row.get("target_accuracy"), row.get("target_found")
    if asked is None or found is None:
        if given := [name for name in _TARGET if _given(row, name)]:
            yield f"{given[0]} is given, but not both target_accuracy and target_found"
        return
    met = _given(row, "target_s") and _given(row, "target_samples")
    if found >= asked and not met:
        yield f"target_found {found:g} is target_accuracy {asked:g} or more, but target_s is empty"
    if found < asked and _given(row, "target_s"):
        yield f"target_s is given, but target_found {found:g} is below {asked:g}"


def _tokens(row: Row) -> Iterator[str]:
    """float32 has to give every token of the reference's."""
    equal, exact = row.get("tokens_equal"), row.get("precision") == "fp32"
    if row.get("status") == "ok" and exact and equal is not None and equal < 1:
        yield f"tokens_equal is {equal:g} in fp32, where the gate takes only 1"


_RULES: tuple[Callable[[Row], Iterable[str]], ...] = (
    _identity,
    _outcome,
    _latency,
    _flops,
    _amounts,
    _target,
    _tokens,
)
