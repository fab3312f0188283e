"""pip's settings in uv's words, and locks that name no host and no path."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.envs import locks, pip_settings
from bench.errors import EnvError

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted([*ROOT.glob("locks/*.txt"), *ROOT.glob("backends/locks/*.txt")])


def test_what_pip_prints_is_read() -> None:
    listing = (
        "global.cert='/etc/ca.pem'\n"
        "global.extra-index-url='file:///one http://two/simple'\n"
        "global.no-index='true'\n"
        "install.no-index='false'\n"
        "freeze.no-index='true'\n"
        ":env:.find-links='/a\\n/b'\n"
    )
    assert pip_settings.parse(listing) == {
        "cert": "/etc/ca.pem",
        "extra-index-url": "file:///one http://two/simple",
        "no-index": "false",
        "find-links": "/a\n/b",
    }


def test_each_option_becomes_its_counterpart(tmp_path: Path) -> None:
    options = {
        "find-links": f"{tmp_path} https://wheels/page",
        "index-url": "https://mirror/simple",
        "extra-index-url": f"https://more/simple {tmp_path.as_uri()}",
        "trusted-host": "mirror more:8080",
        "cert": "/etc/ca.pem",
        "no-index": "off",
    }
    assert pip_settings.arguments(options) == [
        *("--find-links", str(tmp_path)),
        *("--find-links", "https://wheels/page"),
        *("--default-index", "https://mirror/simple"),
        *("--index", "https://more/simple"),
        *("--index", tmp_path.as_uri()),
        *("--index-strategy", "unsafe-best-match"),
        *("--allow-insecure-host", "mirror"),
        *("--allow-insecure-host", "more:8080"),
        *("--cert", "/etc/ca.pem"),
    ]


def test_places_that_do_not_exist_are_dropped(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    options = {"find-links": str(gone), "extra-index-url": gone.as_uri()}
    assert pip_settings.arguments(options) == []


def test_no_index_leaves_only_the_folders(tmp_path: Path) -> None:
    options = {"no-index": "1", "index-url": "https://mirror/", "find-links": str(tmp_path)}
    assert pip_settings.arguments(options) == ["--find-links", str(tmp_path), "--no-index"]


@given(st.dictionaries(st.sampled_from(["find-links", "cert", "no-index"]), st.text()))
def test_whatever_a_value_holds_comes_back(values: dict[str, str]) -> None:
    listing = "\n".join(f"global.{key}={value!r}" for key, value in values.items())
    assert pip_settings.parse(listing) == values


def test_this_interpreters_pip_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://mirror/simple\ntimeout = 7\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("PIP_DEFAULT_TIMEOUT", raising=False)
    pip_settings.effective.cache_clear()
    try:
        found = pip_settings.uv_arguments(Path(sys.executable))
        environment = pip_settings.uv_environment(Path(sys.executable))
    finally:
        pip_settings.effective.cache_clear()
    assert found[:4] == ["--find-links", str(tmp_path), "--default-index", "https://mirror/simple"]
    assert environment == {"UV_HTTP_TIMEOUT": "7"}


def test_without_pip_its_variables_still_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://more/simple")
    assert pip_settings.effective(python)["extra-index-url"] == "https://more/simple"


def test_settings_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'Configuration file could not be loaded' >&2\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(EnvError, match=r"cannot be read: Configuration file could not be loaded"):
        pip_settings.effective(python)


# Locks ---------------------------------------------------------------------------------------


def test_there_are_locks() -> None:
    assert len(LOCKS) >= 4


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_names_no_host_and_no_path(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert re.findall(r".*(?:https?:|file:|(?:^|[\s'\"=@])/|index-url|find-links).*", text) == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_everything_with_hashes(lock: Path) -> None:
    """Every entry is ``name==version [; marker] \\`` followed by its hashes and a comment."""
    text = lock.read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert entries
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][^ ]*( ; .+)? \\", entry), entry
    hashed = re.findall(r"^[a-z0-9-]+==.* \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(hashed) == len(entries)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_all_that_its_input_names(lock: Path) -> None:
    wanted = re.findall(r"^([a-z0-9][a-z0-9-]*)", lock.with_suffix(".in").read_text(), re.MULTILINE)
    pinned = re.findall(r"^([a-z0-9-]+)==", lock.read_text(), re.MULTILINE)
    assert set(wanted) <= set(pinned)


def test_compiling_looks_into_the_sites_folder_only_for_what_needs_it(tmp_path: Path) -> None:
    site = {"find-links": str(tmp_path), "extra-index-url": "https://small/", "cert": "/ca.pem"}
    plain, special = tmp_path / "plain.txt", tmp_path / "special.txt"
    plain.with_suffix(".in").write_text("package\n")
    special.with_suffix(".in").write_text("# uv: --torch-backend=cpu\npackage\n")
    assert locks.compile_arguments(plain, site=site) == ["--cert", "/ca.pem"]
    assert locks.compile_arguments(special, site=site) == [
        *("--find-links", str(tmp_path), "--cert", "/ca.pem")
    ]
    assert locks.compile_arguments(special, site={}) == ["--torch-backend=cpu"]
