"""The doctor names what is missing and a command for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench.envs.uv
from bench import doctor, envs, machine
from bench.envs import build
from tests.fake_site import Site, locked


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path)
    site.lay()
    site.use(monkeypatch)
    monkeypatch.setattr(machine, "likely_device", lambda: "cpu")
    return site


def facts() -> dict[str, doctor.Fact]:
    return {fact.what: fact for fact in doctor.facts()}


def environments() -> list[tuple[str, str]]:
    found = [fact for what, fact in facts().items() if what.startswith("environment")]
    return [(fact.state, fact.mend) for fact in found]


def test_environments_are_told_apart_with_their_mends(site: Site) -> None:
    build = "make envs BACKEND=fake DEVICE=cpu"
    needless = ("missing, not needed on this machine", "")
    assert environments() == [("missing", build), needless]
    place = envs.ensure("fake", "cpu", log=lambda line: None).python.parents[1]
    size = json.loads((place / "ready.json").read_text())["mib"]
    assert environments() == [(f"ready, {size:.0f} MiB", ""), needless]
    (place / "ready.json").unlink()
    assert environments() == [("half-built", build), needless]
    site.lock("cpu").write_text(locked("2"))
    assert ("stale", f"rm -r {place}") in environments()


def test_a_fallback_says_why_and_how_to_leave_it(site: Site) -> None:
    site.say("not-found", "fake-cpu.txt")
    envs.ensure("fake", "cpu", log=lambda line: None)
    state, mend = environments()[0]
    assert state.startswith("instead (cuda: the packages of the cpu lock cannot be found")
    assert mend.startswith(f"rm -r {build.path_of('fake', 'cpu')[0]} && make envs")


def test_an_accelerator_makes_its_environment_wanted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "likely_device", lambda: "cuda")
    assert ("missing", "make envs BACKEND=fake DEVICE=cuda") in environments()


def test_without_uv_nothing_runs_and_the_exit_code_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.envs.uv, "program", lambda: "/no/such/uv")
    assert doctor.run(json=True) == 1
    found = {fact["what"]: fact for fact in json.loads(capsys.readouterr().out)}
    assert found["uv"]["mend"] == "rm -r .venv && make venv"


def test_the_plain_text_has_a_line_for_everything(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.run(json=False) == 0
    out = capsys.readouterr().out
    for what in ("python", "uv", "disk", "memory", "cores", "/proc", "compiler", "accelerator"):
        assert f"  {what} " in out or f"! {what} " in out
    assert "-> make envs BACKEND=fake DEVICE=cpu" in out
