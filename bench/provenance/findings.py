"""What ``bench verify`` finds: one verdict on one thing, and many of them as a few lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

OK = "ok"
UNVERIFIABLE = "unverifiable"
"""Nothing here can say whether it holds. That is not the same as fine."""
BROKEN = "broken"
VERDICTS = (BROKEN, UNVERIFIABLE, OK)


class Finding(NamedTuple):
    """check: what was looked at. said: the verdict's reason, alike for all of its kind. where: file
    and line.
    """

    check: str
    verdict: str
    said: str
    where: str = ""


class Kind(NamedTuple):
    """Findings that differ in their place only. first: the place of the first of them."""

    check: str
    verdict: str
    said: str
    number: int
    first: str

    @property
    def line(self) -> str:
        place = f" (first: {self.first})" if self.first and self.verdict != OK else ""
        return f"{self.verdict:12}  {self.check:8}  {self.number:5}  {self.said}{place}"


def kinds(findings: Iterable[Finding]) -> list[Kind]:
    """With their counts, the worst first, each check's together."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for one in findings:
        found.setdefault(one[:3], []).append(one.where)
    made = [Kind(*key, len(places), places[0]) for key, places in found.items()]
    return sorted(made, key=lambda one: VERDICTS.index(one.verdict))
