"""What a worker is started with, what is kept of its words, and that nothing outlives it."""

from __future__ import annotations

import errno
import os
import platform
import select
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.entry import Entry
from bench import machine
from bench.child import launch
from bench.child import scratch as scratch_module
from bench.child.launch import Child, Ended, Log
from bench.errors import UsageError

# All that an environment depends on.
CELL = SimpleNamespace(backend="theirs", threads=3, settings={}, track="out-of-box", device="cpu")
PATIENCE_S = 60  # for the kernel to do what it was told; no test passes or fails by less


def entry(**changes):
    values = {
        "module": "backends.theirs",
        "python": "3.11",
        "locks": (),
        "modes": ("eager",),
        "imports": (),
        "formats": {},
    }
    return Entry(**values | changes)


# -- the environment


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """What ``child_env`` makes where nothing but ``inherited`` is set."""

    def make(inherited=(), cell=CELL, **changes):
        for name in list(os.environ):
            monkeypatch.delenv(name)
        for name, value in dict(inherited).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("BENCH_CACHE", "/data/cache")
        job = SimpleNamespace(cell=cell, visible={})
        return scratch_module.child_env(entry(**changes), job, tmp_path, tmp_path / "caches")

    return make


def test_an_environment_is_this_and_nothing_else(environment, tmp_path):
    assert environment() == {
        "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "NUMEXPR_NUM_THREADS": "3",
        "VECLIB_MAXIMUM_THREADS": "3",
        "BENCH_SCRATCH": str(tmp_path),
        "BENCH_MODEL_CACHE": "/data/cache/models/theirs",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(tmp_path / "lib"),
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
    }


def test_only_what_says_where_things_are_is_inherited(environment):
    inherited = {
        "PATH": "/tools",
        "LD_LIBRARY_PATH": "/libraries",
        "CUDA_VISIBLE_DEVICES": "2",
        # None of these: they would make one user's figures differ from another's.
        "PYTHONPATH": "/mine",
        "PYTHONSTARTUP": "/mine.py",
        "OMP_NUM_THREADS": "64",
        "XLA_FLAGS": "--fast",
        "TORCH_LOGS": "all",
        "HOME": "/me",
        "BENCH_SCRATCH": "/elsewhere",
        "SECRET_TOKEN": "abc",
    }
    found = environment(inherited)
    assert {name for name in inherited if found.get(name) == inherited[name]} == {
        "PATH",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
    }
    assert not {"PYTHONSTARTUP", "XLA_FLAGS", "TORCH_LOGS", "SECRET_TOKEN"} & set(found)


def test_each_compile_cache_is_a_folder_of_its_own(environment, tmp_path):
    found = environment(cache_dirs=("JIT_CACHE", "KERNEL_CACHE_DIR"))
    assert found["JIT_CACHE"] == str(tmp_path / "caches" / "jit_cache")
    assert found["KERNEL_CACHE_DIR"] == str(tmp_path / "caches" / "kernel_cache_dir")


def test_the_c_library_keeps_memory_where_it_is_asked_to(environment):
    asked = environment(cell=SimpleNamespace(**vars(CELL) | {"settings": {"malloc": "keep"}}))
    assert "trim_threshold" in asked["GLIBC_TUNABLES"]
    inherited = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    assert "GLIBC_TUNABLES" not in environment(inherited), "one user's would differ from another's"


def test_a_backends_own_variables_win_over_threads_caches_and_inheritance(environment):
    own = {"OMP_NUM_THREADS": "1", "JIT_CACHE": "off", "PATH": "/theirs", "NEW": "1"}
    found = environment({"PATH": "/tools"}, cache_dirs=("JIT_CACHE",), env=own)
    assert {name: found[name] for name in own} == own


def test_what_is_read_at_import_comes_from_the_cell(environment):
    theirs = {
        "env": {"ENGINE": "usual"},
        "setting_env": {"engine": "ENGINE"},
        "tuned_env": {"ISA": "AVX2"},
    }
    own = {"settings": {"engine": "other", "x": "y"}, "track": "tuned"}
    asked = SimpleNamespace(**vars(CELL) | own)
    assert environment(**theirs)["ENGINE"] == "usual"
    assert "ISA" not in environment(**theirs)
    found = environment(cell=asked, **theirs)
    assert (found["ENGINE"], found["ISA"]) == ("other", "AVX2")


def test_a_backends_own_variables_do_not_win_over_what_keeps_runs_apart(environment):
    plain = environment()
    safety = ["BENCH_SCRATCH", "BENCH_MODEL_CACHE", "CUDA_DEVICE_ORDER", "HOME", "TMPDIR"]
    safety += ["PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONHASHSEED"]
    assert environment(env=dict.fromkeys(safety, "theirs")) == plain


# -- the library


def links(library):
    return {link.name: link.resolve() for link in library.iterdir()}


def test_a_worker_sees_this_projects_packages_and_no_others(tmp_path):
    library = scratch_module.library(tmp_path, "backends.torch.adapter")
    assert links(library) == {
        name: machine.ROOT / name for name in ("bench", "backends", "workloads")
    }


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Another project's package and module; importing either would fail."""
    site = tmp_path / "site"
    (site / "their_package" / "deep").mkdir(parents=True)
    for file in ("their_package/__init__.py", "their_package/deep/adapter.py", "their_module.py"):
        (site / file).write_text("raise RuntimeError('imported by the parent')\n")
    (site / "their_namespace").mkdir()
    (site / "their_namespace" / "adapter.py").write_text("")
    (site / "neighbour.py").write_text("")
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.parametrize(
    ("module", "link"),
    [
        ("their_package.deep.adapter", "their_package"),
        ("their_module", "their_module.py"),
        ("their_namespace.adapter", "their_namespace"),
    ],
)
def test_another_projects_adapter_is_linked_alone_and_not_imported(tmp_path, theirs, module, link):
    library = scratch_module.library(tmp_path, module)
    assert set(links(library)) == {"bench", "backends", "workloads", link}
    assert links(library)[link] == theirs / link
    assert module.partition(".")[0] not in sys.modules


def test_a_second_worker_of_a_cell_shares_the_library(tmp_path, theirs):
    first = scratch_module.library(tmp_path, "backends.torch.adapter")
    assert scratch_module.library(tmp_path, "their_module") == first
    assert set(links(first)) == {"bench", "backends", "workloads", "their_module.py"}


def test_an_adapter_that_is_not_installed_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="'nowhere' is not installed beside the harness"):
        scratch_module.library(tmp_path, "nowhere.adapter")


# -- the log


@given(st.lists(st.binary(max_size=12), max_size=12), st.integers(1, 8), st.integers(1, 8))
def test_a_log_keeps_the_first_and_the_last_and_counts_the_rest(pieces, head, tail):
    log = Log()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "LOG_HEAD", head)
        patch.setattr(launch, "LOG_TAIL", tail)
        for piece in pieces:
            log.add(piece)
    whole = b"".join(pieces)
    assert log.head == whole[:head]
    assert log.tail == whole[head:][-tail:]
    assert log.dropped == max(0, len(whole) - head - tail)


def test_a_log_says_how_much_is_left_out(monkeypatch):
    monkeypatch.setattr(launch, "LOG_HEAD", 5)
    monkeypatch.setattr(launch, "LOG_TAIL", 4)
    log = Log()
    for piece in (b"one", b" two", b" three", b" four"):  # 3 + 4 + 6 + 5 = 18 bytes, 9 are kept
        log.add(piece)
    assert log.text() == "one t\n... 9 bytes left out ...\nfour"


def test_a_log_that_fits_is_whole_and_bytes_that_are_no_text_are_shown(monkeypatch):
    monkeypatch.setattr(launch, "LOG_HEAD", 3)
    log = Log()
    log.add("aé".encode()[:2])  # a letter that is torn between two reads
    log.add("aé".encode()[2:] + b"\xff")
    assert log.text() == "aé\N{REPLACEMENT CHARACTER}"


@pytest.mark.timeout(60)
def test_a_worker_that_never_falls_silent_does_not_hold_its_watcher():
    child = object.__new__(Child)
    child.log = Log()
    child._output = os.open("/dev/zero", os.O_RDONLY)  # always has more
    child._open = {child._output}
    try:
        child._drain()
    finally:
        os.close(child._output)
    assert child.log.dropped > 0


def test_all_that_an_ended_worker_left_in_its_pipe_is_kept():
    reading, writing = os.pipe()
    child = object.__new__(Child)
    child.log, child._output, child._open = Log(), reading, {reading}
    kept = bytes(range(256)) * 200  # 51,200 bytes: less than the head of a log
    for start in range(0, len(kept), 512):
        os.write(writing, kept[start : start + 512])
    os.close(writing)
    child._drain()
    os.close(reading)
    assert child.log.head == kept
    assert child._open == set()  # a closed end is not listened to any more


# -- ends


def test_a_worker_that_ended_says_so_through_the_scratch_folder():
    with pytest.raises(Ended) as caught, scratch_module.scratch_folder():
        raise Ended("timeout", "run: no answer")
    assert (caught.value.status, caught.value.reason) == ("timeout", "run: no answer")


def test_a_scratch_folder_is_gone_afterwards():
    with scratch_module.scratch_folder() as scratch:
        (scratch / "deep").mkdir()
        (scratch / "deep" / "file").write_text("x")
    assert not scratch.exists()
    with scratch_module.scratch_folder() as other:
        assert other != scratch


RUNAWAY = """
import os, sys
if os.fork():
    os._exit(0)  # its parent is gone,
os.setsid()  # it has left its session and its group,
os.chdir("/")
print("away", flush=True)  # and it holds the pipe open for as long as it lives
for line in sys.stdin:
    print(line, end="", flush=True)
"""


def runaway(mark):
    """An orphan in a session of its own that carries a mark; it answers until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", RUNAWAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"BENCH_SCRATCH": str(mark)},
    )
    assert process.stdout.readline() == b"away\n"
    process.wait()
    return process


def has_ended(process, seconds):
    """Whether the last holder of the pipe is gone."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return bool(ready) and process.stdout.read(1) == b""


def test_whatever_carries_the_mark_is_ended_wherever_it_went(tmp_path):
    mine, neighbour = runaway(tmp_path / "run"), runaway(tmp_path / "run-2")
    with mine, neighbour:
        scratch_module.kill_marked(tmp_path / "run")
        assert has_ended(mine, PATIENCE_S)
        neighbour.stdin.write(b"still there\n")
        neighbour.stdin.flush()
        assert neighbour.stdout.readline() == b"still there\n"


def test_a_scratch_folder_is_abandoned_once_nobody_holds_it(tmp_path, monkeypatch):
    assert not scratch_module.abandoned(tmp_path)  # somebody else's folder
    with scratch_module.held(tmp_path):
        assert not scratch_module.abandoned(tmp_path)
    assert scratch_module.abandoned(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "another host of a shared folder")
    assert not scratch_module.abandoned(tmp_path)


def test_nothing_in_another_users_folder_is_opened(tmp_path, monkeypatch):
    (tmp_path / scratch_module.HELD).write_text(platform.node())
    assert scratch_module.abandoned(tmp_path)
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    monkeypatch.setattr(os, "open", None)
    assert not scratch_module.abandoned(tmp_path)


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: path.write_bytes(b"\xff\xfe")])
def test_what_a_worker_puts_there_does_not_stop_the_next_run(tmp_path, put):
    put(tmp_path / scratch_module.HELD)
    assert not scratch_module.abandoned(tmp_path)


def test_a_folder_that_is_about_to_be_held_is_left_alone(tmp_path):
    (tmp_path / scratch_module.HELD).touch()
    assert not scratch_module.abandoned(tmp_path)


def test_a_file_system_without_locks_has_scratch_folders_that_nobody_sweeps(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")  # as Lustre mounted without flock

    monkeypatch.setattr("fcntl.flock", refuse)
    with scratch_module.held(tmp_path):
        pass
    monkeypatch.undo()
    assert not scratch_module.abandoned(tmp_path)


def test_leaving_a_scratch_folder_ends_what_ran_in_it():
    with scratch_module.scratch_folder() as scratch:
        process = runaway(scratch)
    with process:
        assert has_ended(process, PATIENCE_S)
