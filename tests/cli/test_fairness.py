"""``bench fairness`` on the fake framework, in real processes."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest

from bench import fairness
from tests.harness import environment


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "fairness", "--python", f"fake={sys.executable}"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=environment(), check=False
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("fairness") / "new" / "fairness.csv"
    chosen = ["--backend", "fake", "--processes", "2", "--rounds", "3", "--out", str(out)]
    finished = run(*chosen)
    with out.open(newline="") as stream:
        return finished, list(csv.DictReader(stream)), out


def test_every_process_leaves_a_row_with_both_step_times(done):
    _, rows, _ = done
    measured = [row for row in rows if row["status"] == "ok"]
    assert [(row["model"], row["process"]) for row in measured] == [("cnn", "1"), ("cnn", "2")]
    for row in measured:
        assert (row["ours_params"], row["theirs_params"]) == ("5", "7")
        # Theirs does four times the work: a third would already be no accident.
        assert float(row["theirs_step_ms"]) > 2 * float(row["ours_step_ms"]) > 0
        assert float(row["log_ratio"]) < 0
        assert list(row) == list(fairness.COLUMNS)


def test_what_has_no_public_model_says_so(done):
    _, rows, _ = done
    missing = [row for row in rows if row["status"] != "ok"]
    assert {(row["model"], row["status"], row["reason"]) for row in missing} == {
        ("transformer", "unsupported", "fake has no public encoder")
    }


def test_the_table_and_the_exit_code_say_whether_ours_is_as_fast(done):
    finished, _, out = done
    assert finished.returncode == 0, finished.stderr
    assert "| fake | out-of-box | cnn | fake.public.Net | 0." in finished.stdout
    assert f"results: {out}" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "onnxruntime"], "unknown backend with public models 'onnxruntime'"),
        (["--processes", "0"], "'0' is not a whole number from 1 on"),
        (["--backend", "fake", "--out", "/dev/null/x.csv"], "cannot write /dev/null/x.csv"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said):
    refused = run(*arguments)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1
