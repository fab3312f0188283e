"""What Kubernetes is asked for, as plain values, and these as YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from bench.errors import EXIT_INTERRUPTED, EXIT_USAGE

HOME = "/opt/bench"
"""Of the harness in an image, its environments (``envs``) and the packages of data (``cache``)."""
SCRATCH = "/scratch"
WRITABLE = ("/tmp", SCRATCH, "/dev/shm")  # noqa: S108  places in a pod, empty when it begins
CONTAINER = "share"
TRIES = 2
"""More, after the first of an index, where a container dies of something else than a disruption."""
PULL_S = 1800
"""For an image of many GB: a pod's deadline counts from before it is pulled. It is the last resort,
for the shares keep their time themselves."""

_UNMISTAKABLE = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]+")


@dataclass(frozen=True)
class Pods:
    """What the pods of one job have.

    devices: an extended resource, such as ``nvidia.com/gpu``, and how many; resources: ``cpu``,
    ``memory`` and the like. user: uid and gid.
    """

    name: str
    namespace: str
    image: str
    claim: str
    mount: str
    arguments: Sequence[str]
    count: int
    at_once: int
    seconds: int
    devices: Mapping[str, str]
    resources: Mapping[str, str]
    user: tuple[int, int]

    @property
    def labels(self) -> dict[str, str]:
        return {
            "app.kubernetes.io/name": "framework-pilot",
            "app.kubernetes.io/instance": self.name,
        }

    @property
    def metadata(self) -> dict[str, Any]:
        place = {"namespace": self.namespace} if self.namespace else {}
        return {"name": self.name, **place, "labels": self.labels}


def job(pods: Pods) -> dict[str, Any]:
    """An Indexed Job: an index is a share."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": pods.metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": pods.count,
            "parallelism": min(pods.at_once, pods.count),
            "backoffLimitPerIndex": TRIES,
            "podFailurePolicy": {"rules": _rules()},
            "template": {"metadata": {"labels": pods.labels}, "spec": _pod(pods)},
        },
    }


def silence(pods: Pods) -> dict[str, Any]:
    """No network at run time: a policy with these types and no rule lets nothing through."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": pods.metadata,
        "spec": {
            "podSelector": {"matchLabels": pods.labels},
            "policyTypes": ["Ingress", "Egress"],
        },
    }


def _rules() -> list[dict[str, Any]]:
    """The first that fits counts: a disrupted pod, whatever it exits with, is started anew."""
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    # Another try would end the same way, or would have the share's time once more.
    final = {
        "containerName": CONTAINER,
        "operator": "In",
        "values": [EXIT_USAGE, EXIT_INTERRUPTED],
    }
    return [
        {"action": "Ignore", "onPodConditions": [disrupted]},
        {"action": "FailIndex", "onExitCodes": final},
    ]


def _pod(pods: Pods) -> dict[str, Any]:
    uid, gid = pods.user
    names = {path: path.rpartition("/")[2] for path in WRITABLE}
    empty = [
        {"name": name, "emptyDir": {"medium": "Memory"} if path == "/dev/shm" else {}}  # noqa: S108  as above
        for path, name in names.items()
    ]
    claim = {"name": "pilot", "persistentVolumeClaim": {"claimName": pods.claim}}
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": pods.seconds + PULL_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # The first process is then one that buries what workers leave, and dies of signals.
        "shareProcessNamespace": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "runAsGroup": gid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [{"key": name, "operator": "Exists"} for name in pods.devices],
        "initContainers": [_container(pods, "data", _SEED, {})],
        "containers": [_container(pods, CONTAINER, _escaped(pods.arguments), pods.devices)],
        "volumes": [claim, *empty],
    }


_SEED = ["cp", "--recursive", "--symbolic-link", f"{HOME}/cache/.", f"{SCRATCH}/cache"]
"""The image's data packages, which are read only, in a cache that can be written."""


def _container(
    pods: Pods, name: str, command: Sequence[str], devices: Mapping[str, str]
) -> dict[str, Any]:
    env = {
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "BENCH_CACHE": f"{SCRATCH}/cache",
        "BENCH_ENVS": f"{HOME}/envs",
        "PYTHONPATH": HOME,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    mounts = {"pilot": pods.mount} | {path.rpartition("/")[2]: path for path in WRITABLE}
    amount = {**pods.resources, **devices}
    return {
        "name": name,
        "image": pods.image,
        "command": list(command),
        "workingDir": HOME,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        # Requests as limits: only such a pod can have CPUs of its own.
        "resources": {"requests": dict(amount), "limits": dict(amount)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts.items()],
    }


def _escaped(arguments: Sequence[str]) -> list[str]:
    """Kubernetes replaces ``$(NAME)`` in a command by a variable, and ``$$`` by ``$``."""
    return [one.replace("$", "$$") for one in arguments]


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Quotes whatever a reader could take for something else than text: ``1e3`` is none to PyYAML
    and a number to Kubernetes.
    """


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if _UNMISTAKABLE.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dumped(documents: Sequence[Mapping[str, Any]]) -> str:
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False))
