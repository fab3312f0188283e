"""What is written for Kubernetes: by its own schemas, and whatever the user calls things.

No cluster has run it. A share is run as an index would run it in tests/cli/test_submit.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions, major_minor

from bench.cli import main
from bench.cluster import manifests
from bench.cluster.plan import PilotFolder
from bench.errors import EXIT_USAGE, UsageError

ROOT = Path(__file__).resolve().parents[2]
OLDEST = (1, 31)  # the pod failure policy is stable since (Kubernetes' own release notes)
VERSIONS = [one for one in all_versions() if tuple(map(int, one.split(".")[:2])) >= OLDEST]
GPUS = ("--backend", "torch,jax,onnxruntime", "--device", "cuda", "--size", "base")
WORDS = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER"}
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def submit(folder: Path, *options: str, run: tuple[str, ...] = GPUS) -> int:
    place = ("--engine", "kubernetes", "--dry-run", "--folder", str(folder))
    return main(["submit", *place, *options, "--", *run])


def written(folder: Path) -> tuple[dict, dict]:
    """The policy and the job."""
    text = (folder / "manifests" / "job-1.yaml").read_text(encoding="utf-8")
    policy, job = yaml.safe_load_all(text)
    return policy, job


def checked(folder: Path, versions: Sequence[str] = VERSIONS[-1:]) -> tuple[dict, dict]:
    """By Kubernetes's schemas, of the newest version at least, and the names by DNS's rules."""
    found = written(folder)
    for one in found:
        for version in versions:
            assert kubernetes_validate.validate(one, version, strict=True) == major_minor(version)
        assert LABEL.fullmatch(one["metadata"]["name"])
    return found


def pod(job: dict) -> dict:
    return job["spec"]["template"]["spec"]


def test_the_newest_version_is_among_those_checked_and_a_wrong_field_is_seen(tmp_path):
    assert submit(tmp_path / "pilot") == 0
    _, job = written(tmp_path / "pilot")
    assert VERSIONS[-1] == kubernetes_validate.latest_version()
    assert len(VERSIONS) >= 3
    job["spec"]["backoffLimitPerIndexx"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[0], strict=True)


def test_an_indexed_job_with_a_share_each(tmp_path, capsys):
    folder = tmp_path / "pilot"
    options = ("--claim", "team-data", "--set", "cpu=8", "--set", "memory=64Gi", "--time", "90")
    assert submit(folder, *options, run=(*GPUS, "--workload", "cnn,export")) == 0
    _, job = checked(folder, VERSIONS)
    shares = [share.name for share in PilotFolder(folder).plan().shares]
    spec, container = job["spec"], pod(job)["containers"][0]
    assert (spec["completionMode"], spec["completions"], len(shares)) == ("Indexed", 3, 3)
    assert container["command"][1:] == [
        *("-m", "bench.cluster.share", str(folder), "--index"),
        *shares,
    ]
    amounts = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"requests": amounts, "limits": amounts}
    assert pod(job)["activeDeadlineSeconds"] > 90 * 60  # the share's own end comes first
    claim = {"name": "pilot", "persistentVolumeClaim": {"claimName": "team-data"}}
    assert claim in pod(job)["volumes"]
    assert {"name": "pilot", "mountPath": str(tmp_path)} in container["volumeMounts"]
    said = capsys.readouterr().out
    assert "3 jobs of kubernetes" in said
    assert "&id" not in (folder / "manifests" / "job-1.yaml").read_text()


def test_a_disruption_does_not_count_and_wrong_usage_ends_its_index(tmp_path):
    assert submit(tmp_path / "pilot") == 0
    spec = checked(tmp_path / "pilot")[1]["spec"]
    first, second = spec["podFailurePolicy"]["rules"]
    assert first == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert second["action"] == "FailIndex"
    assert EXIT_USAGE in second["onExitCodes"]["values"]
    names = {one["name"] for one in pod({"spec": spec})["containers"]}
    assert second["onExitCodes"]["containerName"] in names
    assert spec["backoffLimitPerIndex"] >= 1
    assert pod({"spec": spec})["restartPolicy"] == "Never"  # what both need


def test_no_root_nothing_to_write_to_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert submit(tmp_path / "pilot", "--namespace", "pilots") == 0
    policy, job = checked(tmp_path / "pilot", VERSIONS)
    made = pod(job)
    assert made["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert made["automountServiceAccountToken"] is False
    empty = {one["name"] for one in made["volumes"] if "emptyDir" in one}
    for container in (*made["initContainers"], *made["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        places = {one["mountPath"] for one in container["volumeMounts"] if one["name"] in empty}
        env = {one["name"]: one["value"] for one in container["env"]}
        assert {"/tmp", "/scratch", "/dev/shm"} <= places
        for name in ("HOME", "TMPDIR", "BENCH_CACHE"):
            assert any(Path(env[name]).is_relative_to(one) for one in places)
    assert (
        policy["spec"]["podSelector"]["matchLabels"]
        == job["spec"]["template"]["metadata"]["labels"]
    )
    assert set(policy["spec"]) == {"podSelector", "policyTypes"}  # no rule: nothing is let through
    assert "Egress" in policy["spec"]["policyTypes"]
    assert policy["metadata"]["namespace"] == job["metadata"]["namespace"] == "pilots"


def test_it_runs_as_who_submits(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 100)
    assert submit(tmp_path / "pilot") == 0
    context = pod(written(tmp_path / "pilot")[1])["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (1234, 100)


@pytest.mark.parametrize(
    ("options", "run", "devices"),
    [
        ((), ("--backend", "jax", "--device", "rocm"), {"amd.com/gpu": "1"}),
        (
            (),
            ("--backend", "torch", "--device", "cuda", "--world-size", "4"),
            {"nvidia.com/gpu": "4"},
        ),
        (
            ("--gres", "amd.com/gpu:2"),
            ("--backend", "jax", "--device", "rocm"),
            {"amd.com/gpu": "2"},
        ),
        ((), ("--backend", "torch", "--device", "cpu"), {}),
    ],
)
def test_devices_are_the_vendors_resources(tmp_path, options, run, devices):
    assert submit(tmp_path / "pilot", *options, run=(*run, "--workload", "cnn")) == 0
    made = pod(checked(tmp_path / "pilot")[1])
    assert made["containers"][0]["resources"] == {"requests": devices, "limits": devices}
    assert [one["key"] for one in made["tolerations"]] == list(devices)


NAMES = [
    'pi "lot',
    "pi'lot",
    "$(reboot) $$x",
    "- a",
    "{{ a }}",
    "#x",
    "*a &b",
    "ä",
    "1e3",
    "~",
    "%",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_whatever_it_looks_like(tmp_path, name):
    folder = tmp_path / name / "on"
    run = ("--backend", "onnxruntime", "--device", "cpu", "--size", "tiny")
    assert submit(folder, "--namespace", "1e3", run=run) == 0
    policy, job = checked(folder)
    container = pod(job)["containers"][0]
    assert container["command"][3] == str(folder).replace("$", "$$")
    assert container["volumeMounts"][0]["mountPath"] == str(folder.parent)
    assert policy["metadata"]["namespace"] == "1e3"
    # To PyYAML 1e3 is text either way; Kubernetes's reader takes it for a number.
    assert 'namespace: "1e3"' in (folder / "manifests" / "job-1.yaml").read_text()
    for line in (folder / "manifests" / "commands.txt").read_text().splitlines():
        assert any(str(folder) in word for word in shlex.split(line))
    for path in (folder / "manifests").glob("Dockerfile*"):
        assert str(folder) not in path.read_text()


def test_text_is_quoted_where_a_reader_could_take_it_for_something_else():
    hostile = [
        "1e3",
        "0x10",
        "1_0",
        "12:30",
        "y",
        "no",
        "null",
        "~",
        "a: b",
        "a\nb: c",
        "",
        ".5",
        "=",
    ]
    assert list(yaml.safe_load_all(manifests.dumped([{"a": hostile}]))) == [{"a": hostile}]
    assert manifests.dumped([{"a": "no", "b": "1e3", "c": "a\nb: c"}]).count("\n") == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gres", "gpu:1"), "write RESOURCE:N, such as nvidia.com/gpu:1"),
        (("--gres", "a/b:1\nx"), "--gres: a value is one line"),
        (("--set", "cpu=8 }"), "write an amount"),
        (("--set", "memory=64Gi\nhostNetwork: true"), "write KEY=VALUE"),
        (("--namespace", "A: b"), "--namespace: a name is letters"),
        (("--namespace", "a\nb"), "--namespace: a name is letters"),
        (("--claim", "a\nb"), "--claim: the name of a PersistentVolumeClaim"),
        (("--image", "a b"), "--image: a reference"),
        (("--base", "a\nRUN reboot"), "--base: a reference"),
        (("--base", "a\n"), "--base: a reference"),
        (("--mount", "relative"), "--mount: a path from / on"),
        (("--mount", "/elsewhere"), "is not below it"),
        (("--mount", "/"), "would hide what the pods need"),
        (("--partition", "gpu"), "are Slurm's"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(tmp_path, capsys, options, said):
    assert submit(tmp_path / "pilot", *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "pilot").exists()


@pytest.mark.parametrize("name", ["a\nb", "a:b"])
def test_a_folder_that_cannot_be_mounted_is_refused(tmp_path, capsys, name):
    assert submit(tmp_path / name / "pilot") == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / name).exists()


def test_a_file_that_the_pods_cannot_see_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pilot.toml").write_text('backends = ["torch"]\n')
    run = ("--device", "cuda", "--size", "base", "--spec")
    assert submit(tmp_path / "a" / "pilot", run=(*run, "pilot.toml")) == 2
    assert "the pods see files below" in capsys.readouterr().err
    assert submit(tmp_path / "pilot", run=(*run, str(tmp_path / "pilot.toml"))) == 0


@pytest.mark.parametrize(
    "how", [{"namespace": "a\n"}, {"base": "a\nRUN x"}, {"claim": "A"}, {"mount": "a"}]
)
def test_a_plan_with_a_value_that_the_options_refuse_is_damaged(tmp_path, how):
    assert submit(tmp_path / "pilot") == 0
    path = tmp_path / "pilot" / "plan.json"
    held = json.loads(path.read_text())
    held["how"] |= how
    path.write_text(json.dumps(held))
    with pytest.raises(UsageError, match="is damaged"):
        PilotFolder(tmp_path / "pilot").plan()


def test_nothing_is_handed_over_without_dry_run(tmp_path, capsys):
    folder = str(tmp_path / "pilot")
    run = ("--folder", folder, "--", *GPUS)
    assert main(["submit", "--engine", "kubernetes", *run]) == 2
    assert "--engine kubernetes needs --dry-run" in capsys.readouterr().err
    assert main(["submit", "--engine", "slurm", "--dry-run", *run]) == 2
    assert "--dry-run is of --engine kubernetes" in capsys.readouterr().err
    assert not Path(folder).exists()


def test_another_package_s_backend_needs_an_image_of_its_own(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bench.cluster.kubernetes.BACKENDS", {"torch": None})
    assert submit(tmp_path / "pilot") == 2
    assert "jax is another package's: bring an image with it" in capsys.readouterr().err


def instructions(path: Path) -> list[tuple[str, str]]:
    """Word and rest of each line that is no comment; a line is an instruction here."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "pilot"
    digest = f"python@sha256:{'0' * 64}"
    assert submit(folder, "--base", digest, run=(*GPUS, "--workload", "cnn,export")) == 0
    return folder / "manifests"


def test_each_backend_has_an_image_and_one_gathers_them(images):
    found = {path.name for path in images.glob("Dockerfile*")}
    backends = [f"Dockerfile.{name}-cuda" for name in ("jax", "onnxruntime", "torch")]
    assert found == {"Dockerfile", *backends}
    typed = [shlex.split(line) for line in (images / "commands.txt").read_text().splitlines()]
    tags = [line[line.index("--tag") + 1] for line in typed if line[:2] == ["docker", "build"]]
    gathered = [rest for word, rest in instructions(images / "Dockerfile") if word == "COPY"]
    for tag in tags[:-1]:
        assert f"--from={tag} /opt/bench/envs/ /opt/bench/envs/" in gathered
    image = pod(written(images.parent)[1])["containers"][0]["image"]
    assert tags[-1] == image  # built last, of the others
    for name in backends:
        backend, device = name.removeprefix("Dockerfile.").split("-")
        steps = [json.loads(rest) for word, rest in instructions(images / name) if word == "RUN"]
        assert steps[-1][1:] == ["-m", "bench.envs", backend, device]


def test_a_dockerfile_is_pinned_has_hashes_no_root_and_no_shell(images):
    for path in sorted(images.glob("Dockerfile*")):
        lines = instructions(path)
        assert {word for word, _ in lines} <= WORDS
        assert lines[:2] == [("ARG", f"BASE=python@sha256:{'0' * 64}"), ("FROM", "${BASE}")]
        user = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", lines[-1][1])
        assert lines[-1][0] == "USER"
        assert user, "Kubernetes can only see that a number is not root"
        runs = [json.loads(rest) for word, rest in lines if word == "RUN"]
        assert all(isinstance(word, str) for step in runs for word in step)
        pip = [step for step in runs if "pip" in step]
        assert pip, path
        assert all("--require-hashes" in step for step in pip)
        for word, rest in lines:
            assert word != "COPY" or rest.startswith("--from=") or (ROOT / rest.split()[0]).exists()
        assert not re.search(r"://|\b[a-z0-9-]+\.(io|com|org|net|dev)\b", path.read_text())


def test_a_tag_is_named_as_one_and_can_be_replaced(tmp_path):
    assert submit(tmp_path / "pilot") == 0
    text = (tmp_path / "pilot" / "manifests" / "Dockerfile.torch-cuda").read_text()
    assert re.search(r"^ARG BASE=python:3\.11\.\d+-\w+$", text, re.MULTILINE)
    assert "--base IMAGE@sha256:DIGEST" in text
