"""Rows become sub-scores, and sub-scores correct the documents."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.cli import main
from bench.score import cells, documents, scores, speed
from bench.score.evidence import Evidence, Subject, half, passed
from bench.score.update import Question, chance, standings, turning
from tests.comparing import JAX, TORCH, rows, write
from tests.rows import capability_row, export_row, failed_row, generate_row

QUESTION = Question(documents.weights(), draws=400)
TF = "tensorflow/cnn/cnn/small/cpu/fp32/graph/out-of-box/b64/w1"


def of(cell: str, factors: list[float], **changes: object) -> list[dict]:
    backend, *_, mode, _, _, _ = cell.split("/")
    whole = {"cell_id": cell, "backend": backend, "mode": mode, "gemm_tflops": None, "mfu": None}
    whole |= {"device_tflops": None, "precision_honest": None}
    made = rows(factors, **(whole | changes))
    return [row | whole | changes for row in made]


def measured(path: Path, *groups: list[dict]) -> dict[str, scores.Ranking]:
    write(path, [row for group in groups for row in group])
    return scores.of_rows(cells.read([path]), documents.opinions(), QUESTION)


def sub_scores(ranking: scores.Ranking, backend: str, criterion: str) -> dict[str, Evidence]:
    (one,) = (one for one in ranking.standings if one.backend == backend)
    return {found.subject.name: found for found in one.criteria[criterion].evidence}


@pytest.fixture
def three(tmp_path: Path) -> dict[str, scores.Ranking]:
    """jax twice as fast as torch, tensorflow four times; noise of a few percent."""
    noise = [0.99, 1.0, 1.01]
    return measured(
        tmp_path / "rows.csv",
        of(TORCH, noise),
        of(JAX, [2 * one for one in noise]),
        of(TF, [4 * one for one in noise]),
    )


def test_throughput_is_the_ratio_to_the_best(three):
    shares = {
        name: sub_scores(three["train"], name, "performance")["throughput"].share
        for name in ("torch", "jax", "tensorflow")
    }
    assert shares == pytest.approx({"torch": 0.25, "jax": 0.5, "tensorflow": 1.0})


def test_evidence_cites_its_cells_and_has_an_interval(three):
    found = sub_scores(three["train"], "jax", "performance")["throughput"]
    assert found.subject.rests_on == (JAX,)
    assert 0.4 < found.low < 0.5 < found.high < 0.6


def test_an_evidence_free_criterion_keeps_the_prior(three):
    for one in three["train"].standings:
        if one.backend == "mindspore":
            assert one.criteria["performance"].measured is None
            assert one.criteria["performance"].updated == one.criteria["performance"].prior


def test_the_update_is_the_stated_mean(three):
    (torch,) = (one for one in three["train"].standings if one.backend == "torch")
    part = torch.criteria["performance"]
    n = len(part.evidence)
    assert part.updated == pytest.approx((2 * part.prior + n * part.measured) / (2 + n))
    assert part.change == pytest.approx(part.updated - part.prior)


@pytest.mark.parametrize(
    "taint",
    [
        {"status": "parity_failed", "parity": "failed", "reason": "off by 3"},
        {"precision_honest": False, "gemm_tflops": 0.5, "mfu": 2.56 * 4},
    ],
)
def test_tainted_rows_are_no_speed_but_count_in_reliability(tmp_path, taint):
    fast = of(TF, [4.0, 4.0], **taint)
    found = measured(tmp_path / "rows.csv", of(TORCH, [1.0, 1.0]), of(JAX, [2.0, 2.0]), fast)
    mine = sub_scores(found["train"], "tensorflow", "performance")
    assert "throughput" not in mine
    assert mine["cells completed"].share == 0.0
    assert sub_scores(found["train"], "jax", "performance")["throughput"].share == 1.0


def test_failed_is_not_missing(tmp_path):
    failed = [failed_row(cell_id=TF, backend="tensorflow", mode="graph", repeat=n) for n in (1, 2)]
    found = measured(tmp_path / "rows.csv", of(TORCH, [1.0, 1.0]), failed)
    assert sub_scores(found["train"], "tensorflow", "performance")["cells completed"].share == 0
    assert not sub_scores(found["train"], "mxnet", "performance")
    assert sub_scores(found["train"], "tensorflow", "core")["train"].share == 0


def test_only_like_is_compared_with_like(tmp_path):
    """Another precision, another track, another machine: nobody to be compared with."""
    other = TF.replace("fp32", "bf16")
    tuned = JAX.replace("out-of-box", "tuned")
    found = measured(
        tmp_path / "rows.csv",
        of(TORCH, [1.0, 1.0]),
        of(other, [4.0, 4.0], precision="bf16"),
        of(tuned, [4.0, 4.0], track="tuned"),
        of(JAX, [4.0, 4.0], cluster="elsewhere"),
    )
    for name in ("torch", "tensorflow", "jax"):
        assert "throughput" not in sub_scores(found["train"], name, "performance")


def test_determinism_is_equal_losses_of_fresh_processes(tmp_path):
    same = of(TORCH, [1.0, 1.1], loss_last=2.1)
    other = [dict(row, loss_last=2.1 + at * 1e-9) for at, row in enumerate(of(JAX, [1.0, 1.1]))]
    found = measured(tmp_path / "rows.csv", same, other, of(TF, [1.0]))
    shares = {
        name: [sub_scores(found["train"], name, "core").get("determinism")]
        for name in ("torch", "jax", "tensorflow")
    }
    assert [one and one.share for (one,) in shares.values()] == [1.0, 0.0, None]


NO = {"status": "unsupported", "reason": "it has none"}


def test_capabilities_are_evidence_and_nothing_else(tmp_path):
    ranking = measured(
        tmp_path / "rows.csv",
        of(TORCH, [1.0]),
        of(JAX, [1.0]),
        [
            capability_row("torch", "checkpoint"),
            capability_row("torch", "dlpack", status="crashed", reason="signal 11"),
            capability_row("torch", "safe-load", status="failed", reason="it ran the code"),
            capability_row("jax", "sharding", **NO),
            capability_row("jax", "safe-load", status="crashed", reason="signal 11"),
        ],
    )["train"]
    core = sub_scores(ranking, "torch", "core")
    assert core["checkpoint and resume"].share == 1.0
    assert "sharding" not in core, "what no row tried counts nothing"
    assert sub_scores(ranking, "jax", "core")["sharding"].share == 0.0
    assert sub_scores(ranking, "torch", "integrations")["DLPack"].share == 0.0
    assert sub_scores(ranking, "torch", "security")["safe load"].share == 0.0
    assert "safe load" not in sub_scores(ranking, "jax", "security"), "a crash says nothing of it"
    completed = sub_scores(ranking, "torch", "performance")["cells completed"]
    assert (completed.value, completed.unit) == (1, "of 1")


def test_who_cannot_train_says_so_among_the_capabilities_too(tmp_path):
    asked = [capability_row("onnxruntime", "checkpoint", **NO), capability_row("jax", "checkpoint")]
    found = measured(tmp_path / "rows.csv", of(TORCH, [1.0]), asked)["train"]
    excluded = {one.backend: one.excluded for one in found.standings if one.excluded}
    assert excluded == {"onnxruntime": "does not train: it has none"}


def test_the_kinds_of_devices_are_counted(tmp_path):
    cuda = {"device": "cuda", "status": "crashed", "reason": "signal 11"}
    row = failed_row(cell_id=TORCH.replace("/cpu/", "/cuda/"), **cuda)
    ranking = measured(tmp_path / "rows.csv", of(TORCH, [1.0]), of(JAX, [1.0]), [row])["train"]
    devices = {
        name: sub_scores(ranking, name, "integrations")["devices"] for name in ("torch", "jax")
    }
    assert (devices["torch"].share, devices["torch"].low, devices["torch"].high) == (0.5, 0.5, 0.5)
    assert devices["jax"].share == 1.0


def test_a_runtime_is_not_ranked_among_those_that_train(tmp_path):
    cell = TORCH.replace("torch", "onnxruntime").replace("eager", "compiled")
    about = {"cell_id": cell, "backend": "onnxruntime", "mode": "compiled"}
    refused = failed_row(**about, status="unsupported", reason="only infers")
    served = export_row(
        cell_id="onnxruntime/export/cnn/small/cpu/fp32/compiled/out-of-box/b1/w1/onnx",
        backend="onnxruntime",
        mode="compiled",
    )
    found = measured(tmp_path / "rows.csv", of(TORCH, [1.0]), [refused, served, export_row()])
    for task in ("train", "end-to-end"):
        (runtime,) = (one for one in found[task].standings if one.backend == "onnxruntime")
        assert runtime.rank == 0
        assert "only infers" in runtime.excluded
    (runtime,) = (one for one in found["serve"].standings if one.backend == "onnxruntime")
    assert runtime.rank > 0


def test_who_generates_serves_and_does_not_train_faster_for_it(tmp_path):
    """Its rates and its first step are no training's."""
    plain = measured(tmp_path / "plain.csv", of(TORCH, [1.0]), of(JAX, [2.0]))
    found = measured(
        tmp_path / "rows.csv",
        of(TORCH, [1.0]),
        of(JAX, [2.0]),
        [generate_row(first_step_s=500.0, wall_s=600.0)],
    )
    for criterion in ("performance", "ease"):
        names = sub_scores(found["train"], "torch", criterion)
        assert names.keys() == sub_scores(plain["train"], "torch", criterion).keys()
        assert all(
            names[one].share == was.share
            for one, was in sub_scores(plain["train"], "torch", criterion).items()
        )
    assert sub_scores(found["serve"], "torch", "core")["generate"].share == 1.0


def opinions_with(evidence: list[Evidence]) -> dict[str, float]:
    return {one.backend: one.total for one in standings(documents.opinions(), evidence, QUESTION)}


def share(value: float, backend: str = "jax", criterion: str = "core") -> Evidence:
    subject = Subject(backend, criterion, "x", ("x",))
    return Evidence(subject, value, "", value, value * 0.9, value)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(documents.CRITERIA))
@settings(max_examples=25, deadline=None)
def test_better_evidence_never_lowers_a_score(one, other, criterion):
    low, high = sorted((one, other))
    worse = opinions_with([share(low, criterion=criterion)])["jax"]
    better = opinions_with([share(high, criterion=criterion)])["jax"]
    assert better >= worse - 1e-9


@given(st.randoms(use_true_random=False))
@settings(max_examples=5, deadline=None)
def test_the_order_of_rows_does_not_matter(three_rows, dealer):
    shuffled = three_rows.sample(frac=1, random_state=dealer.randrange(1000), ignore_index=True)
    assert totals(shuffled) == pytest.approx(totals(three_rows))


def totals(frame) -> dict[str, float]:
    found = scores.of_rows(cells.prepared(frame), documents.opinions(), QUESTION)
    return {one.backend: one.total for one in found["train"].standings}


@pytest.fixture(scope="module")
def three_rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    groups = (of(TORCH, [1.0, 1.1]), of(JAX, [2.0, 1.9]), of(TF, [3.0, 3.2]))
    for row in (*groups[1], *groups[2]):
        row |= {"compile_s": 2.0, "first_step_s": 3.0}  # torch's eager mode compiles nothing: 0
    write(path, [row for group in groups for row in group])
    return cells.frame.read([path], more=cells.COLUMNS)


RATES = st.lists(st.floats(0.2, 5.0), min_size=6, max_size=6)
"""What each process's throughput is multiplied by; docs/scoring.md: shares end at 0.01."""


def at_rates(frame, factors: list[float]):
    changed = frame.copy()
    changed["samples_per_s"] *= factors
    return changed


@given(RATES, st.floats(1e-3, 1e3))
@settings(max_examples=10, deadline=None)
def test_multiplying_all_throughputs_changes_no_total(three_rows, factors, factor):
    some = at_rates(three_rows, factors)
    assert totals(at_rates(some, [factor] * 6)) == pytest.approx(totals(some))


@given(RATES, st.sampled_from(["torch", "jax", "tensorflow"]))
@settings(max_examples=10, deadline=None)
def test_removing_a_backend_keeps_the_others_order(three_rows, factors, gone):
    """All were measured in the same cells, with the same sub-scores; else docs/scoring.md."""
    some = at_rates(three_rows, factors)
    one, other = (name for name in ("torch", "jax", "tensorflow") if name != gone)

    def ahead(frame) -> float:
        """The first one's performance over the other's: equal to the last digits, it is a tie."""
        found = scores.of_rows(cells.prepared(frame), documents.opinions(), QUESTION)
        measured = {
            one.backend: one.criteria["performance"].measured for one in found["train"].standings
        }
        return math.log(measured[one] / measured[other])

    fewer = some[some["backend"] != gone].reset_index(drop=True)
    fewer["backend"] = fewer["backend"].cat.remove_unused_categories()
    assert ahead(fewer) == pytest.approx(ahead(some), abs=1e-9)


def test_the_turning_weight_makes_a_tie():
    ranking = standings(documents.opinions(), [], QUESTION)
    turn = turning(ranking, QUESTION.weights)
    assert turn is not None
    weights = documents.rescaled(QUESTION.weights, {turn.criterion: turn.needed})
    tied = {one.backend: one.scores for one in documents.opinions()}
    assert documents.total(tied[ranking[0].backend], weights) == pytest.approx(
        documents.total(tied[turn.winner], weights)
    )


def test_probabilities_are_of_places():
    ranking = standings(documents.opinions(), [], QUESTION)
    assert sum(one.first for one in ranking) == pytest.approx(1)
    assert sum(one.top_three for one in ranking) == pytest.approx(3)
    assert ranking[0].rank_low == 1
    assert all(one.rank_low <= one.rank <= one.rank_high for one in ranking)
    assert all(one.low < one.total < one.high for one in ranking)


def test_the_same_seed_the_same_answer():
    assert standings(documents.opinions(), [], QUESTION) == standings(
        documents.opinions(), [], QUESTION
    )


def test_trust_in_the_prior_decides_how_far_it_moves():
    def moved(trust: float) -> float:
        question = Question(documents.weights(), trust=trust, draws=100)
        found = standings(documents.opinions(), [share(0.0)], question)
        return next(one.criteria["core"].updated for one in found if one.backend == "jax")

    assert moved(0) == 0
    assert moved(1) == pytest.approx(4)  # (1 x 8 + 1 x 0) / 2
    assert moved(3) == pytest.approx(6)


def test_prices_and_the_cheapest(tmp_path):
    write(tmp_path / "rows.csv", [*of(TORCH, [1.0, 1.0]), *of(JAX, [2.0, 2.0])])
    rows_ = cells.read([tmp_path / "rows.csv"])
    device = str(rows_["device_name"].iloc[0])
    found = [one for one in speed.value(rows_, {device: 3.0}) if "currency" in one.subject.name]
    assert {one.subject.backend: round(one.share, 6) for one in found} == {"torch": 0.5, "jax": 1.0}
    assert not [one for one in speed.value(rows_, {}) if "currency" in one.subject.name]


def test_a_backend_without_a_prior_is_named(tmp_path, capsys):
    cell = TORCH.replace("torch", "mine")
    path = write(tmp_path / "rows.csv", [*of(TORCH, [1.0]), *of(cell, [2.0])])
    assert main(["score", str(path), "--draws", "100"]) == 0
    assert "do not know them: mine (add a line" in capsys.readouterr().out


@given(st.integers(1, 200), st.floats(0, 1))
@settings(deadline=None)
def test_wilsons_interval_is_scipys(of, part):
    yes = round(of * part)
    found = passed(Subject("torch", "core", "x", ()), yes=yes, of=of)
    low, high = stats.binomtest(yes, of).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(
    ("probability", "said"),
    [(1.0, ">99%"), (0.991, ">99%"), (0.99, "99%"), (0.5, "50%"), (0.009, "<1%"), (0.0, "<1%")],
)
def test_draws_prove_nothing(probability, said):
    assert chance(probability) == said


def test_half_marks():
    assert half(0, 60) == 1
    assert half(60, 60) == 0.5
    assert math.isclose(half(180, 60), 0.25)


def test_json_of_results(tmp_path, capsys):
    path = write(tmp_path / "rows.csv", [*of(TORCH, [1.0, 1.0]), *of(JAX, [2.0, 2.0])])
    assert main(["score", str(path), "--json", "--draws", "200", "--task", "train"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 10
    (jax,) = (one for one in found if one["backend"] == "jax")
    (rate,) = (
        one for one in jax["criteria"]["performance"]["evidence"] if one["name"] == "throughput"
    )
    assert rate["score"] == pytest.approx(10)
    assert rate["rests_on"] == [JAX]


def test_nothing_usable_is_an_exit_code_of_its_own(tmp_path, capsys):
    path = write(tmp_path / "rows.csv", [failed_row()])
    assert main(["score", str(path), "--draws", "100"]) == 3
