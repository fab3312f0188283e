"""``bench audit``: which advisories hold for a lock, how severe they are, and what fails."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from bench.envs import locks
from bench.provenance import audit
from bench.score import supply

LOCK = locks.lock_file("torch", "cpu")
PIN = next(pin for pin in supply.pins(LOCK) if pin.name == "torch")
REMOTE_AND_EASY = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"  # 9.8 by FIRST's calculator


def advisory(**more: object) -> dict:
    version = PIN.version.partition("+")[0]
    package = {"ecosystem": "PyPI", "name": PIN.name}
    span = {"type": "ECOSYSTEM", "events": [{"introduced": version}, {"fixed": "9999.1"}]}
    return {"id": "X-1", "affected": [{"package": package, "ranges": [span]}], **more}


def audited(tmp_path, *given: dict, how: tuple[str, ...] = ()) -> int:
    path = tmp_path / "osv.json"
    path.write_text(json.dumps(list(given)))
    return main(["audit", "--backend", "torch", "--advisories", str(path), *how])


@pytest.mark.parametrize(
    ("more", "severity"),
    [
        ({"database_specific": {"severity": "MODERATE"}}, "medium"),
        ({"database_specific": {"severity": "HIGH"}}, "high"),
        ({"severity": [{"type": "CVSS_V3", "score": REMOTE_AND_EASY}]}, "critical"),
        ({"severity": [{"type": "CVSS_V2", "score": "AV:L/AC:H/Au:M/C:P/I:N/A:N"}]}, "low"),
        ({"severity": [{"type": "CVSS_V3", "score": "no vector"}]}, "unknown"),
        ({"severity": "HIGH", "database_specific": []}, "unknown"),
        ({"severity": [7, None, {"type": "Ubuntu", "score": "high"}]}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_how_severe(more, severity):
    assert audit.severity(advisory(**more)) == severity


def test_severe_ones_fail_and_mild_ones_do_not(tmp_path, capsys):
    mild = advisory(database_specific={"severity": "LOW"})
    assert audited(tmp_path, mild) == 0
    said = capsys.readouterr()
    assert f"torch-cpu: torch {PIN.version}: X-1 (fixed in 9999.1)" in said.out
    assert "0 unknown, 0 critical, 0 high, 0 medium" in said.err
    assert audited(tmp_path, mild, how=("--fail-on", "low")) == 1
    assert audited(tmp_path, advisory()) == 1  # nobody has said that it is mild


def test_what_is_of_another_package_or_version_is_no_hit(tmp_path, capsys):
    other = advisory()
    other["affected"][0]["package"]["name"] = "no-such-package"
    fixed = advisory()
    fixed["affected"][0]["ranges"][0]["events"] = [{"introduced": "0"}, {"fixed": "0.1"}]
    assert audited(tmp_path, other, fixed, how=("--json",)) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_all_locks_are_looked_at():
    found = {path.name for path in audit._locks("all")}
    assert {"harness.txt", "data.lock", "torch-cpu.txt", "jax-tpu.txt", "keras-public.txt"} <= found


def test_a_file_that_is_no_advisory_is_one_line(tmp_path, capsys):
    (tmp_path / "x.json").write_text("{]")
    assert main(["audit", "--advisories", str(tmp_path / "x.json")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
