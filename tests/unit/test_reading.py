from __future__ import annotations

import contextlib
import csv
import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.rows import schema
from bench.rows.files import ResultFile, read, read_steps, steps_path
from tests.rows import export_row, failed_row, ok_row

TIMES = {"block_steps": 2, "block_ns": [100, 110], "step_ns": [50, 51, 60]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished file of three rows: lines 2 (ok), 3 (crashed) and 4 (ok, export)."""
    path = tmp_path_factory.mktemp("finished") / "rows.csv"
    with ResultFile.create(path) as file:
        file.append(ok_row(), TIMES)
        file.append(failed_row(repeat=1))
        file.append(export_row(), TIMES)
    return path


@pytest.fixture
def path(finished: Path, tmp_path: Path) -> Path:
    """A copy of ``finished`` to break."""
    shutil.copy(steps_path(finished), tmp_path)
    return Path(shutil.copy(finished, tmp_path))


def refused(path: Path, *words: str, reader: Callable[[Path], object] = read) -> None:
    """Reading ``path`` fails in one line with these words and the file's name."""
    with pytest.raises(UsageError) as caught:
        reader(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message


def edit(path: Path, old: str, new: str, *, count: int = 1) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, count))


def set_field(path: Path, line: int, column: str, value: str) -> None:
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    lines[line - 1][lines[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def test_folders_files_and_names_of_one_file_are_read_once(path, tmp_path):
    (tmp_path / "sub").mkdir()
    copy = tmp_path / "sub/copy.csv"
    copy.write_bytes(path.read_bytes())
    os.link(path, tmp_path / "hard.csv")
    assert len(read(path, tmp_path, path)) == 3
    set_field(copy, 2, "step_ms_p50", "51.0")
    refused(tmp_path, "line 2: run_id, cell_id and repeat are those of another row of")


def test_another_run_of_the_same_cells_is_more_evidence(path, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(path.read_text().replace("a1b2c3", "d4e5f6"))
    assert len(read(path, other)) == 6


def test_what_spreadsheets_do_to_a_file_does_no_harm(path):
    before = read(path)
    edit(path, ",true,", ",TRUE,", count=9)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert read(path) == before


def test_columns_in_another_order_and_unknown_ones_are_read_by_name(path):
    before = read(path)
    with path.open(newline="") as file:
        lines = [
            [*reversed(line), "'=x" if at else "later"] for at, line in enumerate(csv.reader(file))
        ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    assert read(path) == [row | {"later": "'=x"} for row in before]


def test_a_file_from_before_a_further_column_is_read(path):
    newest = schema.COLUMNS[-1].name
    edit(path, f",{newest}\n", "\n")
    lines = path.read_text().splitlines()
    lines[1:] = [line.rpartition(",")[0] for line in lines[1:]]
    path.write_text("\n".join(lines[:3]) + "\n")
    assert [row[newest] or None for row in read(path)] == [None, None]


@pytest.mark.parametrize(
    ("line", "column", "value", "words"),
    [
        (2, "samples_per_s", "fast", "line 2, column 'samples_per_s': 'fast' is not a finite"),
        (3, "repeat", "", "line 3 contradicts itself: repeat is missing"),
        (4, "settings", "{", "line 4, column 'settings': '{' is not JSON"),
        (4, "started_at", "noon", "line 4, column 'started_at': 'noon' is not a time"),
        (2, "schema", "2", "line 2, column 'schema': '2', and this program reads 1"),
        (2, "step_ms_p99", "1.0", "line 2 contradicts itself: step_ms_p95 55 is above"),
        (
            3,
            "status",
            "",
            "line 3 contradicts itself: status is missing; mend it or delete the line",
        ),
        (3, "reason", "x" * 200_000, "line 3 is not CSV (field larger than field limit"),
        (4, "repeat", "two\nlines", "line 4, column 'repeat': 'two\\nlines' is not a whole"),
    ],
)
def test_the_first_bad_line_and_column_are_named(path, line, column, value, words):
    set_field(path, line, column, value)
    refused(path, words)


def test_broken_files_are_named_with_their_mend(path, tmp_path):
    good = path.read_bytes()
    header, first, *_ = good.split(b"\n")
    columns = header.count(b",") + 1
    for content, words in (
        (b"", "is empty"),
        (good[:-20], "line 4 is cut short, as by a kill while it was written: `bench run --resume"),
        (good.replace(b"eager", b"ea\0er", 1), "line 2 holds a NUL byte"),
        (good.replace(b"eager", b"\xff\xfe", 1), "line 2 is not UTF-8"),
        (good.decode().encode("utf-16"), "line 1 holds a NUL byte"),
        (
            header + b"\n" + first + b",x\n",
            f"line 2 has {columns + 1} fields, the header {columns}",
        ),
        (header + b"\n" + first[:99] + b"\n" + first + b"\n", "line 2 has "),
        (header + b"\n" + first + b'\n1,"open\n', "line 3 is not CSV (unexpected end of data)"),
        (header.replace(b",", b";") + b"\n", "line 1 has no column 'schema': not a results file"),
        (header.replace(b"mfu", b"tflops") + b"\n", "line 1 has two columns 'tflops'"),
        (b"x" * 300_000 + b"\n", "line 1 is not CSV"),
        (good.replace(b"mfu", b"mfo"), "line 1 lacks the column 'mfu'"),
    ):
        path.write_bytes(content)
        refused(path, words)
    path.unlink()
    refused(path, "cannot read", "No such file")
    refused(tmp_path / "nul\0", "cannot read")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    refused(tmp_path / "loop.csv", "cannot read")
    (tmp_path / "loop.csv").unlink()
    refused(tmp_path, "is a folder without results (*.csv)")


@settings(max_examples=100, deadline=None)
@given(at=st.integers(min_value=0), junk=st.binary(max_size=3))
def test_any_damage_is_read_or_refused_in_one_line(finished, at, junk):
    for file, reader in ((finished, read), (steps_path(finished), read_steps)):
        content = file.read_bytes()
        place = at % len(content)
        damaged = file.with_name("damaged")
        damaged.write_bytes(content[:place] + junk + content[place + 1 :])
        with contextlib.suppress(UsageError):
            assert len(reader(damaged)) <= 3
            continue
        refused(damaged, reader=reader)


def test_torn_times_are_an_error_until_they_are_mended(path):
    steps = steps_path(path)
    steps.write_bytes(steps.read_bytes()[:-3])
    with pytest.raises(UsageError, match="is cut short: `bench run --resume`"):
        read_steps(steps)
    ResultFile.resume(path).close()
    assert len(read_steps(steps)) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b" " * (65 << 20), "more than 64 MiB of one row"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
    ],
)
def test_times_that_would_fill_the_memory_or_the_stack_are_damaged(path, line, words):
    steps_path(path).write_bytes(gzip.compress(line, compresslevel=1))
    with pytest.raises(UsageError, match=f"is damaged at byte 0 .{words}"):
        read_steps(steps_path(path))
