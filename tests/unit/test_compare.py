"""``bench compare`` on files whose answer is known."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from tests.comparing import JAX, TORCH, row, rows, write

QUIET = (1.0, 1.002, 0.998, 1.001, 0.999)
"""Five processes of one speed, with a spread of 0.16 %."""


def faster(factor: float) -> list[float]:
    return [factor * one for one in QUIET]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base.csv", rows(QUIET))


def lines(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """The JSON's lines by figure, and the exit code as ``exit``."""
    code = main(["compare", *map(str, arguments), "--json"])
    found = json.loads(capsys.readouterr().out)
    return {"exit": code, "all": found} | {line["metric"]: line for line in found["lines"]}


@pytest.mark.parametrize(
    ("factor", "throughput", "latency", "code"),
    [
        (1.1, "faster", "faster", 0),
        (0.9, "slower", "slower", 1),
        (1.005, "same", "same", 0),
    ],
)
def test_the_words(tmp_path, base, capsys, factor, throughput, latency, code):
    new = write(tmp_path / "new.csv", rows(faster(factor), run_id="b"))
    found = lines(capsys, base, new)
    assert found["throughput"]["verdict"] == throughput
    assert found["latency_p50"]["verdict"] == latency
    assert found["throughput"]["ratio"] == pytest.approx(factor)
    assert found["throughput"]["low"] < factor < found["throughput"]["high"]
    assert found["latency_p50"]["ratio"] == pytest.approx(1 / factor)
    assert found["host_memory"]["verdict"] == "same"
    assert found["exit"] == code


def test_a_difference_that_cannot_be_told(tmp_path, base, capsys):
    new = write(tmp_path / "new.csv", rows([0.7, 1.3, 0.9, 1.2], run_id="b"))
    found = lines(capsys, base, new)["throughput"]
    assert found["verdict"] == "inconclusive"
    assert found["detectable"] > 0.2  # the spread of four processes is about 28 %


def test_one_process_a_side_tells_nothing(tmp_path, capsys):
    one = write(tmp_path / "one.csv", rows([1.0]))
    other = write(tmp_path / "other.csv", rows([2.0], run_id="b"))
    found = lines(capsys, one, other)
    assert found["throughput"]["verdict"] == "inconclusive"
    assert found["throughput"]["high"] is None
    assert found["throughput"]["detectable"] is None
    assert found["exit"] == 0


def test_a_side_that_others_computed_beside_says_so(tmp_path, base, capsys):
    disturbed = rows(QUIET, run_id="b", others_share=0.4, stolen_share=0.02)
    new = write(tmp_path / "new.csv", disturbed)
    many = f"{len(QUIET)} of {len(QUIET)}"
    said = f"{many} timed rows were disturbed: others had up to 42% of the CPUs meanwhile"
    assert list(lines(capsys, base, new)["all"]["disturbed"].values()) == [said]
    main(["compare", str(base), str(new)])
    assert f": {said}\n" in capsys.readouterr().out


def test_more_memory_is_larger_and_not_slower(tmp_path, base, capsys):
    new = write(tmp_path / "new.csv", rows(QUIET, run_id="b", peak_host_mib=1200.0))
    found = lines(capsys, base, new)
    assert found["host_memory"]["verdict"] == "larger"
    assert found["exit"] == 0
    assert lines(capsys, base, new, "--fail-on", "larger")["exit"] == 1


def test_nothing_in_common_is_not_green(tmp_path, base, capsys):
    other = rows(QUIET, cell_id=JAX, backend="jax", mode="compiled", run_id="b")
    found = lines(capsys, base, write(tmp_path / "new.csv", other))
    assert found["exit"] == 3
    assert {line["verdict"] for line in found["all"]["lines"]} == {"incomparable"}
    assert {line["cause"] for line in found["all"]["lines"]} == {"lost", "gained"}


def crashed(**changes: Any) -> dict[str, Any]:
    kept = ("schema", "run_id", "cell_id", "repeat", "started_at", "host", "backend", "workload")
    more = ("model", "size", "device", "precision", "mode", "track", "batch", "world_size")
    ended = {"status": "crashed", "reason": "run: signal 11 (SIGSEGV)"}
    return {name: row(1.0)[name] for name in (*kept, *more)} | ended | changes


def test_a_lost_cell_fails_the_gate_even_beside_a_good_one(tmp_path, capsys):
    jax = {"cell_id": JAX, "backend": "jax", "mode": "compiled"}
    base = write(tmp_path / "base.csv", [*rows(QUIET), *rows(QUIET, **jax)])
    ended = [crashed(repeat=1, run_id="b", **jax)]
    new = write(tmp_path / "new.csv", [*rows(QUIET, run_id="b"), *ended])
    found = lines(capsys, base, new)
    lost = next(line for line in found["all"]["lines"] if line["cell"] == JAX)
    assert (lost["verdict"], lost["cause"]) == ("incomparable", "lost")
    assert "signal 11" in lost["reason"]
    assert found["exit"] == 1
    assert lines(capsys, base, new, "--fail-on", "slower")["exit"] == 0


def test_parity_and_settings_make_incomparable(tmp_path, base, capsys):
    wrong = crashed(
        status="parity_failed", reason="logits off by 0.1", parity="failed", repeat=9, run_id="b"
    )
    new = write(tmp_path / "new.csv", [*rows(faster(1.5), run_id="b"), wrong])
    found = lines(capsys, base, new)["throughput"]
    assert (found["verdict"], found["cause"]) == ("incomparable", "parity")
    one_thread = rows(faster(0.5), run_id="c", settings={"threads": 1, "tf32": False})
    other = write(tmp_path / "other.csv", one_thread)
    found = lines(capsys, base, other)["throughput"]
    assert (found["cause"], found["reason"]) == ("settings", "other settings: threads")
    found = lines(capsys, base, other, "--ignore-setting", "threads")["throughput"]
    assert found["verdict"] == "slower"


def test_another_machine_may_have_other_settings_and_says_what_differs(tmp_path, capsys):
    base = write(tmp_path / "base.csv", rows(QUIET, device_name="Slow CPU"))
    there = {
        "cluster": "b",
        "device_name": "Fast CPU",
        "settings": {"threads": 8},
        "gemm_tflops": 6.4,
        "device_tflops": 6.4,
        "run_id": "b",
    }
    # Twice the model's rate on twice the matrix rate: mfu stays what it is.
    new = [dict(one, mfu=one["tflops"] / 6.4) for one in rows(faster(2.0), **there)]
    found = lines(capsys, base, write(tmp_path / "new.csv", new))
    assert found["throughput"]["verdict"] == "faster"
    facts = {one["fact"]: one["new"] for one in found["all"]["differences"]["new"]}
    assert facts["device_name"] == "Fast CPU"
    (split,) = found["all"]["splits"]
    # ln 2 all of it in the hardware, 0 left.
    assert split["speed"] == pytest.approx(0.6931, abs=1e-3)
    assert split["probes"]["matrix rate"] == pytest.approx(0.6931, abs=1e-3)
    assert split["software"] == pytest.approx(0, abs=1e-9)
    main(["compare", str(base), str(tmp_path / "new.csv")])
    assert "2.00 times faster (geometric mean of 1 cells)" in (out := capsys.readouterr().out)
    assert "not distinguishable from 1" in out


def test_a_rank_that_turns_is_named(tmp_path, capsys):
    jax = {"cell_id": JAX, "backend": "jax", "mode": "compiled"}
    here = [*rows(QUIET), *rows(faster(1.5), **jax)]
    base = write(tmp_path / "base.csv", here)
    far = {"cluster": "b", "run_id": "b"}
    new = write(tmp_path / "new.csv", [*rows(QUIET, **far), *rows(faster(0.5), **jax, **far)])
    (turned,) = lines(capsys, base, new)["all"]["turned"]
    assert (turned["ahead"], turned["behind"]) == ("jax compiled", "torch eager")
    assert turned["certain"] is True


def test_between_backends_within_a_file_pairs_fleets(tmp_path, capsys):
    # Fleets differ by a factor of up to 2, within each jax is 1.2 times faster: Welch would see
    # nothing, pairs see it exactly.
    slow = (1.0, 1.5, 0.75, 2.0, 1.25)
    jax = {"cell_id": JAX, "backend": "jax", "mode": "compiled"}
    path = write(
        tmp_path / "rows.csv",
        [
            one
            for at, factor in enumerate(slow, start=1)
            for one in (
                row(factor, repeat=at, fleet=f"f{at}"),
                row(1.2 * factor, repeat=at, fleet=f"f{at}", **jax),
            )
        ],
    )
    found = lines(capsys, path, "--between", "backend")["throughput"]
    assert found["paired"] is True
    assert found["ratio"] == pytest.approx(1.2)
    assert found["verdict"] == "faster"
    back = lines(capsys, path, "--between", "backend", "--base", "jax compiled")["throughput"]
    assert back["ratio"] == pytest.approx(1 / 1.2)
    assert back["verdict"] == "slower"


def test_backends_may_have_settings_of_their_own_but_not_other_threads(tmp_path, capsys):
    jax = {"cell_id": JAX, "backend": "jax", "mode": "compiled"}
    own = {"threads": 2, "donated": True}
    path = write(tmp_path / "a.csv", [*rows(QUIET), *rows(faster(2), **jax, settings=own)])
    assert lines(capsys, path, "--between", "backend")["throughput"]["verdict"] == "faster"
    own = {"threads": 1, "donated": True}
    path = write(tmp_path / "b.csv", [*rows(QUIET), *rows(faster(2), **jax, settings=own)])
    found = lines(capsys, path, "--between", "backend")["throughput"]
    assert (found["cause"], found["reason"]) == ("settings", "other settings: threads")


def test_raw_times_sharpen_pairs(tmp_path, capsys):
    """The rows' medians say 1.0, the rounds say 2.0 in each of them."""
    jax = {"cell_id": JAX, "backend": "jax", "mode": "compiled"}
    found, times = [], {}
    for at in (1, 2, 3):
        found += [row(1.0, repeat=at, fleet=f"f{at}"), row(1.0, repeat=at, fleet=f"f{at}", **jax)]
        blocks = [400, 400, 200, 200, 800, 800]
        times[TORCH, at] = {"block_steps": 2, "block_ns": blocks}
        times[JAX, at] = {"block_steps": 1, "block_ns": [one // 4 for one in blocks]}
    path = write(tmp_path / "rows.csv", found, times)
    assert lines(capsys, path, "--between", "backend")["throughput"]["ratio"] == pytest.approx(2.0)


def test_from_three_runs_on_the_runs_are_the_units(tmp_path, capsys):
    """Nights differ by 20 %, processes of a night by nothing: 15 processes are 3 observations."""
    base, new = [], []
    for night, factor in enumerate((0.8, 1.0, 1.2)):
        base += rows([factor] * 5, run_id=f"a{night}")
        new += rows([factor * 1.1] * 5, run_id=f"b{night}")
    for name, found in (("base", base), ("new", new)):
        for night in range(3):
            mine = [one for one in found if one["run_id"].endswith(str(night))]
            write(tmp_path / name / f"{night}.csv", mine)
    found = lines(capsys, tmp_path / "base", tmp_path / "new")["throughput"]
    assert found["verdict"] == "inconclusive"
    assert found["base_n"] == 15
    # Welch on 3 + 3 log-means, each side has standard deviation 0.2027: se 0.1655; t(0.99675, 4) is
    # 5.204.
    assert found["high"] / found["low"] == pytest.approx(5.62, rel=0.01)


def test_gate_formats(tmp_path, base, capsys):
    new = write(tmp_path / "new.csv", rows(faster(0.8), run_id="b"))
    out = tmp_path / "out.xml"
    assert main(["compare", str(base), str(new), "--format", "junit", "--out", str(out)]) == 1
    assert "slower" in capsys.readouterr().out  # the table is printed still
    suite = ET.fromstring(out.read_text()).find("testsuite")
    assert suite is not None
    assert suite.attrib["failures"] == "3"  # throughput and two latencies
    assert main(["compare", str(base), str(new), "--format", "markdown"]) == 1
    assert "| throughput | 1,280 | 1,024 | 0.800 |" in capsys.readouterr().out
    assert main(["compare", str(base), str(new), "--format", "csv"]) == 1
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(found[0]["ratio"]) == pytest.approx(0.8)


def test_texts_of_others_are_data(tmp_path, capsys):
    """A formula, markup, a mention and control characters, in a cell's id and a reason."""
    name = "=cmd|' /c calc'!A1<script>@all`|"
    evil = f"{name}{TORCH.removeprefix('torch')}"
    who = {"backend": name, "cell_id": evil}
    base = write(tmp_path / "base.csv", rows(QUIET, **who))
    reason = f"x {evil}\x1b[31m"
    new = write(tmp_path / "new.csv", [crashed(run_id="b", reason=reason, **who)])
    outs = {}
    for kind in ("table", "csv", "markdown", "junit", "json"):
        main(["compare", str(base), str(new), "--format", kind])
        outs[kind] = capsys.readouterr().out
        assert "\x1b" not in outs[kind]
    assert all(field[:1] not in "=+-@" for field in next(csv.reader(io.StringIO(outs["csv"]))))
    line = next(csv.DictReader(io.StringIO(outs["csv"])))
    assert line["cell"].startswith("'=")
    assert "<script>" not in outs["markdown"]
    assert "@all" not in outs["markdown"]
    ET.fromstring(outs["junit"])
    assert json.loads(outs["json"])["lines"][0]["cell"] == evil


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give BASE and NEW"),
        (["--base", "x"], "--base goes with --between"),
        (["--between", "bakend"], "did you mean 'backend'?"),
        (["--between", "mode"], "all rows have the same"),
        (["--between", "backend", "--base", "x"], "--base 'x' is not there"),
        (["nowhere.csv"], "cannot read nowhere.csv"),
        (["README.md"], "README.md"),
        (["NEW", "--fail-on", "slow"], "did you mean 'slower'?"),
        (["NEW", "--metric", "speed"], "unknown figure 'speed'"),
        (["NEW", "--margin", "3"], "'3' is not a number between 0 and 1"),
        (["NEW", "--out", "/no/where"], "cannot write /no/where"),
    ],
)
def test_bad_input(base, capsys, arguments, said):
    asked = [str(base) if one == "NEW" else one for one in arguments]
    assert main(["compare", str(base), *asked]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1280.0", "fast", "line 2"),
        ("1280.0", "-1.0", "line 2"),
        (",ok,", ",fine,", "line 2"),
        ("samples_per_s,", "rate,", "samples_per_s"),
        ("\n1,", "\n7,", "schema"),
    ],
)
def test_broken_files_name_line_and_mend(tmp_path, base, capsys, old, new, said):
    broken = tmp_path / "broken.csv"
    broken.write_text(base.read_text().replace(old, new, 1))
    assert main(["compare", str(base), str(broken)]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert str(broken) in shown
    assert shown.count("\n") == 1


def test_a_copy_of_a_file_counts_once_and_a_forged_one_is_refused(tmp_path, base, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_bytes(base.read_bytes())
    assert lines(capsys, base, folder)["throughput"]["new_n"] == len(QUIET)
    (folder / "b.csv").write_text(base.read_text().replace("1280.0", "1281.0", 1))
    assert main(["compare", str(base), str(folder)]) == 2
    assert "different rows" in capsys.readouterr().err
