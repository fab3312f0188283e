"""``bench verify``: what a row says it rests on is looked for in a repository made here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.registry import BACKENDS
from bench import pilot_file
from bench.cli import main
from bench.envs import hashed, locks
from bench.provenance import findings, locked, rebuilt, rests_on, revisions, specs
from bench.provenance.findings import BROKEN, OK, UNVERIFIABLE
from bench.rows.files import ResultFile
from bench.rows.places import manifest_path
from tests.rows import failed_row, ok_row
from workloads import catalogue
from workloads.catalogue import REFERENCE

ROOT = Path(__file__).resolve().parents[2]
LOCK = "backends/locks/torch-cpu.txt"
FLOPS = {"small": 3332536320, "tiny": 75009792}
"""Of cnn, one sample's training, from rows in results/."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def git(folder: Path, *arguments: str) -> str:
    known = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *known, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Its first revision, the tag v1, has another lock of torch than here, and another ``tiny``."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "workloads", folder / "workloads", ignore=lambda at, names: [
        name for name in names if not name.endswith((".toml", "flops.py"))
    ])  # fmt: skip
    (folder / LOCK).parent.mkdir(parents=True)
    (folder / LOCK).write_text("torch==1\n")
    spec = folder / "workloads" / "cnn.toml"
    now = spec.read_text()
    spec.write_text(now.replace("image = 32\n", "image = 16\n", 1))
    assert spec.read_text() != now
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    git(folder, "tag", "v1")
    spec.write_text(now)
    shutil.copy(ROOT / LOCK, folder / LOCK)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "second")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(revisions, "ROOT", folder)
        forget()
        yield folder
    forget()


def forget() -> None:
    for cached in (revisions.commit, revisions.names, revisions.text):
        cached.cache_clear()
    for cached in (rests_on._here, rests_on._locks_at, specs._same, specs._tables):
        cached.cache_clear()


@pytest.fixture
def row(repository: Path) -> dict[str, Any]:
    """All that it rests on is here."""
    known = {"git_rev": git(repository, "rev-parse", "--short=12", "HEAD")}
    known |= {"env_lock": digest(ROOT / LOCK), "flops_per_sample": FLOPS["small"]}
    # 3332536320 x 1280 / 1e12, and 0.4 of what a product reaches.
    known |= {"tflops": 4.2656464896, "gemm_tflops": 10.664116224, "device_tflops": 20.0}
    empty = {"export_format": "", "capability": "", "compile_cache": "cold", "trial": ""}
    return {**ok_row(), **known, **empty}


def named(row: dict[str, Any], tail: str, **changes: Any) -> dict[str, Any]:
    return {**row, "cell_id": f"{row['cell_id']}/{tail}", **changes}


def test_a_revision(row):
    assert rests_on.git_rev(row).verdict == OK
    for rev in ("v1", f"v1-3-g{row['git_rev']}", row["git_rev"][:7]):
        assert rests_on.git_rev({**row, "git_rev": rev}).verdict == OK, rev
    for rev in (f"{row['git_rev']}-dirty", f"{row['git_rev']}+"):
        found = rests_on.git_rev({**row, "git_rev": rev})
        assert found.verdict == UNVERIFIABLE
        assert rev in found.said
        assert "local changes" in found.said
    for rev in ("", "0" * 12, "HEAD", "--help", "@{upstream}", "v1 ", ":/first", "../v1"):
        assert rests_on.git_rev({**row, "git_rev": rev}).verdict == UNVERIFIABLE, rev


def test_a_lock_here_in_the_revision_nowhere_or_brought(row, repository):
    def found(**changes: Any) -> tuple[str, str]:
        return rests_on.env_lock({**row, **changes})[1:3]

    assert found() == (OK, "is in this working tree")
    old = hashlib.sha256(b"torch==1\n").hexdigest()[:12]
    assert found(env_lock=old, git_rev="v1") == (OK, "is in the revision")
    assert found(env_lock=old)[0] == BROKEN, "that revision had another one"
    assert found(env_lock=old, git_rev="0" * 12)[0] == UNVERIFIABLE
    assert found(env_lock=old, git_rev=f"{row['git_rev']}-dirty")[0] == UNVERIFIABLE
    assert found(env_lock="packages:0123456789ab")[0] == UNVERIFIABLE
    assert found(env_lock="", status="unsupported")[0] == OK
    assert found(env_lock="")[0] == BROKEN, "measured, and in nothing"
    assert found(env_lock="../../etc")[0] == BROKEN
    jax = digest(locks.lock_file("jax", "cpu"))
    assert found(env_lock=jax) == (BROKEN, f"{jax} is the lock of jax-cpu")
    cuda = digest(locks.lock_file("torch", "cuda"))
    assert found(env_lock=cuda)[0] == OK, "torch falls back to it"
    assert found(env_lock=digest(ROOT / LOCK), device="cuda")[0] == BROKEN
    assert found(env_lock=old, backend="somebodys", git_rev="v1")[0] == BROKEN
    assert found(env_lock="0" * 12, backend="somebodys")[0] == UNVERIFIABLE


def test_an_id_is_made_anew(row):
    def verdict(row: dict[str, Any]) -> str:
        return rests_on.cell_id(row).verdict

    assert verdict(row) == OK
    assert verdict(named(row, "warm", compile_cache="warm")) == OK
    assert verdict(named(row, "onnx/a=1/b=%2F%3D%25", export_format="onnx")) == OK
    assert verdict(named(row, "trial=batch", trial="batch")) == OK
    for wrong in (
        named(row, "warm"),
        named(row, "b=1/a=1"),
        named(row, "a=1/a=1"),
        named(row, "onnx", export_format="native"),
        named(row, "trial=batch"),
        {**row, "batch": 32},
        {**row, "precision": "bf16"},
        {**row, "compile_cache": "warm"},
    ):
        assert verdict(wrong) == BROKEN, wrong["cell_id"]


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({"zero_stage": 2}, OK),
        ({"zero_stage": "2"}, OK),
        ({"zero_stage": 3}, BROKEN),
        ({"zero_stage": "partitioned"}, UNVERIFIABLE),
        ({"threads": 2}, UNVERIFIABLE),
    ],
)
def test_settings_asked_for_and_read_back(row, told, verdict):
    asked = named(row, "zero_stage=2", backend="deepspeed", settings=told)
    assert [one.verdict for one in rests_on.settings(asked)] == [verdict]
    assert list(rests_on.settings({**asked, "status": "crashed"})) == []
    assert list(rests_on.settings(row)) == []


def test_a_spec_and_its_operations(row):
    def found(**changes: Any) -> tuple[str, str]:
        return specs.spec({**row, **changes}, REFERENCE)[1:3]

    assert found() == (OK, "is the revision's, and its operations the row's")
    assert found(size="tiny", flops_per_sample=FLOPS["tiny"])[0] == OK
    assert found(flops_per_sample=None)[0] == OK
    assert found(flops_per_sample=FLOPS["small"] + 1)[0] == BROKEN
    changed = found(size="tiny", flops_per_sample=FLOPS["tiny"], git_rev="v1")
    assert changed[0] == UNVERIFIABLE
    assert changed[1].startswith("has changed since")
    assert found(size="tiny", flops_per_sample=1, git_rev="v1")[0] == UNVERIFIABLE
    assert found(git_rev="0" * 12)[0] == UNVERIFIABLE
    assert found(git_rev=f"{row['git_rev']}-dirty")[0] == UNVERIFIABLE
    assert found(size="giant")[0] == BROKEN
    assert found(size="giant", git_rev="0" * 12)[0] == UNVERIFIABLE
    assert found(workload="../../secret")[0] == BROKEN


def test_a_size_of_the_users_own_needs_its_pilot_file(row, tmp_path, capsys):
    pilot = tmp_path / "pilot.toml"
    dims = "[size.mine.dims]\nimage = 16\nchannels = 1\nwidths = [8, 16]\nblocks = [1, 1]\n"
    dims += "classes = 10\nstem = '3x3'\n"
    pilot.write_text(f"[size.mine]\nmodel = 'cnn'\nbatch = 16\n{dims}")
    own = pilot_file.read(pilot).specs()
    settings = f"spec={catalogue.digest(own.of_model('cnn', 'mine'))}"
    mine = {**row, "size": "mine", "flops_per_sample": None, "tflops": None, "mfu": None}
    mine |= {"precision_honest": None, "cell_id": row["cell_id"].replace("small", "mine")}
    path = results(tmp_path / "rows.csv", named(mine, settings))
    assert main(["verify", str(path)]) == 0
    assert "give its pilot file with --spec" in capsys.readouterr().out
    assert main(["verify", str(path), "--spec", str(pilot), "--strict"]) == 0
    pilot.write_text(pilot.read_text().replace("[8, 16]", "[8, 32]"))
    assert main(["verify", str(path), "--spec", str(pilot)]) == 1
    assert "mine of the pilot file is not what was run" in capsys.readouterr().out


def results(path: Path, *rows: dict[str, Any]) -> Path:
    with ResultFile.create(path) as file:
        for one in rows:
            file.append(one)
    return path


def test_the_command_says_each_kind_once_and_what_it_exits_with(row, tmp_path, capsys):
    path = results(tmp_path / "rows.csv", row, {**row, "repeat": 1}, {**row, "repeat": 2})
    assert main(["verify", str(path), "--strict"]) == 0
    said = capsys.readouterr()
    assert "0 broken, 0 unverifiable, 13 ok" in said.err  # four of each row, and the manifest
    assert sum("git_rev" in line for line in said.out.splitlines()) == 1

    brought = {**row, "repeat": 3, "env_lock": "packages:0123456789ab"}
    with ResultFile.resume(path) as file:
        file.append(brought)
    assert main(["verify", str(path)]) == 0
    assert "unverifiable  env_lock" in capsys.readouterr().out
    assert main(["verify", str(tmp_path), "--strict", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told[0] == {
        "check": "env_lock",
        "verdict": "unverifiable",
        "said": "a brought environment: only the fingerprint of its packages is known",
        "number": 1,
        "first": f"{path}, line 5",
    }

    path.write_text(path.read_text().replace("node7", "node8", 1))
    assert main(["verify", str(path)]) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("broken        manifest")
    assert f"a row was changed (first: {path}, line 2)" in first


def test_a_file_that_cannot_be_read_any_more(row, tmp_path, capsys):
    path = results(tmp_path / "rows.csv", row)
    path.write_text(path.read_text().replace("1280.0", "fast"))
    assert main(["verify", str(path)]) == 1
    assert "'fast' is not a finite decimal number" in capsys.readouterr().out
    manifest_path(path).unlink()
    assert main(["verify", str(path)]) == 2
    assert main(["verify", str(tmp_path / "none.csv")]) == 2
    capsys.readouterr()
    assert main(["verify"]) == 2
    assert "name results files or folders, or give --locks" in capsys.readouterr().err


def test_a_link_is_looked_at_where_the_file_is(row, tmp_path, capsys):
    path = results(tmp_path / "rows.csv", row)
    (link := tmp_path / "else" / "link.csv").parent.mkdir()
    link.symlink_to(path)
    with ResultFile.resume(link) as file:
        file.append(failed_row(repeat=1, git_rev=row["git_rev"]))
    assert main(["verify", str(link), "--strict"]) == 0
    assert "1 files: 0 broken, 0 unverifiable" in capsys.readouterr().err


# -- signing -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys ``mine`` and ``other``, without passphrases; ``allowed`` knows ``mine``."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not here (OpenSSH's client)")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", name]
        subprocess.run(command, cwd=folder, check=True)
    public = (folder / "mine.pub").read_text()
    (folder / "allowed").write_text(f"me@example.org {public}")
    elsewhere = f'me@example.org namespaces="file" {public}'
    (folder / "elsewhere").write_text(elsewhere)
    return folder


def signed(path: Path, signers: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["verify", str(path), "--signers", str(signers)])
    lines = capsys.readouterr().out.splitlines()
    return code, next(line for line in lines if " signed " in line)


def test_signed_results_are_known_by_who_signed_them(row, keys, tmp_path, capsys):
    path, allowed = results(tmp_path / "rows.csv", row), keys / "allowed"
    code, line = signed(path, allowed, capsys)
    assert code == 1
    assert "is not signed" in line
    assert main(["sign", str(path), "--key", str(keys / "mine")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'rows.sha256.sig'}\n"
    code, line = signed(path, allowed, capsys)
    assert code == 0
    assert line.endswith("by me@example.org")
    code, line = signed(path, keys / "elsewhere", capsys)
    assert code == 1, "that key may not sign results"
    with ResultFile.resume(path) as file:
        file.append({**row, "repeat": 1})
    code, line = signed(path, allowed, capsys)
    assert code == 1
    assert "not of this manifest" in line
    assert main(["sign", str(path), "--key", str(keys / "other")]) == 0
    capsys.readouterr()
    code, line = signed(path, allowed, capsys)
    assert code == 1
    assert "by no key of the allowed signers" in line


def test_what_is_broken_or_has_no_manifest_is_not_signed(row, keys, tmp_path, capsys):
    path = results(tmp_path / "rows.csv", row)
    path.write_text(path.read_text().replace("node7", "node8"))
    sign = ["sign", str(path), "--key", str(keys / "mine")]
    assert main(sign) == 1
    assert "not signed: a row was changed" in capsys.readouterr().err
    manifest_path(path).unlink()
    assert main(sign) == 2
    assert "has no manifest to sign" in capsys.readouterr().err
    assert main(["sign", str(path), "--key", str(keys / "none")]) == 2
    assert main(["verify", str(path), "--signers", str(keys / "none")]) == 2
    (tmp_path / "no").write_text("no key")
    whole = results(tmp_path / "whole.csv", row)
    capsys.readouterr()
    assert main(["sign", str(whole), "--key", str(tmp_path / "no")]) == 2
    assert "ssh-keygen cannot sign with" in capsys.readouterr().err
    assert [one.name for one in tmp_path.glob("*.sig*")] == []


def test_without_ssh_keygen_one_line_says_so(row, tmp_path, monkeypatch, capsys):
    path, key = results(tmp_path / "rows.csv", row), tmp_path / "key"
    key.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["sign", str(path), "--key", str(key)]) == 2
    assert capsys.readouterr().err == "bench: ssh-keygen is not here: install OpenSSH's client\n"


def test_kinds_are_counted_and_the_worst_come_first():
    some = [findings.Finding("a", OK, "fine", str(at)) for at in range(3)]
    made = findings.kinds([*some, findings.Finding("b", BROKEN, "not", "x")])
    assert [(one.check, one.number, one.first) for one in made] == [("b", 1, "x"), ("a", 3, "0")]
    assert made[0].line == "broken        b             1  not (first: x)"


# -- locks ---------------------------------------------------------------------------------------

HASH = f"--hash=sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"numpy==2.0 {HASH}", ""),
        (f"numpy==2.0 ; python_version > '3.9' \\\n    {HASH} \\\n    {HASH}\n    # via x", ""),
        ("# nothing", ""),
        ("numpy==2.0", "numpy has no hash"),
        (f"numpy>=2.0 {HASH}", "numpy is not pinned to one version"),
        (f"numpy==2.* {HASH}", "numpy is not pinned to one version"),
        (f"numpy==2.0,!=2.1 {HASH}", "numpy is not pinned to one version"),
        (f"numpy {HASH}", "numpy is not pinned to one version"),
        (f"numpy @ https://example.org/numpy.tar.gz {HASH}", "numpy is from a place of its own"),
        ("numpy==2.0 --hash=md5:abc", "numpy: '--hash=md5:abc' is no SHA-256"),
        (f"numpy==2.0 {HASH} --global-option=x", "numpy: '--global-option=x' is no SHA-256"),
        ("-e .", "'-e .' is not a package and its version"),
        ("--index-url https://example.org", "is not a package and its version"),
        ("./wheels/numpy.whl", "'./wheels/numpy.whl' is not a package and its version"),
    ],
)
def test_a_lock_holds_nothing_but_hashed_packages(tmp_path, line, said):
    lock = tmp_path / "some.txt"
    lock.write_text(f"{line}\nscipy==1.0 {HASH}\n")
    found = hashed.problems(lock)
    assert len(found) == bool(said)
    assert all(one.startswith("some.txt, line 1: ") and said in one for one in found)
    assert "scipy" in hashed.names(lock)


def test_every_committed_lock_is_hashed_and_every_source_has_its_reason(capsys):
    assert main(["verify", "--locks", "--strict"]) == 0
    said = capsys.readouterr().out
    assert "deepspeed: deepspeed is built from source: its release has no wheel" in said
    count = 2 + len(list(locks.LOCKS.glob("*.txt")))
    assert f"{count:5}  every package has a version and hashes" in said


def test_a_source_without_a_reason_or_a_lock_is_broken(monkeypatch):
    entry = dataclasses.replace(BACKENDS["torch"], sources={"numpy": " ", "gone": "no wheel"})
    monkeypatch.setattr(locked.backends_index, "names", lambda: ["torch"])
    monkeypatch.setattr(locked.backends_index, "find", lambda _: entry)
    assert [one.said for one in locked.findings() if one.verdict == BROKEN] == [
        "torch: numpy is built from source, and no reason is given",
        "torch: gone is listed as a source, and in no lock",
    ]


def test_two_builds_are_compared_but_for_their_own_path(tmp_path):
    for name in ("one", "other"):
        info = tmp_path / name / "lib/python3.11/site-packages/a.dist-info"
        info.mkdir(parents=True)
        (info / "RECORD").write_text(f"../../../bin/a,sha256={name},9\na.py,sha256=x,1\n")
        (tmp_path / name / "bin").mkdir()
        (tmp_path / name / "bin" / "a").write_text(f"#!{tmp_path / name}/bin/python\n")
        (tmp_path / name / "bin" / "python").symlink_to(tmp_path / name / "real")
        (tmp_path / name / "a.pyc").write_text(name)
    one, other = (rebuilt.files(tmp_path / name) for name in ("one", "other"))
    assert one == other
    assert len(one) == 3
    (tmp_path / "other" / "bin" / "a").write_text("#!/bin/python\n")
    changed = rebuilt.files(tmp_path / "other")
    assert [name for name in one if changed[name] != one[name]] == ["bin/a"]
