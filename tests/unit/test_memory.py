"""Memory of real processes; they say over a pipe when they are ready, so nothing sleeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import memory

FAMILY = """
import os, sys

reading, writing = os.pipe()

def member(name, *family, leaves=False, new_session=False):
    if os.fork():
        return
    if new_session:
        os.setsid()
    for grow in family:
        grow()
    if leaves:  # its children lose their parent
        os._exit(0)
    os.write(writing, f"{name} {os.getpid()}\\n".encode())
    sys.stdin.read()  # until the test closes the pipe
    os._exit(0)

member("child", lambda: member("grandchild"))
member("gone", lambda: member("orphan"), leaves=True)
member("elsewhere", lambda: member("its child"), new_session=True)
os.wait()  # the one that leaves
told = b""
while told.count(b"\\n") < 5:
    told += os.read(reading, 4096)
print(told.decode(), end="")
print("leader", os.getpid(), flush=True)
sys.stdin.read()
"""
MEMBERS = {"leader", "child", "grandchild", "orphan", "elsewhere", "its child"}


@pytest.fixture
def family():
    """Names and process ids of a session with every kind of relative."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:  # leaving it closes the pipes, which ends them all
        lines = [process.stdout.readline() for _ in MEMBERS]
        yield {name: int(pid) for name, _, pid in (line.rpartition(" ") for line in lines)}


def test_a_tree_has_children_grandchildren_orphans_and_sessions_of_their_own(family):
    assert set(family) == MEMBERS
    found = memory.tree(family["leader"])
    assert found == sorted(family.values())
    assert os.getpid() not in found


def test_a_child_is_no_root_for_its_parent(family):
    assert memory.tree(family["elsewhere"]) == sorted([family["elsewhere"], family["its child"]])


def test_the_bytes_of_a_tree_are_its_processes_together(family):
    each = {pid: memory._pss_bytes(pid) for pid in family.values()}
    assert all(each.values())
    # They only wait meanwhile; what moves is how many others on the machine share their pages.
    assert memory.pss_bytes(memory.tree(family["leader"])) == pytest.approx(
        sum(each.values()), rel=0.5
    )


@pytest.fixture
def gone():
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_a_process_that_is_gone_counts_as_nothing(gone, monkeypatch):
    assert memory.resident_bytes(gone) == 0
    assert memory.peak_bytes(gone) == 0
    assert memory.tree(gone) == []
    assert memory.pss_bytes(memory.tree(gone)) == 0
    monkeypatch.setattr(memory, "tree", lambda _: [gone])  # it ended after it was seen
    assert memory.pss_bytes(memory.tree(1)) == 0


def test_a_process_that_was_not_waited_for_counts_as_nothing():
    process = subprocess.Popen([sys.executable, "-S", "-c", ""], start_new_session=True)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is left as it is
    try:
        assert memory.tree(process.pid) == [process.pid]
        assert memory.pss_bytes(memory.tree(process.pid)) == 0
        assert memory.peak_bytes(process.pid) == 0
    finally:
        process.wait()


ALLOCATE = """
import json
import numpy
from bench import memory

seen = [memory.peak_bytes(), memory.resident_bytes()]
kept = numpy.ones(64 << 20, numpy.uint8)
seen += [memory.peak_bytes(), memory.resident_bytes()]
del kept
seen += [memory.peak_bytes(), memory.resident_bytes()]
memory.reset_peak()
seen += [memory.peak_bytes(), memory.resident_bytes()]
print(json.dumps([n / 2**20 for n in seen]))
"""


def test_a_peak_is_kept_until_it_is_reset():
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    (peak, now), (held_peak, held), (after_peak, after), (reset_peak, reset) = zip(
        seen[::2], seen[1::2], strict=True
    )
    # 64 MiB of ones, to some pages that the interpreter takes or gives back meanwhile.
    assert held - now == pytest.approx(64, abs=2)
    # Each thread of the kernel's counts some pages for itself first (proc(5), "statm").
    assert held_peak >= held - 2
    assert held_peak >= peak - 2
    assert after_peak == pytest.approx(held_peak, abs=2)
    assert held - after == pytest.approx(64, abs=2)
    assert reset_peak == pytest.approx(reset, abs=2)
    assert after_peak - reset_peak > 60


def test_available_memory_is_part_of_the_machines():
    assert 0 < memory.available_bytes() < memory.total_bytes()


# -- a /proc of our own, where the figures are known


@pytest.fixture
def proc(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path)

    def process(pid, *, parent=1, session=1, name="worker", **files):
        folder = tmp_path / str(pid)
        folder.mkdir()
        # state ppid pgrp session tty tpgid flags, four kinds of faults, then utime and stime
        (folder / "stat").write_text(
            f"{pid} ({name}) S {parent} 9 {session} 0 -1 0 0 0 0 0 250 75 0 0\n"
        )
        for file, content in files.items():
            (folder / file).write_text(content)

    (tmp_path / "self").mkdir()
    (tmp_path / "sys").mkdir()
    return process


def test_a_session_and_all_descendants_are_found(proc):
    proc(10, parent=2, session=10)
    proc(11, parent=1, session=10)  # an orphan
    proc(12, parent=11, session=12)  # the orphan's child, in a session of its own
    proc(13, parent=12, session=12)
    proc(20, parent=2, session=20)  # a neighbour
    assert memory.tree(10) == [10, 11, 12, 13]


def test_a_name_with_brackets_and_spaces_is_read_over(proc):
    proc(10, parent=2, session=10, name="a) S 7 7 7 (b c")
    assert memory.tree(10) == [10]


def test_shared_pages_are_summed_as_the_kernel_divides_them(proc):
    head = "00400000-7fff r-xp 00000000 00:00 0 [rollup]\nRss:  900 kB\n"
    proc(10, session=10, smaps_rollup=head + "Pss:  100 kB\nPss_Anon: 50 kB\n")
    proc(11, session=10, smaps_rollup=head + "Pss:   28 kB\nPss_Anon: 20 kB\n")
    proc(12, session=10)  # ended meanwhile
    proc(13, session=10, smaps_rollup="")  # ending: it has no memory any more
    assert memory.pss_bytes(memory.tree(10)) == 128 * 1024


def test_where_the_kernel_does_not_divide_them_resident_pages_are_counted(proc, monkeypatch):
    proc(10, session=10, smaps_rollup="secret", status="VmHWM:  70 kB\nVmRSS:  60 kB\n")
    read_text = Path.read_text

    def denied(path: Path) -> str:
        if path.name == "smaps_rollup":
            raise PermissionError(path)
        return read_text(path)

    monkeypatch.setattr(Path, "read_text", denied)
    assert memory.pss_bytes(memory.tree(10)) == 60 * 1024


def test_resident_and_peak_bytes_are_read_from_status(proc):
    proc(10, status="Name: VmRSS: 5 kB\nVmPeak:  900 kB\nVmHWM:  70 kB\nVmRSS:  60 kB\n")
    assert (memory.resident_bytes(10), memory.peak_bytes(10)) == (60 * 1024, 70 * 1024)


def test_a_machine_without_the_figure_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal:  2048 kB\nMemFree: 1 kB\n")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert memory.total_bytes() == 2 * 2**20
    with pytest.raises(OSError, match="MemAvailable"):
        memory.available_bytes()


def test_what_the_c_library_keeps_free_can_be_given_back():
    piece, count = 64 * 1024, 1024  # below the size that is mapped, and given back, by itself
    pieces = [bytearray(b"\1" * piece) for _ in range(2 * count)]
    for index in range(0, 2 * count, 2):
        pieces[index] = bytearray()  # between others that stay: the heap cannot shrink
    held = memory.resident_bytes()
    assert memory.give_back()
    assert held - memory.resident_bytes() > 0.8 * piece * count
