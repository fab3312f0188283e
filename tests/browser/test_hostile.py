"""Fields that hold HTML, script and formulas stay text: in the page and in every CSV we write."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench.cli import main
from tests.comparing import TORCH, rows, write
from tests.rows import failed_row

PAYLOADS = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    '"><svg onload=window.hacked=1>',
    "javascript:window.hacked=1",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "=cmd|'/c calc'!A1",
    "@SUM(1+1)",
    "+1+1",
    "-1+1",
    "\t=1+1",
)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Path:
    """A pilot, on two clusters, each of whose texts is a payload somewhere."""
    folder = tmp_path_factory.mktemp("hostile")
    for at, payload in enumerate(PAYLOADS):
        texts = dict.fromkeys(("cluster", "host", "device_name", "driver", "env_python"), payload)
        texts |= {"backend_version": payload, "settings": {"x": payload, payload: 1}}
        made = rows([1.0, 1.1], run_id=f"r{at}", **texts)
        made.append(failed_row(run_id=f"r{at}", repeat=9, reason=payload, cluster=payload))
        write(folder / f"{at}.csv", made)
    return folder


def test_the_page_stays_inert(watched, hostile, tmp_path):
    out = tmp_path / "report.html"
    assert main(["report", str(hostile), "-o", str(out), "--draws", "200"]) == 0
    page = watched.open(out)
    for link in page.locator("#cell-table a[data-row]").all()[:30]:
        link.click()
        page.keyboard.press("Escape")
    assert page.evaluate("window.hacked") is None
    assert watched.errors == []
    assert watched.requests == [out.as_uri()]
    assert page.locator("img, svg[onload]").count() == 0
    assert page.locator("script").count() == 3  # the data, the bundle and the page's own
    text = page.locator("main").inner_text()
    assert PAYLOADS[0] in text
    assert "{{ 7 * 7 }}" in text


def inert(path: Path) -> None:
    with path.open(newline="") as file:
        for record in csv.reader(file):
            for field in record:
                number = field.lstrip("-").replace(".", "").replace("e-", "").isdigit()
                assert number or not field.startswith(("=", "@", "+", "-", "\t", "\r")), field


def test_every_csv_that_we_write_is_inert(hostile, tmp_path, capsys):
    compared, scored = tmp_path / "compared.csv", tmp_path / "scored.csv"
    axis = ["--between", "cluster", "--format", "csv"]
    main(["compare", str(hostile), *axis, "--out", str(compared)])
    inert(compared)
    capsys.readouterr()
    main(["score", str(hostile), "--format", "csv", "--draws", "200"])
    scored.write_text(capsys.readouterr().out)
    inert(scored)
    for path in hostile.glob("*.csv"):
        inert(path)
    main(["history", str(hostile), "--otava", str(tmp_path / "otava")])
    for path in (tmp_path / "otava").glob("*.csv"):
        inert(path)


def test_the_summary_is_no_markup(hostile, capsys):
    assert main(["report", str(hostile), "--format", "md", "--draws", "200"]) == 0
    assert "<script" not in capsys.readouterr().out.replace("\\<", "")


def test_the_template_is_no_way_to_run_code(tmp_path):
    cell = TORCH
    payload = "{{ cycler.__init__.__globals__ }}"
    path = write(tmp_path / "rows.csv", rows([1.0], cell_id=cell, cluster=payload))
    out = tmp_path / "page.html"
    assert main(["report", str(path), "-o", str(out), "--draws", "200"]) == 0
    assert "{{ cycler.__init__.__globals__ }}" in out.read_text()
