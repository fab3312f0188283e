"""A run ends with its scores and its page; a report of results that show nothing is a page, too."""

from __future__ import annotations

import pytest

from bench.cli import main
from tests import harness
from tests.comparing import JAX, TORCH, rows, write
from tests.rows import failed_row, generate_row


def test_a_run_ends_with_its_page(tmp_path):
    out = tmp_path / "rows.csv"
    done = harness.bench("--workload", "cnn", "--repeats", "1", "--out", str(out), "--report")
    assert done.returncode == 0, done.stderr
    assert f"page: {out.with_suffix('.html')}" in done.stdout
    assert "updated scores, train: " in done.stdout
    assert "fake/cnn/cnn/tiny" in out.with_suffix(".html").read_text()


def test_nothing_measured_is_a_page_that_says_why(tmp_path):
    path = write(tmp_path / "rows.csv", [failed_row(reason="the disk was full")])
    out = tmp_path / "page.html"
    assert main(["report", str(path), "-o", str(out), "--draws", "100"]) == 0
    text = out.read_text()
    assert "the disk was full" in text
    assert "Not measured." in text


def test_language_models_and_accuracies_have_tables_of_their_own(tmp_path):
    served = generate_row(ttft_ms_p50=123.4, decode_tokens_per_s=317.0)
    there = {"target_accuracy": 0.9, "target_found": 0.95, "target_compile_s": 0.5}
    seeds = rows([1.0, 1.1], **there, target_s=2.25, target_samples=3200)
    path = write(tmp_path / "rows.csv", [served, *seeds])
    out = tmp_path / "page.html"
    assert main(["report", str(path), "-o", str(out), "--draws", "100"]) == 0
    text = out.read_text()
    language, rest = text.partition('id="language"')[2].split('id="targets"')
    assert served["cell_id"] in language
    assert "<td>123.4</td>" in language
    assert "<td>317</td>" in language
    targets, _ = rest.split('id="ladder"')
    assert "<td>2 of 2</td><td>2.25 s (2.25 to 2.25)</td><td>3,200</td><td>0.5 s</td>" in targets
    assert served["cell_id"] not in targets


def test_a_machine_that_others_used_says_so(tmp_path):
    path = write(tmp_path / "rows.csv", rows([1.0, 1.1], others_share=0.3, stolen_share=0.0))
    out = tmp_path / "page.html"
    assert main(["report", str(path), "-o", str(out), "--draws", "100"]) == 0
    said = "2 of 2 timed rows were disturbed: others had up to 30% of the CPUs meanwhile"
    assert f"<dt>disturbed</dt><dd>{said}</dd>" in out.read_text()


def test_plots_need_no_browser(tmp_path, capsys):
    path = write(
        tmp_path / "rows.csv",
        [*rows([1.0, 1.1]), *rows([2.0], cell_id=JAX, backend="jax", mode="compiled")],
    )
    folder = tmp_path / "plots"
    out = str(tmp_path / "page.html")
    assert main(["report", str(path), "--plots", str(folder), "-o", out, "--draws", "100"]) == 0
    names = sorted(one.name for one in folder.iterdir())
    assert "throughput.svg" in names
    assert (folder / "ranking.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "criteria.svg").read_text()


def test_the_summary_for_a_pull_request(tmp_path, capsys):
    path = write(tmp_path / "rows.csv", rows([1.0, 1.1], cell_id=TORCH))
    assert main(["report", str(path), "--format", "md", "--draws", "100"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("## ")
    assert "2 rows: 2 ok" in out
    assert "| backend |" in out


@pytest.mark.parametrize("where", ["nowhere/page.html", "."])
def test_an_output_that_cannot_be_written_is_one_line(where, tmp_path, capsys):
    path = write(tmp_path / "rows.csv", rows([1.0, 1.1], cell_id=TORCH))
    out = str(tmp_path / where)
    assert main(["report", str(path), "-o", out, "--draws", "100"]) == 2
    err = capsys.readouterr().err
    assert "name another" in err
    assert err.count("\n") == 1
