"""The documents' opinion corrected by what was measured, and how sure the ranking is. Pure.

docs/scoring.md states the formulas and what they assume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bench.score.documents import CRITERIA, HIGHEST, Opinion, Weights, total
from bench.score.evidence import LEVEL, Draws, Evidence

TRUST = 2.0
"""Pseudo-observations that the documents' score is worth; a sub-score counts as one."""

DRAWS = 10_000
ROUNDING = 0.5
"""The documents give whole numbers: what they mean may lie a half away."""

CONCENTRATION = 100.0
"""Of the Dirichlet distribution around the chosen weights: 0.25 varies by 0.04 (one sd)."""

SHARES: Mapping[str, float] = {
    "throughput": 4.0,
    "peak memory": 1.5,
    "compile time": 1.0,
    "tail latency": 1.0,
    "cells completed": 1.5,
    "run-to-run spread": 1.0,
}
"""What a sub-score weighs in its criterion's mean; 1 where nothing stands here."""

GEOMETRIC = frozenset({"performance", "value"})
"""Criteria of ratios to the best: only their geometric mean does not depend on who is the best."""

LEAST = 0.01  # a share in a geometric mean: nothing at all would make the others count for nothing


@dataclass(frozen=True)
class Question:
    """weights: what counts; trust: pseudo-observations of the prior; seed: of the draws."""

    weights: Weights
    trust: float = TRUST
    draws: int = DRAWS
    seed: int = 1


@dataclass(frozen=True)
class Scored:
    """One criterion of one backend, 0 to 10; measured is None where nothing was."""

    prior: float
    measured: float | None
    updated: float
    low: float
    high: float
    evidence: Sequence[Evidence]

    @property
    def change(self) -> float:
        return self.updated - self.prior


@dataclass(frozen=True)
class Standing:
    """One backend: total with its interval, rank with its own, and how probable a top place is.

    excluded: why it is not ranked (rank 0), or "".
    """

    backend: str
    name: str
    criteria: Mapping[str, Scored]
    prior: float
    total: float
    low: float
    high: float
    rank: int
    rank_low: int
    rank_high: int
    first: float
    top_three: float
    excluded: str = ""


def standings(
    opinions: Sequence[Opinion],
    evidence: Iterable[Evidence],
    question: Question,
    *,
    excluded: Mapping[str, str] = MappingProxyType({}),
) -> list[Standing]:
    """The best total first, then who is excluded; equal totals in the documents' order."""
    by_key: dict[tuple[str, str], list[Evidence]] = {}
    for one in evidence:
        by_key.setdefault((one.subject.backend, one.subject.criterion), []).append(one)
    rng = np.random.default_rng(question.seed)
    scored = []
    drawn = np.zeros((len(opinions), len(CRITERIA), question.draws))
    for at, opinion in enumerate(opinions):
        criteria = {}
        for place, name in enumerate(CRITERIA):
            found = by_key.get((opinion.backend, name), [])
            criteria[name], drawn[at, place] = _criterion(
                name, opinion.scores[name], found, question, rng
            )
        scored.append(criteria)
    return _ranked(opinions, scored, _totals(drawn, question, rng), question, excluded)


def _criterion(
    name: str, prior: float, found: list[Evidence], question: Question, rng: np.random.Generator
) -> tuple[Scored, Draws]:
    """The score, and draws of it."""
    opinions = np.clip(prior + rng.uniform(-ROUNDING, ROUNDING, question.draws), 0, HIGHEST)
    if not found:
        low, high = _bounds(opinions)
        return Scored(prior, None, prior, low, high, ()), opinions
    normal = rng.standard_normal((len(found), question.draws))
    shares = np.stack([one.draws(each) for one, each in zip(found, normal, strict=True)])
    centre = np.array([[one.share] for one in found])
    measured = float(HIGHEST * _mean(name, found, centre)[0])
    draws = HIGHEST * _mean(name, found, shares)
    trust, n = question.trust, len(found)
    updated = (trust * prior + n * measured) / (trust + n)
    mixed = (trust * opinions + n * draws) / (trust + n)
    low, high = _bounds(mixed)
    return Scored(prior, measured, updated, low, high, tuple(found)), mixed


def _mean(criterion: str, found: Sequence[Evidence], shares: Draws) -> Draws:
    """Over the sub-scores, weighted; shares: [sub-scores, draws]."""
    weights = np.array([SHARES.get(one.subject.name, 1.0) for one in found])
    weights /= weights.sum()
    if criterion in GEOMETRIC:
        mean: Draws = np.exp(weights @ np.log(np.maximum(shares, LEAST)))
    else:
        mean = weights @ shares
    return mean


def _totals(drawn: Draws, question: Question, rng: np.random.Generator) -> Draws:
    """Weighted sums [backends, draws], with weights drawn around the chosen ones."""
    alphas = np.array([question.weights[name] for name in CRITERIA]) * CONCENTRATION
    weights = np.zeros((question.draws, len(CRITERIA)))
    weights[:, alphas > 0] = rng.dirichlet(alphas[alphas > 0], question.draws)
    found: Draws = np.einsum("bcd,dc->bd", drawn, weights)
    return found


def _ranked(
    opinions: Sequence[Opinion],
    scored: Sequence[Mapping[str, Scored]],
    totals: Draws,
    question: Question,
    excluded: Mapping[str, str],
) -> list[Standing]:
    out = np.array([one.backend in excluded for one in opinions])
    order = np.argsort(-np.where(out[:, None], -np.inf, totals), axis=0, kind="stable")
    ranks = np.argsort(order, axis=0, kind="stable") + 1
    sums = [
        total({name: one.updated for name, one in each.items()}, question.weights)
        for each in scored
    ]
    made = []
    for at, opinion in enumerate(opinions):
        low, high = _bounds(totals[at])
        bounds = (0.0, 0.0) if out[at] else _bounds(ranks[at], method="closest_observation")
        above = [s > sums[at] for s, gone in zip(sums, out, strict=True) if not gone]
        made.append(
            Standing(
                opinion.backend,
                opinion.name,
                scored[at],
                prior=total(opinion.scores, question.weights),
                total=sums[at],
                low=low,
                high=high,
                rank=0 if out[at] else 1 + sum(above),
                rank_low=int(bounds[0]),
                rank_high=int(bounds[1]),
                first=0.0 if out[at] else float((ranks[at] == 1).mean()),
                top_three=0.0 if out[at] else float((ranks[at] <= 3).mean()),
                excluded=excluded.get(opinion.backend, ""),
            )
        )
    return sorted(made, key=lambda one: (bool(one.excluded), -one.total))


def _bounds(draws: Draws, method: str = "linear") -> tuple[float, float]:
    tails = [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]
    low, high = np.quantile(draws, tails, method=method)  # type: ignore[call-overload]
    return float(low), float(high)


@dataclass(frozen=True)
class Turn:
    """The smallest change of one weight, the others in proportion, that dethrones the leader."""

    criterion: str
    weight: float
    needed: float
    winner: str


def turning(ranking: Sequence[Standing], weights: Weights) -> Turn | None:
    """None where no weight from 0 to 1 would do it.

    With weight t for a criterion a backend's total is t s + (1 - t) r, with r the weighted mean of
    its other scores: a straight line, and two of them meet in one place.
    """
    leader, *rivals = [one for one in ranking if not one.excluded]
    found = [
        turn
        for name in CRITERIA
        for rival in rivals
        if (turn := _crossing(name, leader, rival, weights)) is not None
    ]
    return min(found, key=lambda turn: abs(turn.needed - turn.weight), default=None)


def _crossing(name: str, leader: Standing, rival: Standing, weights: Weights) -> Turn | None:
    weight = weights[name]
    if weight == 1:
        return None
    ends = []
    for one in (leader, rival):
        others = sum(weights[c] * one.criteria[c].updated for c in CRITERIA if c != name)
        ends.append((one.criteria[name].updated, others / (1 - weight)))
    (mine, my_rest), (theirs, their_rest) = ends
    slope = (mine - theirs) - (my_rest - their_rest)
    if slope == 0:
        return None
    needed = (their_rest - my_rest) / slope
    return Turn(name, weight, needed, rival.backend) if 0 <= needed <= 1 else None


def chance(probability: float) -> str:
    """A percentage; draws prove nothing, so never all of them or none."""
    if probability > 0.99:
        return ">99%"
    return "<1%" if probability < 0.01 else f"{probability:.0%}"
