"""Results files under real faults: a full disk, a file-size limit, a killed writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.provenance import unbroken
from bench.rows.files import ResultFile, read, read_steps, steps_path
from tests.rows import ok_row

ROOT = Path(__file__).parents[2]

WRITER = """
import resource, signal, sys
from pathlib import Path
from bench.errors import UsageError
from bench.rows.files import ResultFile
from tests.rows import ok_row

path, limit = Path(sys.argv[1]), int(sys.argv[2])
TIMES = {"block_steps": 1, "block_ns": [50_000_000] * 20, "step_ns": [50_000_000] * 20}
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails with EFBIG instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
with ResultFile.create(path) as file:
    for repeat in range(100_000):
        try:
            file.append(ok_row(repeat=repeat, reason="x" * 5000), TIMES)
        except UsageError as error:
            print(error)
            sys.exit(2)
        if repeat == 0:
            print("started", flush=True)
"""


def writer(path: Path, *, limit: int = 0) -> subprocess.Popen[str]:
    """A process that appends rows of some 5 kB until it is stopped; file-size limit in bytes."""
    command = [sys.executable, "-c", WRITER, str(path), str(limit)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def assert_whole(path: Path) -> int:
    """Every row that is there is whole, has its times and is vouched for, and nothing else is."""
    rows = read(path)
    assert [row["repeat"] for row in rows] == list(range(len(rows)))
    assert [line["repeat"] for line in read_steps(steps_path(path))] == list(range(len(rows)))
    assert [one.said.partition(",")[0] for one in unbroken.findings(path)] == ["unbroken"]
    return len(rows)


def assert_goes_on(path: Path, count: int) -> None:
    with ResultFile.resume(path) as file:
        assert len(file.done) == count
        file.append(ok_row(repeat=count), {"block_steps": 1, "block_ns": [], "step_ns": []})
    assert assert_whole(path) == count + 1


def assert_refused_for_space(process: subprocess.Popen[str], path: Path, words: str) -> None:
    output, _ = process.communicate()
    assert process.returncode == 2
    (error,) = output.splitlines()[1:]
    assert error.startswith(f"cannot write {path}: {words}; every row before this one is in it")


def test_a_file_size_limit_in_the_middle_of_a_row_leaves_the_rows_before_it(tmp_path):
    path = tmp_path / "rows.csv"
    # Rows are some 5 kB: the limit of 23,000 bytes cuts the fifth or so.
    assert_refused_for_space(writer(path, limit=23_000), path, "File too large")
    count = assert_whole(path)
    assert 2 <= count <= 5
    assert_goes_on(path, count)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A tmpfs of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if (
        os.geteuid() != 0
        or subprocess.run(command, check=False, capture_output=True).returncode != 0
    ):
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_rows_before_it(small_disk):
    path = small_disk / "rows.csv"
    assert_refused_for_space(writer(path), path, "No space left on device")
    count = assert_whole(path)
    assert count >= 2
    subprocess.run(["mount", "-o", "remount,size=256k", str(small_disk)], check=True)
    assert_goes_on(path, count)


def test_a_disk_without_room_for_the_header_leaves_no_file(small_disk):
    (small_disk / "ballast").write_bytes(b"\0" * (64 * 1024))
    process = writer(small_disk / "rows.csv")
    output, _ = process.communicate()
    assert process.returncode == 1  # the writer does not catch what create raises
    assert output == ""
    assert [child.name for child in small_disk.iterdir()] == ["ballast"]


def test_a_killed_writer_leaves_whole_rows_and_frees_its_lock(tmp_path):
    path = tmp_path / "rows.csv"
    process = writer(path)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with ResultFile.resume(path) as file:  # cuts what the kernel had not finished
        count = len(file.done)
    assert count >= 1
    assert assert_whole(path) == count
    assert_goes_on(path, count)
