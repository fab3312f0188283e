"""Environments: built once, reused, repaired, rebuilt for another lock, and errors that say how."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.registry import BACKENDS
from bench import envs
from bench.envs import interpreters, locks, pip_settings, uv
from bench.errors import EnvError, UsageError
from tests.fake_site import ENTRY, Site, locked

ROOT = Path(__file__).resolve().parents[2]
# printf 'package==1+cpu --hash=sha256:%064d\n' 0 | sha256sum, and with cuda
CPU, CUDA = "235c96463183", "9bfd8ed4bd3a"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path)
    site.lay()
    site.use(monkeypatch)
    return site


@pytest.fixture
def log() -> list[str]:
    return []


def ensure(log: list[str], device: str = "cpu") -> envs.Env:
    return envs.ensure("fake", device, log=log.append)


def test_builds_once_and_then_needs_no_uv(site: Site, log: list[str]) -> None:
    first = ensure(log)
    assert first == envs.Env(site.folder / "envs" / f"fake-cpu-{CPU}/bin/python", CPU, "cpu")
    built = site.calls()
    assert [" venv " in f" {call} " for call in built] == [True, False]
    assert "--require-hashes" in built[1]
    assert "  Downloading package (3.0MiB)" in log
    assert ensure(log) == first
    assert site.calls() == built


def test_a_ready_one_is_read_and_nothing_is_written(site: Site, log: list[str]) -> None:
    first = ensure(log)
    place = site.folder / "envs"
    (place / f"fake-cpu-{CPU}.lock").unlink()
    before = {path: path.lstat().st_mtime_ns for path in (place, *place.rglob("*"))}
    assert ensure(log) == first
    assert {path: path.lstat().st_mtime_ns for path in (place, *place.rglob("*"))} == before


def test_a_ready_one_is_used_on_a_disk_that_cannot_be_written(site: Site, log: list[str]) -> None:
    """As in an image whose root is read only."""
    first = ensure(log)
    place = str(site.folder / "envs")
    bound = subprocess.run(["mount", "--bind", place, place], check=False, capture_output=True)
    if bound.returncode:
        pytest.skip("a read-only mount needs root and the right to mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        assert ensure(log) == first
        with pytest.raises(EnvError, match="Read-only file system"):
            ensure(log, "cuda")  # there is none yet
    finally:
        subprocess.run(["umount", place], check=True)


def test_the_ready_file_tells_what_is_installed(site: Site, log: list[str]) -> None:
    ready = json.loads((ensure(log).python.parents[1] / "ready.json").read_text())
    assert ready["lock"] == CPU
    assert ready["versions"] == {}  # the stand-in's interpreter looks for none
    assert ready["seconds"] >= 0
    assert ready["mib"] >= 0


def test_another_lock_is_another_place_and_the_old_one_stays(site: Site, log: list[str]) -> None:
    old = ensure(log)
    site.lock("cpu").write_text(locked("2"))
    new = ensure(log)
    assert new.python != old.python
    assert old.python.exists()
    kinds = {state.place: state.kind for state in envs.states()}
    assert kinds[old.python.parents[1]] == "stale"
    assert kinds[new.python.parents[1]] == "ready"


@pytest.mark.parametrize("left", ["folder", "no ready file", "torn ready file", "no python"])
def test_a_half_built_one_is_built_anew(site: Site, log: list[str], left: str) -> None:
    place = ensure(log).python.parents[1]
    (place / "rubbish").touch()
    if left == "torn ready file":
        (place / "ready.json").write_text('{"lock": "')
    elif left == "no python":
        (place / "bin" / "python").unlink()
    else:
        (place / "ready.json").unlink()
    if left == "folder":
        (place / "bin" / "python").unlink()
    assert [state.kind for state in envs.states() if state.place == place] == ["half-built"]
    ensure(log)
    assert f"fake: {place.name} is half-built; building it anew" in log
    assert (place / "ready.json").exists()
    assert not (place / "rubbish").exists()


def test_packages_that_cannot_be_found_lead_to_the_fallback(site: Site, log: list[str]) -> None:
    site.say("not-found", "fake-cpu.txt")
    env = ensure(log)
    note = "cuda lock used: the packages of the cpu lock cannot be found here"
    assert env == envs.Env(
        site.folder / "envs" / f"fake-cuda-{CUDA}/bin/python", CUDA, "cuda", note
    )
    assert f"fake: {note}" in log
    tried = site.calls()
    assert ensure(log) == env  # remembered: uv is not asked again
    assert site.calls() == tried
    assert {state.kind for state in envs.states()} == {"instead", "ready"}


def test_nothing_is_remembered_where_the_fallback_fails_too(site: Site, log: list[str]) -> None:
    site.say("not-found", "fake-cpu.txt fake-cuda.txt")
    with pytest.raises(EnvError, match=r"no version of fake-cpu; the cuda lock: .*fake-cuda"):
        ensure(log)
    (site.folder / "not-found").unlink()
    assert ensure(log).device == "cpu"


def test_another_failure_does_not_fall_back(site: Site, log: list[str]) -> None:
    site.say("broken")
    with pytest.raises(EnvError, match=r"uv pip sync failed: Request failed after 3 retries$"):
        ensure(log)
    assert not any("cuda" in call for call in site.calls())
    assert [state.kind for state in envs.states() if state.device == "cpu"] == ["half-built"]


def test_the_option_that_the_lock_names_is_tried_second(site: Site, log: list[str]) -> None:
    site.lock("cpu").with_suffix(".in").write_text("# uv: --torch-backend=cpu\npackage\n")
    site.say("not-found", "fake-cpu.txt")
    site.say("cured-by", "--torch-backend=cpu")
    assert ensure(log).device == "cpu"
    assert ["--torch-backend=cpu" in call for call in site.calls()] == [False, False, True]


def test_a_folder_of_wheels_that_hides_the_indexs_build_is_left_out(
    site: Site, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.say("hidden")
    found = ["--find-links", "/wheels", "--cert", "/etc/cert"]
    monkeypatch.setattr(pip_settings, "uv_arguments", lambda _python: found)
    assert ensure(log).device == "cpu"
    first, second = (call for call in site.calls() if "sync" in call)
    assert "--find-links /wheels" in first
    assert "--find-links" not in second
    assert "--cert /etc/cert" in second


def test_a_framework_that_does_not_import_is_no_environment(
    site: Site, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.entry = dataclasses.replace(ENTRY, imports=("json", "no_such_framework"))
    for _ in range(2):  # and it does not become one by asking twice
        with pytest.raises(EnvError, match="No module named 'no_such_framework'"):
            ensure(log)


def test_an_interpreter_that_is_missing_is_named(site: Site, log: list[str]) -> None:
    site.entry = dataclasses.replace(ENTRY, python="3.2")
    with pytest.raises(EnvError, match=r"no python3\.2 on PATH that runs: install it .*--python"):
        ensure(log)


def test_a_shim_that_does_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in {"shim": "exit 127", "real": "echo 3.2", "later": "echo 3.2"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "python3.2").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name / "python3.2").chmod(0o755)
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / one) for one in ("shim", "real", "later")))
    assert interpreters.find("3.2") == tmp_path / "real" / "python3.2"


def test_unknown_names_are_answered_with_the_nearest(site: Site, log: list[str]) -> None:
    with pytest.raises(UsageError, match=r"unknown device .*'cdua': did you mean 'cuda'"):
        ensure(log, "cdua")


def test_a_place_that_cannot_be_written_is_named(
    site: Site, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.say("file")
    monkeypatch.setenv("BENCH_ENVS", str(site.folder / "file" / "envs"))
    with pytest.raises(EnvError, match=r"cannot be built: .*Not a directory.*set BENCH_ENVS"):
        ensure(log)


@pytest.fixture
def gate(site: Site) -> Iterator[Path]:
    """While it exists, the stand-in waits in the middle of a build until someone writes to it."""
    path = site.folder / "gate"
    os.mkfifo(path)
    yield path
    # A test that fails half-way leaves a stand-in that reads there: hold both ends, and it ends.
    if path.exists():
        os.close(os.open(path, os.O_RDWR))


@contextlib.contextmanager
def builder(site: Site) -> Iterator[subprocess.Popen[str]]:
    """A process that builds; it does not outlive its test, whatever the test finds."""
    code = f"from tests import fake_site; fake_site.build({str(site.folder)!r})"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_builder_waits_and_says_so(site: Site, gate: Path) -> None:
    name = f"fake-cpu-{CPU}"
    with builder(site) as first:
        assert line(first).startswith(f"fake: building {name}")
        with builder(site) as second:
            assert line(second) == f"{name} is being built by another process: waiting"
            gate.write_text("go on")
            said = [process.communicate()[0].splitlines()[-1] for process in (first, second)]
    assert said == [str(site.folder / "envs" / name / "bin" / "python")] * 2
    assert len([call for call in site.calls() if "venv" in call]) == 1


def test_a_killed_builder_leaves_neither_lock_nor_environment(
    site: Site, gate: Path, log: list[str]
) -> None:
    with builder(site) as killed:
        assert line(killed).startswith("fake: building")
        with gate.open("w"):  # opens once the stand-in reads there: it is in the middle
            killed.send_signal(signal.SIGKILL)
            assert killed.wait() == -signal.SIGKILL
    gate.unlink()
    assert ensure(log).device == "cpu"
    assert any("half-built" in said for said in log)


# The interpreter that a site brings ----------------------------------------------------------


def wrapper(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def with_numpy(path: Path) -> Path:
    """An interpreter that has nothing but an empty module called numpy beside it."""
    (path.parent / "numpy.py").touch()
    return wrapper(path, f'PYTHONPATH={path.parent} exec {sys.executable} -S "$@"')


def test_a_brought_interpreter_is_known_by_its_packages(tmp_path: Path) -> None:
    python = with_numpy(tmp_path / "python")
    before = envs.brought("torch", python)
    assert before.python == python
    assert before.lock.startswith("packages:")
    assert len(before.lock) == len("packages:") + 12
    assert envs.brought("torch", python) == before
    (tmp_path / "added-1.0.dist-info").mkdir()
    (tmp_path / "added-1.0.dist-info" / "METADATA").write_text("Name: Added\nVersion: 1.0\n")
    assert envs.brought("torch", python).lock != before.lock


def test_the_fingerprint_is_of_the_sorted_names_and_versions() -> None:
    probe = interpreters.Probe(version=(3, 11, 0), packages={"b": "2", "a": "1"})
    assert probe.fingerprint == "76457601f398"  # printf 'a==1\nb==2' | sha256sum


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "does not exist"),
        ("exit 1", "failed: exit code 1"),
        ("kill -9 $$", "killed by signal 9"),
        ("echo hello", "is no Python"),
        ("""echo '{"version": [3, 8, 1], "packages": {}}'""", "is Python 3.8.1"),
        (f'exec {sys.executable} -I -S "$@"', "No module named 'numpy'.*-m pip install numpy"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, script: str | None, said: str
) -> None:
    python = tmp_path / "python"
    if script is not None:
        wrapper(python, script)
    with pytest.raises(UsageError, match=said) as caught:
        envs.brought("torch", python)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_interpreter(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="BENCH_PYTHON_MY_FRAMEWORK must name an interpreter"):
        envs.brought("my-framework", tmp_path)


def test_the_option_wins_over_the_variable_and_that_over_building(
    site: Site, log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option, variable = with_numpy(tmp_path / "option"), with_numpy(tmp_path / "variable")

    def resolve(pythons: dict[str, Path]) -> Path:
        return envs.resolve("fake", "cpu", pythons=pythons, log=log.append).python

    monkeypatch.setenv("BENCH_PYTHON_FAKE", str(variable))
    assert resolve({"fake": option}) == option
    assert resolve({"other": option}) == variable
    assert site.calls() == []
    monkeypatch.delenv("BENCH_PYTHON_FAKE")
    assert resolve({}).parts[-3] == f"fake-cpu-{CPU}"


# The committed locks -------------------------------------------------------------------------


def test_every_lock_of_the_registry_is_there() -> None:
    wanted = {f"{name}-{device}" for name, entry in BACKENDS.items() for device in entry.locks}
    wanted |= {f"{name}-{entry.public_lock}" for name, entry in BACKENDS.items() if entry.public}
    folder = ROOT / "backends" / "locks"
    assert {path.stem for path in folder.glob("*.txt")} == wanted
    assert {path.stem for path in folder.glob("*.in")} == wanted
    assert locks.lock_file("torch", "cpu") == folder / "torch-cpu.txt"


def test_options_are_read_from_beside_the_lock() -> None:
    assert locks.options(locks.lock_file("torch", "cpu")) == ["--torch-backend=cpu"]
    assert locks.options(locks.lock_file("torch", "cuda")) == []


def test_sources_are_built_with_the_locks_own_tools_and_nothing_else_is(
    site: Site, log: list[str]
) -> None:
    site.entry = dataclasses.replace(ENTRY, sources={"odd": "no wheel"})
    ensure(log)
    [_, sync] = site.calls()
    assert "--only-binary :all: --no-binary odd --build-constraints" in sync
    assert "--no-build " not in sync


def test_a_lock_with_something_unhashed_is_refused_before_anything_is_made(
    site: Site, log: list[str]
) -> None:
    site.lock("cpu").write_text("package==1\n")
    with pytest.raises(EnvError, match=r"fake-cpu.txt, line 1: package has no hash: refused"):
        ensure(log)
    site.lock("cpu").write_text(locked("1"))
    site.entry = dataclasses.replace(ENTRY, sources={"odd": ""})
    with pytest.raises(EnvError, match="odd is built from source, and no reason is given"):
        ensure(log)
    assert site.calls() == []


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of a third party's that can be run in a new environment."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder / "prepared.py"


def test_a_new_environment_is_prepared_before_it_is_ready(
    site: Site, log: list[str], module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, str]] = []
    monkeypatch.setattr(
        interpreters, "prepare", lambda python, module, *, env: seen.append((python, module))
    )
    site.entry = dataclasses.replace(ENTRY, prepare="prepared")
    python = ensure(log).python
    assert seen == [(python, "prepared")]
    ensure(log)
    assert len(seen) == 1, "once, when it is made"


def test_preparing_runs_the_module_there_and_reports_what_it_said(module: Path) -> None:
    module.write_text(
        "import sys; sys.exit('no compiler') if 'BAD' in __import__('os').environ else 0"
    )
    interpreters.prepare(Path(sys.executable), "prepared", env=dict(os.environ))
    with pytest.raises(EnvError, match="prepared failed: no compiler"):
        interpreters.prepare(Path(sys.executable), "prepared", env={**os.environ, "BAD": "1"})


def test_several_are_made_at_once_and_one_that_fails_takes_none_with_it() -> None:
    both = threading.Barrier(2, timeout=60)  # breaks unless two are in the making at a time

    def make(backend: str, device: str) -> envs.Env:
        both.wait()
        if backend == "bad":
            raise EnvError("no wheel")
        return envs.Env(Path(backend), lock="0", device=device)

    found = envs.each(make, [("good", "cpu"), ("bad", "cpu"), ("good", "cpu")])
    assert list(found) == [("good", "cpu"), ("bad", "cpu")]
    assert found["good", "cpu"] == envs.Env(Path("good"), lock="0", device="cpu")
    assert str(found["bad", "cpu"]) == "no wheel"


@pytest.mark.parametrize(("said", "taken"), [(None, "1"), ("0", "0")])
def test_bytecode_is_compiled_unless_the_user_says_otherwise(
    said: str | None, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_COMPILE_BYTECODE", raising=False)
    if said is not None:
        monkeypatch.setenv("UV_COMPILE_BYTECODE", said)
    assert uv.environment()["UV_COMPILE_BYTECODE"] == taken
