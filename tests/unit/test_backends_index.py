"""Backends that other packages bring, found by entry point and loaded only when asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import backends_index
from bench.envs import locks
from bench.errors import UsageError

ENTRY = (
    "from backends.entry import Entry\n"
    'ENTRY = Entry("theirs.adapter", python="3.11", locks=("cpu",), modes=("eager",),\n'
    '              imports=("theirs",), formats={})\n'
)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A package with one module and one entry point, as an installer lays them out."""

    def lay(name: str, value: str, source: str) -> None:
        info = tmp_path / "their_package-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[bench.backends]\n{name} = {value}\n")
        (tmp_path / "their_module.py").write_text(source)

    monkeypatch.syspath_prepend(tmp_path)
    backends_index._others.cache_clear()
    yield lay
    backends_index._others.cache_clear()
    sys.modules.pop("their_module", None)


def test_another_packages_backend_is_listed_and_found(install: Callable[..., None]) -> None:
    install("theirs", "their_module:ENTRY", ENTRY)
    assert backends_index.names()[0] == "torch"
    assert "theirs" in backends_index.names()
    assert "their_module" not in sys.modules  # listing loads nothing
    assert backends_index.find("theirs").module == "theirs.adapter"


def test_another_package_brings_its_own_locks(install: Callable[..., None]) -> None:
    own = ENTRY.replace("formats={}", "formats={}, lock_folder=Path('/theirs/locks')")
    install("theirs", "their_module:ENTRY", f"from pathlib import Path\n{own}")
    assert locks.lock_file("theirs", "cpu") == Path("/theirs/locks/theirs-cpu.txt")
    assert locks.lock_file("torch", "cpu") == locks.LOCKS / "torch-cpu.txt"


def test_it_cannot_replace_one_of_this_project(install: Callable[..., None]) -> None:
    install("torch", "their_module:ENTRY", ENTRY)
    assert backends_index.find("torch").module == "backends.torch.adapter"
    assert backends_index.names().count("torch") == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('no licence\\nsecond line')", "RuntimeError: no licence"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("ENTRY = {'module': 'x'}", "their_module:ENTRY is no backends.entry.Entry"),
        ("", "has no attribute 'ENTRY'"),
    ],
)
def test_a_broken_one_is_one_line_that_names_the_package(
    install: Callable[..., None], source: str, said: str
) -> None:
    install("theirs", "their_module:ENTRY", source)
    with pytest.raises(UsageError, match=said) as caught:
        backends_index.find("theirs")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("mend or uninstall the package their-package")


def test_a_misspelt_name_is_answered_with_the_nearest(install: Callable[..., None]) -> None:
    install("theirs", "their_module:ENTRY", ENTRY)
    with pytest.raises(UsageError, match="did you mean 'theirs'"):
        backends_index.find("thiers")
