"""The documents' table comes out exactly, and weights are checked."""

from __future__ import annotations

import json
import math

import pytest

from bench.cli import main
from bench.score import documents
from bench.score.documents import CRITERIA

TOTALS = {
    "torch": 8.55,
    "tensorflow": 8.20,
    "jax": 7.50,
    "keras": 7.75,
    "lightning": 7.45,
    "deepspeed": 7.20,
    "mxnet": 6.45,
    "paddle": 6.95,
    "mindspore": 6.80,
    "onnxruntime": 7.70,
}
"""As printed in the founding documents."""


def scored(capsys, *arguments: str) -> dict[str, float]:
    assert main(["score", "--draws", "200", "--json", *arguments]) == 0
    return {one["backend"]: one["total"] for one in json.loads(capsys.readouterr().out)}


def test_all_ten_totals_are_exact(capsys):
    assert scored(capsys) == TOTALS


def test_the_table_shows_them(capsys):
    assert main(["score", "--draws", "200"]) == 0
    out = capsys.readouterr().out
    for backend, total in TOTALS.items():
        (line,) = (
            line for line in out.splitlines() if line[:1].isdigit() and line.split()[1] == backend
        )
        assert f"{total:.2f}" in line
    assert "torch leads" in out


def test_the_totals_in_the_file_are_those_of_its_scores():
    weights = documents.weights()
    for opinion in documents.opinions():
        assert documents.total(opinion.scores, weights) == TOTALS[opinion.backend]


def test_every_profile_has_weights_and_a_reason():
    found = documents.profiles()
    assert list(found) == ["solo", "smb", "mid-market", "enterprise", "budget", "llm", "edge"]
    for profile in found.values():
        assert math.isclose(math.fsum(profile.weights.values()), 1.0)
        assert len(profile.reason) > 20


def test_a_profile_weighs_differently(capsys):
    edge = scored(capsys, "--profile", "edge")
    # 0.10 7 + 0.05 7 + 0.30 9 + 0.10 6 + 0.30 9 + 0.05 7 + 0.10 9
    assert edge["onnxruntime"] == pytest.approx(8.30)


def test_set_rescales_the_rest(capsys):
    # Of 0.9 for the six others 0.7 is left: torch's others weigh 7.95 (8.55 less 0.1 x 6).
    changed = scored(capsys, "--set", "security=0.3")
    assert changed["torch"] == pytest.approx(0.3 * 6 + 0.7 / 0.9 * 7.95)


def test_weights_of_a_file_are_scaled(tmp_path, capsys):
    path = tmp_path / "weights.csv"
    path.write_text("criterion,weight\n" + "".join(f"{name},2\n" for name in CRITERIA))
    # (9 + 8 + 9 + 6 + 9 + 9 + 9) / 7
    assert scored(capsys, "--weights", str(path))["torch"] == pytest.approx(59 / 7)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "smbb"], "did you mean 'smb'"),
        (["--set", "speed=0.3"], "unknown criterion 'speed'"),
        (["--set", "core=1.3"], "between 0 and 1"),
        (["--set", "core"], "CRITERION=0.3"),
        (["--set", "core=0.7", "--set", "ease=0.7"], "add up to 1.4"),
        (["--set", "core=nan"], "between 0 and 1"),
        (["--weights", "nowhere.csv"], "nowhere.csv"),
        (["--prices", "nowhere.toml", "nowhere"], "nowhere"),
        (["--trust-prior", "-1"], "from 0 up"),
        (["nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_input_is_one_line(arguments, said, capsys):
    assert main(["score", *arguments]) == 2
    out = capsys.readouterr()
    assert not out.out
    assert said in out.err
    assert out.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("criterion,weight\ncore,1\n", "lacks ease"),
        ("criterion,weight\nspeed,1\n", "unknown criterion 'speed'"),
        ("criterion,weight\ncore,1\ncore,1\n", "twice"),
        ("criterion,weight\ncore,much\n", "'much' is no number"),
        ("criterion,weight\ncore,-1\n", "no number from 0 up"),
        ("criterion,weight\ncore\n", "not as many fields"),
        ("name,weight\n", "lacks the column 'criterion'"),
        ("criterion,weight\n" + "".join(f"{name},0\n" for name in CRITERIA), "all weights are 0"),
        ("", "lacks the column"),
    ],
)
def test_a_broken_weights_file_names_its_mend(text, said, tmp_path, capsys):
    path = tmp_path / "weights.csv"
    path.write_text(text)
    assert main(["score", "--weights", str(path)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
