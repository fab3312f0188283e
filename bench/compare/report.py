"""What a comparison says, as plain values that every output shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from bench.compare import frame, machines, matching, verdicts
from bench.compare.machines import Difference, Split, Turned
from bench.compare.matching import LOST, PARITY
from bench.compare.metrics import INCOMPARABLE, INCONCLUSIVE, SAME, THROUGHPUT
from bench.compare.sides import Side
from bench.compare.verdicts import How
from bench.errors import EXIT_NO, EXIT_NOTHING, EXIT_OK

WORDS = ("faster", "slower", "smaller", "larger", "higher", "lower")
FAIL_ON = (*WORDS, INCONCLUSIVE, INCOMPARABLE, LOST, PARITY)
ORDER = (*WORDS, SAME, INCONCLUSIVE, INCOMPARABLE)


@dataclass(frozen=True)
class Comparison:
    """``lines``: one a side, cell and metric. ``differences``: of each side against the base.

    ``disturbed``: of sides that others computed beside, how much.
    """

    base: str
    news: Sequence[str]
    how: How
    lines: pd.DataFrame
    differences: dict[str, list[Difference]]
    splits: list[Split] = field(default_factory=list)
    turned: list[Turned] = field(default_factory=list)
    disturbed: dict[str, str] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        """Lines that have a verdict about figures of both sides."""
        return int((self.lines["verdict"] != INCOMPARABLE).sum())

    def counts(self) -> dict[str, int]:
        found = Counter(self.lines["verdict"])
        return {word: found[word] for word in ORDER if found[word]}

    def failing(self, words: Sequence[str]) -> pd.DataFrame:
        """The lines that a gate stops at: verdicts, and causes of what is incomparable."""
        return self.lines[self.lines["verdict"].isin(words) | self.lines["cause"].isin(words)]

    def exit_code(self, words: Sequence[str]) -> int:
        if not self.compared:
            return EXIT_NOTHING
        return EXIT_NO if len(self.failing(words)) else EXIT_OK


def made(base: Side, others: Sequence[Side], how: How) -> Comparison:
    """Compare, and say what the machines have to do with it."""
    splits, turned = [], []
    for other in others:
        if _machines_differ(base, other):
            matched = matching.match(base, other, ignored=how.ignored)
            found = machines.split(matched, level=how.level)
            splits += [found] if found else []
            turned += list(machines.turned(base, other, level=how.level))
    return Comparison(
        base=base.name,
        news=[other.name for other in others],
        how=how,
        lines=verdicts.compare(base, others, how),
        differences={other.name: machines.differences(base, other) for other in others},
        splits=splits,
        turned=turned,
        disturbed={
            side.name: said for side in (base, *others) if (said := frame.disturbed(side.rows))
        },
    )


def _machines_differ(base: Side, new: Side) -> bool:
    return any(
        set(base.rows[name].unique()) != set(new.rows[name].unique())
        for name in ("cluster", "host", "device_name")
    )


def sentences(found: Comparison) -> Iterator[str]:
    """What stands above the table: the machines' differences and what they explain."""
    for new, differences in found.differences.items():
        if differences:
            yield f"{found.base} -> {new}: what differs"
        for one in differences:
            of = f" ({one.of})" if one.of else ""
            yield f"  {one.fact}{of}: {one.base} -> {one.new}"
    for split in found.splits:
        yield _split(split, found.base)
    for turned in found.turned:
        sure = "" if turned.certain else " (not certain: one side could not tell them apart)"
        yield (
            f"{turned.what}: {turned.ahead} leads {turned.behind} on {found.base},"
            f" and follows on {turned.new}{sure}"
        )
    yield from (f"{side}: {said}" for side, said in found.disturbed.items())


def _split(split: Split, base: str) -> str:
    factor = math.exp(split.speed)
    word, times = ("faster", factor) if factor >= 1 else ("slower", 1 / factor)
    probes = "; ".join(
        f"its {name} is {math.exp(value):.2f} times {base}'s"
        for name, value in split.probes.items()
    )
    sure = "" if split.distinguishable else ", not distinguishable from 1"
    bounds = (
        f" ({math.exp(split.low):.2f} to {math.exp(split.high):.2f})"
        if math.isfinite(split.high)
        else " (interval unknown)"
    )
    return (
        f"{split.new} is {times:.2f} times {word} (geometric mean of {split.cells} cells);"
        f" {probes}; {math.exp(split.software):.2f}{bounds} is left for the software{sure}"
    )


def detectable(found: Comparison) -> str:
    """One line: the smallest effect that the throughput's comparisons could have seen."""
    lines = found.lines[(found.lines["metric"] == THROUGHPUT.name)]
    known = lines["detectable"].dropna()
    finite = known[known.apply(math.isfinite)]
    if finite.empty:
        return (
            "smallest effect that could have been seen: unknown (fewer than two processes a side)"
        )
    return (
        f"smallest effect on throughput that would be seen in 9 of 10 tries:"
        f" {finite.median():.1%} for the median cell, {finite.max():.1%} for the noisiest"
    )
