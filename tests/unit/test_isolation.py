"""What a worker is to be kept from, and that a limit is never raised."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest

from bench.child import isolated, isolation
from bench.child.isolation import Isolation
from bench.envs import pip_settings, uv
from bench.errors import EnvError, UsageError
from bench.text import redacted

PYTHON = Path("/python/bin/python")
COMMAND = ["/python", "-m", "bench.worker", "job.json"]


def plan(tmp_path, **changes):
    """What is asked of the program that shuts the worker in; the worker's command is as it was."""
    made = Isolation([tmp_path, tmp_path / "missing"], python=PYTHON, **changes)
    python, *flags, program, text = made.around(COMMAND)[:-4]
    assert (python, flags, program) == (sys.executable, ["-I", "-S"], isolated.__file__)
    assert made.around(COMMAND)[-4:] == COMMAND
    assert made.descriptors == (json.loads(text)["report"],)
    made.started()
    assert made.found() == "it could not be begun"  # nothing was started that could say more
    return json.loads(text)


def test_a_worker_is_kept_from_the_network_but_where_it_needs_it(tmp_path):
    assert plan(tmp_path)["network"] == ""
    assert plan(tmp_path, device="cuda")["network"] == ""
    assert "metadata server" in plan(tmp_path, device="tpu")["network"]
    assert "several machines" in plan(tmp_path, nodes=2)["network"]


def test_it_may_write_to_its_folder_to_devices_and_to_its_own_memory_counters(tmp_path):
    alone, ranks = (plan(tmp_path, launched=launched)["writable"] for launched in (False, True))
    assert alone[0] == str(tmp_path)
    assert "/dev/null" in alone
    assert (alone[-1], ranks[-1]) == ("/proc/self", "/proc")
    assert all(Path(place).exists() for place in alone)


def test_an_environment_without_bytecode_may_be_completed_by_its_processes(tmp_path, monkeypatch):
    python, files = tmp_path / "bin" / "python", tmp_path / "files"
    files.mkdir()
    (tmp_path / "ready.json").touch()

    def asked():
        text = Isolation([files], python=python).around(COMMAND)[-5]
        found = json.loads(text)
        return found["writes"], str(tmp_path) in found["writable"]

    monkeypatch.delenv("UV_COMPILE_BYTECODE", raising=False)
    assert asked() == ("scratch", False)
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "0")
    assert asked() == ("scratch and environment", True)
    (tmp_path / "ready.json").unlink()  # an interpreter of the site's
    assert asked() == ("scratch", False)


def test_a_site_may_turn_it_off(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_ISOLATION", "off")
    made = Isolation([tmp_path], python=PYTHON)
    made.started()
    assert (made.around(COMMAND), made.descriptors, made.found()) == (COMMAND, (), "off")


def test_another_word_names_the_two(monkeypatch):
    monkeypatch.setenv("BENCH_ISOLATION", "of")
    with pytest.raises(UsageError, match=r"^BENCH_ISOLATION=of: it is auto or off$"):
        isolation.asked()


def test_what_makes_a_drivers_files_is_not_shut_in(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    helper = tmp_path / "nvidia-modprobe"
    helper.touch(mode=0o755)
    monkeypatch.setattr(isolation, "UVM", tmp_path / "nvidia-uvm")
    made = Isolation([tmp_path], python=PYTHON, device="cuda")
    assert (made.around(COMMAND), made.found()) == (
        COMMAND,
        "off until NVIDIA's driver has made its files",
    )
    isolation.UVM.touch()
    assert plan(tmp_path, device="cuda")["network"] == ""


@pytest.mark.parametrize(
    ("hard", "asked", "new"), [(resource.RLIM_INFINITY, 7, 7), (5, 7, 5), (9, 7, 7)]
)
def test_a_limit_is_never_raised(monkeypatch, hard, asked, new):
    set_to = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda *given: set_to.append(given))
    assert isolated.lower(resource.RLIMIT_NOFILE, asked) == new
    assert set_to == [(resource.RLIMIT_NOFILE, (new, new))]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("at https://me:pass@index.example/simple", "at https://***@index.example/simple"),
        ("`http://token@a/`, ftp://b/c@d", "`http://***@a/`, ftp://b/c@d"),
        ("https://me:p@ss@index.example", "https://***@index.example"),
        (
            "https://index.example/simple me@example.org",
            "https://index.example/simple me@example.org",
        ),
    ],
)
def test_no_login_of_a_url_is_kept(said, kept):
    assert redacted(said) == kept
    assert str(EnvError(said)) == kept


def test_what_an_installer_says_is_told_without_a_password(tmp_path, monkeypatch):
    said = "https://me:hunter@index.example/simple"
    fake = tmp_path / "uv"
    fake.write_text(
        f"#!/bin/sh\necho 'Downloading {said}' >&2; echo 'error: no {said}' >&2; exit 2\n"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(uv, "program", lambda: str(fake))
    monkeypatch.setattr(uv, "environment", dict)
    log = []
    with pytest.raises(EnvError) as caught:
        uv.run(["pip", "sync"], log=log.append)
    kept = said.replace("me:hunter", "***")
    assert (log, str(caught.value)) == ([f"  Downloading {kept}"], f"uv pip sync failed: no {kept}")


def test_a_password_of_an_index_is_not_on_uvs_command_line(monkeypatch):
    monkeypatch.setattr(uv, "environment", dict)
    site = {
        "index-url": "https://me:hunter@a.example",
        "extra-index-url": "file:///x https://you:2@b",
    }
    monkeypatch.setattr(pip_settings, "_exists", lambda _: True)
    command, env = uv.started(["pip", "sync", *pip_settings.arguments(site), "lock.txt"])
    expected = ["--no-config", "pip", "sync", "--index-strategy", "unsafe-best-match", "lock.txt"]
    assert command[1:] == expected
    assert env == {
        "UV_DEFAULT_INDEX": "https://me:hunter@a.example",
        "UV_INDEX": "file:///x https://you:2@b",
    }
