"""A backend that means harm, in real workers: what it cannot do, and that rows say so truly."""

from __future__ import annotations

import ctypes

import pytest

from bench.rows import files
from tests.harness import bench

LANDLOCK = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)  # its version, or -1
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "ySY9mnQwkk",
    "GITHUB_TOKEN": "ghp-Qd3vzK81",
    "PIP_INDEX_URL": "https://me:hunter-Zb7@index.example/simple",
}
WORDS = ["ySY9mnQwkk", "ghp-Qd3vzK81", "hunter-Zb7"]
DENIED = {
    **dict.fromkeys(("append", "move", "empty", "forge", "neighbour"), "PermissionError"),
    **dict.fromkeys(("environment", "secrets", "signal"), "PermissionError"),
    "own": "done",
}


def run(tmp_path, monkeypatch, *arguments):
    """Rows, and all that was printed; the workers' folders lie beside the results."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    neighbour = tmp_path / "bench-neighbour" / "row.json"
    neighbour.parent.mkdir()
    neighbour.write_text("theirs")
    out = tmp_path / "rows.csv"
    done = bench("--workload", "cnn", "--out", str(out), *arguments)
    return files.read(out), done


@pytest.fixture
def secrets(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.skipif(LANDLOCK < 6, reason="this kernel has no landlock 6 (Linux 6.12)")
def test_an_intruder_gets_nowhere_and_nothing_secret_is_kept(tmp_path, monkeypatch, secrets):
    rows, done = run(tmp_path, monkeypatch, "--setting", "do=intrude,tell")
    assert done.returncode == 0, done.stderr
    intruder, teller = rows
    assert (intruder["status"], intruder["reason"]) == ("ok", "")
    settings = intruder["settings"]
    shut_in = settings["isolation"]
    assert settings["tried"] == DENIED
    assert (shut_in["writes"], shut_in["signals"]) == ("scratch", "own")
    assert teller["reason"].startswith("start: PermissionError")
    assert (settings["interfaces"] == ["lo"]) == (shut_in["network"] == "none")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".csv", ".log"} <= {path.suffix for path in kept}
    texts = {path.name: path.read_bytes().decode(errors="replace") for path in kept}
    texts |= {"stdout": done.stdout, "stderr": done.stderr}
    assert [name for name, text in texts.items() if any(word in text for word in WORDS)] == []
