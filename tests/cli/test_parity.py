"""``bench parity``: gates alone, on backends that behave and that do not."""

from __future__ import annotations

import json
import sys

from tests.harness import main

CELL = ("--backend", "fake", "--size", "tiny", "--device", "cpu", "--workload", "cnn")


def parity(*arguments: str):
    done = main("parity", *CELL, "--python", f"fake={sys.executable}", *arguments)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, lines


def test_a_gate_passes_and_its_line_is_kept(tmp_path):
    out = tmp_path / "gates.jsonl"
    done, lines = parity("--json", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert [one["status"] for one in lines] == ["ok"]
    assert lines[0]["parity"] == "passed"
    assert lines[0]["parity_logits_err"] < 1e-5
    assert lines[0]["cell_id"] == "fake/cnn/cnn/tiny/cpu/fp32/eager/out-of-box/b32/w1"
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines
    assert parity("--out", str(out))[0].returncode == 0
    assert len(out.read_text().splitlines()) == 2  # another day's is one more line


def test_what_fails_hangs_or_cannot_is_told(tmp_path):
    done, lines = parity("--json", "--setting", "do=nothing,wrong_logits")
    assert done.returncode == 1
    assert [one["status"] for one in lines] == ["ok", "parity_failed"]
    done, lines = parity("--json", "--setting", "do=hang,unsupported", "--timeout", "3")
    assert done.returncode == 3
    assert [one["status"] for one in lines] == ["timeout", "unsupported"]


def test_exports_have_no_gate_of_their_own():
    done = main("parity", *CELL[:-1], "export", "--python", f"fake={sys.executable}")
    assert done.returncode == 2
    assert "exports are judged by bench run" in done.stderr
