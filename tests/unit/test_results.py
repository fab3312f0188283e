from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.rows import files, schema
from bench.rows.files import ResultFile, RowError, read, read_steps, steps_path
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


def edit(path: Path, old: str, new: str, *, count: int = 1) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, count))


# -- writing -------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(path):
    rows = read(path)
    assert [row["status"] for row in rows] == ["ok", "crashed", "ok"]
    for row, written in zip(rows, (ok_row(), failed_row(repeat=1), export_row()), strict=True):
        assert {name: row[name] for name in written} == written
        assert set(row) == set(schema.BY_NAME)
    key = {"cell_id": ok_row()["cell_id"], "repeat": 0}
    assert read_steps(steps_path(path)) == [
        key | TIMES,
        key | TIMES | {"cell_id": export_row()["cell_id"]},
    ]


def test_each_row_is_in_the_file_before_the_next_one_runs(tmp_path):
    with ResultFile.create(path := tmp_path / "rows.csv") as file:
        for repeat in range(3):
            file.append(ok_row(repeat=repeat), TIMES)
            assert len(read(path)) == len(read_steps(steps_path(path))) == repeat + 1


def test_the_raw_times_are_a_plain_gzip_of_json_lines(path):
    lines = gzip.decompress(steps_path(path).read_bytes()).splitlines()
    assert [json.loads(line)["block_ns"] for line in lines] == [[100, 110]] * 2


def test_a_contradictory_row_is_not_written(path):
    before = path.read_bytes(), steps_path(path).read_bytes()
    with ResultFile.resume(path) as file:
        with pytest.raises(RowError, match="makes 5 ms") as caught:
            file.append(ok_row(repeat=7, samples_per_s=12800.0, flops_per_sample=10**8), TIMES)
        assert len(caught.value.problems) == 1
        for row, words in (
            (ok_row(repeat=7, sample_per_s=3.0), "there is no column 'sample_per_s'"),
            (ok_row(), "has a row of this cell and repeat already"),
            (ok_row(repeat=7, run_id="other"), "run_id is other, but .* is of a1b2c3"),
        ):
            with pytest.raises(RowError, match=words):
                file.append(row, TIMES)
        assert (path.read_bytes(), steps_path(path).read_bytes()) == before
        file.append(failed_row(repeat=7, reason=str(caught.value)))
    assert read(path)[-1]["reason"] == str(caught.value)


@pytest.mark.parametrize("name", ["rows.csv", "deep/er/rows.csv", "rows", "a.b.csv"])
def test_a_new_file_makes_its_folders_and_has_a_header(tmp_path, name):
    path = tmp_path / name
    ResultFile.create(path).close()
    assert path.read_text() == ",".join(schema.BY_NAME) + "\n"
    assert read(path) == []
    assert read_steps(steps_path(path)) == []


def test_a_file_that_cannot_be_made_is_a_usage_error_and_leaves_nothing(tmp_path):
    (tmp_path / "here.csv").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "left.steps.jsonl.gz").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for name, words in (
        ("here.csv", "exists already: name another file, or go on with it with --resume"),
        ("folder", "is a folder: name a file, such as .*folder/rows.csv"),
        ("left.csv", "left.steps.jsonl.gz is left from another run: move it away"),
        ("here.csv/rows.csv", "cannot write .*here.csv/rows.csv: .*; name another file"),
        ("x" * 300, "cannot write .*: File name too long"),
        ("nul\0.csv", "cannot write .*: embedded null byte"),
    ):
        with pytest.raises(UsageError, match=f"^[^\n]*{words}[^\n]*$"):
            ResultFile.create(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "here.csv").read_text() == "mine"


@pytest.mark.parametrize("opened", [ResultFile.create, ResultFile.resume])
def test_a_file_is_locked_while_it_is_written_and_free_afterwards(path, opened):
    if opened == ResultFile.create:
        path = path.with_name("new.csv")
    with opened(path):
        before = path.read_bytes()
        with pytest.raises(UsageError, match="is being written by another run"):
            ResultFile.resume(path)
        assert path.read_bytes() == before
    ResultFile.resume(path).close()


def test_a_file_put_in_place_between_opening_and_locking_is_another_runs(path, monkeypatch):
    def replaced_meanwhile(fd, how):
        shutil.copy(path, copy := path.with_name("copy"))
        copy.replace(path)

    monkeypatch.setattr(fcntl, "flock", replaced_meanwhile)
    with pytest.raises(UsageError, match="is being written by another run"):
        ResultFile.resume(path)


def test_a_disk_that_fails_only_at_the_end_is_said(tmp_path, monkeypatch):
    def refuse(fd):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    file = ResultFile.create(tmp_path / "rows.csv")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UsageError, match=r"rows.csv may lack rows: Disk quota exceeded"):
        file.close()
    monkeypatch.undo()
    ResultFile.resume(tmp_path / "rows.csv").close()  # the lock is free


@pytest.mark.parametrize(("number", "works"), [(errno.ENOSYS, True), (errno.EIO, False)])
def test_a_file_system_without_locks_can_still_hold_results(tmp_path, monkeypatch, number, works):
    def refuse(fd, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    expected = (
        contextlib.nullcontext() if works else pytest.raises(UsageError, match="cannot write")
    )
    with expected:
        ResultFile.create(tmp_path / "rows.csv").close()
    assert (tmp_path / "rows.csv").exists() == works


# -- resuming ------------------------------------------------------------------------------------


def test_resume_knows_what_is_done_and_goes_on(path):
    before = path.read_bytes(), steps_path(path).read_bytes(), path.stat().st_ino
    with ResultFile.resume(path) as file:
        assert file.run_id == "a1b2c3"
        assert file.done == {
            (ok_row()["cell_id"], 0),
            (ok_row()["cell_id"], 1),
            (export_row()["cell_id"], 0),
        }
        now = path.read_bytes(), steps_path(path).read_bytes(), path.stat().st_ino
        assert now == before  # nothing was wrong, so nothing was rewritten
        file.append(ok_row(repeat=2), TIMES)
        assert (ok_row()["cell_id"], 2) in file.done
    assert [row["repeat"] for row in read(path)] == [0, 1, 0, 2]


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(min_value=0), cut_steps=st.integers(min_value=0))
def test_a_file_torn_anywhere_is_resumed_with_its_whole_rows(finished, cut, cut_steps):
    whole, steps = finished.read_bytes(), steps_path(finished).read_bytes()
    path = finished.with_name("torn.csv")
    path.write_bytes(kept := whole[: cut % (len(whole) + 1)])
    steps_path(path).write_bytes(steps[: cut_steps % (len(steps) + 1)])
    rows = [ok_row(), failed_row(repeat=1), export_row()]
    left = rows[max(0, kept.count(b"\n") - 1) :]
    with ResultFile.resume(path) as file:
        assert len(file.done) == 3 - len(left)
        for row in left:
            file.append(row, TIMES)
    assert path.read_bytes() == whole
    known = {(line["cell_id"], line["repeat"]) for line in read_steps(steps_path(path))}
    assert known >= {(row["cell_id"], row["repeat"]) for row in left}


@pytest.mark.parametrize("tail", [b"1,a1b2c3,torch\n", b"\0" * 512, b"\0" * 512 + b"\n", b"\n"])
def test_what_a_power_cut_leaves_at_the_end_is_dropped(path, tail):
    path.write_bytes((before := path.read_bytes()) + tail)
    ResultFile.resume(path).close()
    assert path.read_bytes() == before


def test_interrupted_rows_are_dropped_with_their_times_and_can_be_run_again(tmp_path):
    path = tmp_path / "rows.csv"
    with ResultFile.create(path) as file:
        file.append(failed_row(status="interrupted", reason="stopped by the user"), TIMES)
        file.append(ok_row(repeat=1), TIMES)
    path.chmod(0o640)
    with ResultFile.resume(path) as file:
        assert file.done == {(ok_row()["cell_id"], 1)}
        with pytest.raises(UsageError, match="being written"):  # the rewritten file is locked
            ResultFile.resume(path)
        file.append(ok_row(repeat=0), TIMES)
    assert [(row["repeat"], row["status"]) for row in read(path)] == [(1, "ok"), (0, "ok")]
    assert [line["repeat"] for line in read_steps(steps_path(path))] == [1, 0]
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(child.name for child in tmp_path.iterdir()) == [
        "rows.csv",
        "rows.sha256",
        "rows.steps.jsonl.gz",
    ]


def test_a_link_stays_a_link(path, tmp_path):
    path.write_bytes(path.read_bytes() + b"torn")
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    with ResultFile.resume(link) as file:
        file.append(ok_row(repeat=5))
    assert link.is_symlink()
    assert len(read(path)) == 4


def test_times_whose_row_is_missing_are_dropped_and_lost_times_are_no_error(path):
    with ResultFile.resume(path) as file:
        file.append(ok_row(repeat=2), TIMES)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    ResultFile.resume(path).close()
    assert len(read_steps(steps_path(path))) == 2
    steps_path(path).unlink()
    with ResultFile.resume(path) as file:
        file.append(ok_row(repeat=2), TIMES)
    assert len(read_steps(steps_path(path))) == 1


def test_a_broken_file_cannot_be_resumed_and_is_left_as_it_was(path, tmp_path):
    good = path.read_text()
    newest = schema.COLUMNS[-1].name
    for old, new, words in (
        ("1280.0", "fast", "line 2, column 'samples_per_s': 'fast' is not a finite decimal number"),
        ("\n1,", "\n2,", "line 2, column 'schema': '2'"),
        ("1280.0", "128.0", "line 2 contradicts itself: "),
        (
            f"{newest}\n",
            "more\n",
            "line 1: not the columns of this version; start a new file",
        ),
        ("schema,", "scheme,", "line 1: not the columns of this version"),
        ("\n1,a1b2c3", "\n1,b1b2c3", "holds 2 runs"),
        ("cpu/fp32/eager/out-of-box/b64/w1,1", "cpu/fp32/eager/out-of-box/b64/w1,0", "two rows of"),
    ):
        edit(path, old, new)
        broken = path.read_bytes()
        with pytest.raises(UsageError, match=f"^[^\n]*{re.escape(words)}[^\n]*$"):
            ResultFile.resume(path)
        assert path.read_bytes() == broken
        path.write_text(good)
    for missing, words in ((tmp_path / "no.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=f"cannot resume .*: {words}"):
            ResultFile.resume(missing)
    steps_path(path).write_bytes(b"not gzip")
    with pytest.raises(UsageError, match=r"is damaged at byte 0 .*: move it away"):
        ResultFile.resume(path)
    steps_path(path).unlink()
    ResultFile.resume(path).close()  # nothing above left a lock behind


def test_a_results_file_is_named_after_its_time_and_run():
    now = datetime(2026, 3, 1, 12, 30, 15, 999999, tzinfo=UTC)
    root = Path("here")
    for cluster, folder in ((None, "local"), ("h200-east_2.a", "h200-east_2.a")):
        path = files.default_path(root, cluster, run_id="a1b2c3", now=now)
        assert path == root / folder / "20260301T123015Z-a1b2c3.csv"


def test_the_raw_times_keep_the_stem():
    assert steps_path(Path("x/a.b.csv")) == Path("x/a.b.steps.jsonl.gz")
    assert steps_path(Path("rows")) == Path("rows.steps.jsonl.gz")


@pytest.mark.parametrize(
    "cluster", ["", "..", ".git", "a/b", "a b", "é", "-x", "x" * 65, "local", "a\n"]
)
def test_a_cluster_name_that_is_no_folder_name_is_refused(cluster):
    with pytest.raises(UsageError, match=r"^--cluster [^\n]*$"):
        files.default_path(Path(), cluster, run_id="a", now=datetime.now(UTC))
