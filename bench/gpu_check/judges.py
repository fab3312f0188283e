"""From rows to answers: ok, FAIL or skip, with what was found and what was expected. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.rows.schema import Row
from bench.trials import MEMORY, PARITY, TRIED, WAIT

OK, FAIL, SKIP = "ok", "FAIL", "skip"

SLOPE = (0.5, 1.5)
"""Of a further step's time, as a share of the mean of eight: 1 where nothing is left undone, and
less by what a wait costs."""

LEFT = 0.5
"""Of a block's time that reading the loss behind it may take: a loss is one number to be copied."""

GROWS = (0.95, 5.0)
"""Times the array's size: it and its result are held, and pools grow in powers of two."""


GRAPHS = "cuda graphs"
"""The check of measured cells that say how many they recorded."""


class Answer(NamedTuple):
    """One line. what: the check, and of which cell."""

    status: str
    what: str
    found: str
    expected: str

    def line(self) -> str:
        return f"{self.status:4}  {self.what}  {self.found}  (expected: {self.expected})"


def answers(name: str, trial: str, row: Row) -> Iterator[Answer]:
    """What one row says. A cell that the backend does not have is no fault of anybody's."""
    what = f"{name}: {_cell(row)}"
    if row["status"] == "unsupported":
        yield Answer(SKIP, what, row["reason"], "a cell that it has")
    elif row["status"] != "ok":
        yield Answer(FAIL, what, f"{row['status']}: {row['reason']}", "ok")
    elif trial:
        tried = (row.get("settings") or {}).get(TRIED, {})
        yield from (
            one._replace(what=f"{name}{one.what}: {_cell(row)}")
            for one in _TRIALS[trial](row, tried)
        )
    elif name == GRAPHS:
        yield _graphs(what, row)
    else:
        yield _speed(what, row)
        yield _energy(f"energy: {_cell(row)}", row)


def code(found: Sequence[Answer]) -> int | None:
    """Whether any failed; None where nothing was checked."""
    statuses = {answer.status for answer in found}
    return None if statuses <= {SKIP} else int(FAIL in statuses)


def summary(found: Sequence[Answer]) -> str:
    """``12 ok, 1 FAIL, 3 skip``, and what it was that failed."""
    counts = Counter(answer.status for answer in found)
    failed = [answer.what for answer in found if answer.status == FAIL]
    text = ", ".join(f"{counts[status]} {status}" for status in (OK, FAIL, SKIP))
    return f"{text}: {'; '.join(failed)}" if failed else text


def _parity(row: Row, _: Mapping[str, Any]) -> Iterator[Answer]:
    errors = [(name, row[f"parity_{name}_err"]) for name in ("logits", "loss")]
    found = ", ".join(f"{name} off by {error:.2g}" for name, error in errors if error is not None)
    yield Answer(OK, "", found, "within the precision's bounds")


def _wait(_: Row, tried: Mapping[str, Any]) -> Iterator[Answer]:
    """More steps take longer, in proportion; and behind them nothing is left to be done."""
    steps, times = tried["block_steps"], tried["block_ns"]
    shown = ", ".join(f"{one} in {ns / 1e6:.3g} ms" for one, ns in zip(steps, times, strict=True))
    further = (times[-1] - times[0]) / (steps[-1] - steps[0])
    slope = further / max(times[-1] / steps[-1], 1)
    low, high = SLOPE
    yield Answer(
        OK if low <= slope <= high else FAIL,
        ", time grows with steps",
        f"{shown}: a further step takes {slope:.2f} of the mean",
        f"{low} to {high}",
    )
    left = tried["loss_ns"] / max(times[-1], 1)
    yield Answer(
        OK if left <= LEFT else FAIL,
        ", nothing left to be done",
        f"reading the loss takes {left:.3f} of {steps[-1]} steps",
        f"at most {LEFT}",
    )


def _memory(row: Row, tried: Mapping[str, Any]) -> Iterator[Answer]:
    """The driver's and the framework's figures of an array of a known size."""
    peak, before = row["peak_driver_mib"], row["context_mib"]
    known = None if peak is None or before is None else peak - before
    held = tried["held_mib"]
    low, high = (held * times for times in GROWS)
    for who, grown in (("driver", known), ("framework", tried["framework_mib"])):
        expected = f"{low:.0f} to {high:.0f} MiB for {held:.0f} held"
        if row["device"] == "cpu":
            yield Answer(SKIP, f", {who}", "a CPU has no memory of its own", expected)
        elif grown is None:
            yield Answer(SKIP, f", {who}", f"the {who} does not count it", expected)
        else:
            status = OK if low <= grown <= high else FAIL
            yield Answer(status, f", {who}", f"grew by {grown:.0f} MiB", expected)


def _speed(what: str, row: Row) -> Answer:
    """Measured, and not faster than the precision that it claims."""
    rate = row["samples_per_s"] or row["infer_samples_per_s"]
    compiled = "" if row["compile_s"] is None else f", compiled in {row['compile_s']:.3g} s"
    honest = row["precision_honest"]
    share = "" if row["mfu"] is None else f", {row['mfu']:.2f} of a matrix product's rate"
    found = f"{rate:.4g} samples/s{share}{compiled}"
    return Answer(FAIL if honest is False else OK, what, found, "no faster than its precision")


def _graphs(what: str, row: Row) -> Answer:
    """Measured, and with what was asked for; how fast without is the check ``compiled``'s."""
    recorded = (row["settings"] or {}).get("cuda_graphs") or 0
    found = f"{recorded} recorded, {row['samples_per_s']:.4g} samples/s"
    return Answer(OK if recorded else FAIL, what, found, "at least one recorded")


def _energy(what: str, row: Row) -> Answer:
    expected = "more than while nothing runs"
    above = row["energy_above_idle_j"]
    if row["device"] == "cpu":
        return Answer(SKIP, what, "a CPU's energy is not read", expected)
    if above is None:
        return Answer(SKIP, what, "the device tells neither energy nor power", expected)
    found = f"{above:.4g} J above idle, from its {row['energy_source']}"
    return Answer(OK if above > 0 else FAIL, what, found, expected)


def _cell(row: Row) -> str:
    kind = f" {row['export_format']} {row['model']}" if row["export_format"] else ""
    parts = (row["workload"] + kind, row["size"], row["precision"], row["mode"], row["track"])
    return f"{row['backend']} {' '.join(parts)}"


_TRIALS: Mapping[str, Callable[[Row, Mapping[str, Any]], Iterator[Answer]]] = {
    PARITY: _parity,
    WAIT: _wait,
    MEMORY: _memory,
}
