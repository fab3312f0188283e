"""Manifests: what they say, that every kill is mended, and that every change is found."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.provenance import unbroken
from bench.provenance.findings import BROKEN, OK, UNVERIFIABLE
from bench.rows import disk, files, manifest, merging, schema
from bench.rows.files import ResultFile, read, steps_path
from bench.rows.places import manifest_path, parts
from tests.rows import export_row, failed_row, ok_row

TIMES = {"block_steps": 2, "block_ns": [100, 110], "step_ns": [50, 51, 60]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Lines 2 (with times), 3 (without), 4 and 5 (with times)."""
    path = tmp_path / "rows.csv"
    with ResultFile.create(path) as file:
        file.append(ok_row(), TIMES)
        file.append(failed_row(repeat=1))
        file.append(ok_row(repeat=2), TIMES)
        file.append(export_row(), TIMES)
    return path


def said(path: Path) -> list[tuple[str, str, str]]:
    """Verdict, reason and place, the place without its folder."""
    found = unbroken.findings(path)
    return [(one.verdict, one.said, one.where.replace(f"{path.parent}/", "")) for one in found]


def whole(path: Path) -> bool:
    return [verdict for verdict, *_ in said(path)] == [OK]


def fields(path: Path) -> list[list[str]]:
    return [line.split() for line in manifest_path(path).read_text().splitlines()]


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().split()[0]


def test_a_manifest_is_checked_by_hand_as_the_page_says(path):
    lines = fields(path)
    assert shell("sed -n 3p rows.csv | sha256sum", path.parent) == lines[2][0]
    assert shell("zcat rows.steps.jsonl.gz | sed -n 2p | sha256sum", path.parent) == lines[3][1]
    assert lines[0][1] == lines[2][1] == "-"
    linked = f"printf '%s %s %s\\n' {lines[1][2]} {lines[2][0]} - | sha256sum"
    assert shell(linked, path.parent) == lines[2][2]
    first = hashlib.sha256(f"- {lines[0][0]} -\n".encode()).hexdigest()
    assert lines[0][2] == first
    assert whole(path)


def change(data: bytes) -> list[bytes]:
    return [line.replace(b"node7", b"node8") if at == 2 else line for at, line in lines(data)]


def lines(data: bytes) -> list[tuple[int, bytes]]:
    return list(enumerate(data.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("change", "words", "where"),
    [
        (change, "a row was changed", "rows.csv, line 3"),
        (
            lambda data: [line for at, line in lines(data) if at != 2],
            "a row is missing",
            "rows.sha256, line 3",
        ),
        (
            lambda data: [line for at, line in lines(data) if at < 4],
            "a row is missing at the end: a kill leaves that, --resume goes on",
            "rows.sha256, line 5",
        ),
        (
            lambda data: [line for at, line in lines(data) for line in [line] * (1 + (at == 1))],
            "a row was added",
            "rows.csv, line 3",
        ),
        (
            lambda data: [line.replace(b"small", b"tiny") if at == 5 else line for at, line in [
                *lines(data), (5, lines(data)[1][1])
            ]],
            "a row was added",
            "rows.csv, line 6",
        ),
        (
            lambda data: [lines(data)[at][1] for at in (0, 1, 3, 2, 4)],
            "a row was moved",
            "rows.csv, line 3",
        ),
        (lambda data: [data.replace(b"\n", b"\r\n")], "the header was changed", "rows.csv, line 1"),
    ],
    ids=["changed", "missing", "cut", "copied", "added", "reordered", "saved elsewhere"],
)  # fmt: skip
def test_the_first_line_that_is_not_as_it_was_is_named(
    path: Path, change: Callable[[bytes], list[bytes]], words: str, where: str
):
    path.write_bytes(b"".join(change(path.read_bytes())))
    assert said(path) == [(BROKEN, words, where)]


def test_raw_times_are_vouched_for_too(path):
    steps = steps_path(path)
    data = gzip.decompress(steps.read_bytes()).splitlines(keepends=True)
    for changed, words, line in (
        ([data[0], data[1].replace(b"110", b"101"), data[2]], "was changed", 2),
        ([data[0], data[2]], "is missing", 2),
        ([data[1], data[0], data[2]], "was moved", 1),
        ([*data, data[0]], "was added", 4),
        ([], "is missing", 1),
    ):
        steps.write_bytes(b"".join(gzip.compress(line) for line in changed))
        assert said(path) == [
            (BROKEN, f"a line of raw times {words}", f"rows.steps.jsonl.gz, line {line}")
        ]
    steps.write_bytes(b"".join(gzip.compress(line, 9) for line in data))
    assert whole(path), "packed anew, they are what they were"
    steps.write_bytes(steps.read_bytes() + b"\x1f\x8b")
    assert not whole(path)
    steps.write_bytes(b"no gzip")
    [(verdict, words, _)] = said(path)
    assert (verdict, words) == (BROKEN, "the raw times cannot be read")


def test_who_changes_a_row_and_its_line_of_the_manifest_breaks_the_chain(path):
    path.write_bytes(path.read_bytes().replace(b"signal 11", b"signal 9"))
    row = path.read_bytes().splitlines(keepends=True)[2]
    beside = manifest_path(path)
    text = beside.read_text().splitlines(keepends=True)
    old = text[2].split()
    text[2] = f"{hashlib.sha256(row).hexdigest()} - {old[2]}\n"
    beside.write_text("".join(text))
    [(verdict, words, where)] = said(path)
    assert (verdict, where) == (BROKEN, "rows.sha256, line 3")
    assert "changed" in words
    beside.write_text("".join(text[:1] + text[2:]))
    assert (BROKEN, "rows.sha256, line 2") in [(one[0], one[2]) for one in said(path)]
    beside.write_text("nonsense\n")
    assert (BROKEN, "rows.sha256, line 1") in [(one[0], one[2]) for one in said(path)]


def test_a_file_without_a_manifest_is_read_resumed_and_never_said_to_be_fine(path):
    manifest_path(path).unlink()
    assert len(read(path)) == 4
    with ResultFile.resume(path) as file:
        file.append(ok_row(repeat=5), TIMES)
    assert not manifest_path(path).exists(), "what was not hashed when it was made never is"
    assert [verdict for verdict, *_ in said(path)] == [UNVERIFIABLE]


def states(folder: Path) -> list[dict[str, bytes]]:
    """What a kill after each write of two rows, and in the middle of it, leaves on the disk."""
    path, found = folder / "rows.csv", [{}]

    def note() -> None:
        now = {part.name: part.read_bytes() for part in parts(path) if part.exists()}
        before = found[-1]
        grown = next((name for name in now if now[name] != before.get(name, b"")), None)
        if grown is not None:
            torn = now[grown][: (len(before.get(grown, b"")) + len(now[grown])) // 2]
            found.append({**now, grown: torn})
        found.append(now)

    whole = disk.append

    def noting(fd: int, data: bytes) -> None:
        note()
        whole(fd, data)
        note()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "append", noting)
        with ResultFile.create(path) as file:
            file.append(ok_row(), TIMES)
            file.append(failed_row(repeat=1, status="interrupted", reason="stopped"))
            file.append(ok_row(repeat=2), TIMES)
    return found[1:]


def test_resume_mends_what_a_kill_leaves_between_any_two_writes(tmp_path):
    (made := tmp_path / "made").mkdir()
    found = states(made)
    assert len(found) >= 20
    for number, state in enumerate(found):
        (folder := tmp_path / str(number)).mkdir()
        for name, data in state.items():
            (folder / name).write_bytes(data)
        path = folder / "rows.csv"
        with ResultFile.resume(path) as file:
            done = set(file.done)
            for row in (ok_row(), ok_row(repeat=1), ok_row(repeat=2)):
                if (row["cell_id"], row["repeat"]) not in done:
                    file.append(row, TIMES)
        assert whole(path), (number, said(path), {name: len(data) for name, data in state.items()})
        ResultFile.resume(path).close()
        assert whole(path), "resumed once more"


def test_a_kill_while_resuming_is_mended_by_resuming_again(path, monkeypatch):
    with ResultFile.resume(path) as file:
        file.append(failed_row(repeat=7, status="interrupted", reason="stopped"), TIMES)
        file.append(ok_row(repeat=8), TIMES)

    def killed(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    for name in ("disk.replaced", "_resume_steps"):
        with monkeypatch.context() as patch:
            patch.setattr(f"bench.rows.files.{name}", killed)
            patch.setattr(files.disk, "lock", lambda *_: None)
            with pytest.raises(KeyboardInterrupt):
                ResultFile.resume(path)
    with monkeypatch.context() as patch:
        patch.setattr(files.disk, "lock", lambda *_: None)  # the killed ones are this process
        ResultFile.resume(path).close()
    assert whole(path)
    assert [line[1] for line in fields(path)].count("dropped") == 1
    assert "took out again" in said(path)[0][1]


def test_resume_launders_nothing(path):
    held = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(held[:2] + held[3:]).replace(b"node7", b"node9", 1))
    ResultFile.resume(path).close()
    assert said(path) == [(BROKEN, "a row was changed", "rows.csv, line 2")]
    assert "dropped" not in manifest_path(path).read_text()


@pytest.mark.parametrize("fails", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_fails_or_is_stopped_between_two_writes_leaves_all_as_it_was(
    path, monkeypatch, fails, at
):
    """The writes of a row: its times, its line of the manifest, itself."""
    calls, real = [], disk.append

    def failing(fd: int, data: bytes) -> None:
        calls.append(fd)
        if len(calls) == at:
            raise fails
        real(fd, data)

    with ResultFile.resume(path) as file:
        before = [part.read_bytes() for part in parts(path)]
        monkeypatch.setattr(disk, "append", failing)
        with pytest.raises((files.UsageError, KeyboardInterrupt)):
            file.append(ok_row(repeat=9), TIMES)
        monkeypatch.undo()
        assert [part.read_bytes() for part in parts(path)] == before
        file.append(ok_row(repeat=9), TIMES)
    assert [line["repeat"] for line in read(path)] == [0, 1, 2, 0, 9]
    assert whole(path)


def test_merged_files_have_a_manifest_of_what_was_merged(path, tmp_path):
    out = tmp_path / "all" / "out.csv"
    merging.write(out, read(path)[::-1], merging.raw_times(path))
    assert whole(out)
    assert len(fields(out)) == 5
    shutil.copy(path, out)
    assert not whole(out)


def test_lines_are_ended_by_newlines_alone():
    assert manifest.lines(b"a\rb\nc\x0b\n\nd") == [b"a\rb\n", b"c\x0b\n", b"\n", b"d"]
    assert manifest.lines(b"") == []
    assert schema.HEADER.endswith(b"\n")
