"""Bad input: one line that names the mend, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import pytest

from tests.harness import bench
from tests.harness import main as run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "trch"], "unknown backend 'trch': did you mean 'torch'?"),
        (["--workload", "cnns"], "unknown workload 'cnns': did you mean 'cnn'?"),
        (["--size", "smal"], "unknown size 'smal': did you mean 'small'?"),
        (
            ["--workload", "capability", "--size", "large"],
            "size 'large' is not there yet for capability: use tiny, small",
        ),
        (["--device", "cdua"], "unknown device 'cdua': did you mean 'cuda'?"),
        (["--precision", "bf61"], "unknown precision 'bf61': did you mean 'bf16'?"),
        (["--mode", "eagre"], "unknown mode 'eagre': did you mean 'eager'?"),
        (["--track", "tune"], "unknown track 'tune': did you mean 'tuned'?"),
        (["--format", "onyx"], "unknown format 'onyx': did you mean 'onnx'?"),
        (["--backend", ","], "no backend given"),
        (["--repeats", "0"], "'0' is not a whole number from 1 on"),
        (["--batch", "8,x"], "'x' is not a whole number from 1 on"),
        (["--threads", "9999"], "only"),
        (["--setting", "zero"], "write KEY=VALUE"),
        (["--python", "torch"], "write BACKEND=PATH"),
        (["--python", "trch=/bin/true"], "did you mean 'torch'?"),
        (["--python", "torch=/no/such/python"], "/no/such/python"),
        (["--python", "torch=/etc/hostname"], "/etc/hostname"),
        (["--out", "/proc/nowhere/x.csv"], "/proc/nowhere"),
        (["--out", "/"], "/"),
        (["--resume", "/no/such.csv"], "/no/such.csv"),
        (["--resume", "README.md"], "README.md"),
        (["--cluster", "../up"], "../up"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_one_line_and_exit_code_two(arguments, said, tmp_path):
    out = [] if {"--out", "--resume", "--cluster"} & set(arguments) else ["--out", "x.csv"]
    out = [str(tmp_path / word) if word == "x.csv" else word for word in out]
    done = run("run", "--backend", "torch", "--size", "tiny", "--device", "cpu", *out, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_an_existing_result_is_never_overwritten(tmp_path):
    out = tmp_path / "kept.csv"
    out.write_text("something precious\n")
    done = bench("--workload", "cnn", "--out", str(out))
    assert done.returncode == 2
    assert "kept.csv" in done.stderr
    assert out.read_text() == "something precious\n"


def test_every_command_has_help_that_says_what_it_is_for():
    for command in ("run", "env", "backends", "doctor"):
        done = run(command, "--help")
        assert done.returncode == 0
        assert f"bench {command}" in done.stdout
    assert run("--help").stdout.count("\n") > 8
