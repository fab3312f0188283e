"""``bench sign``: a manifest under one of the user's own SSH keys, by ssh-keygen.

The signature lies beside the manifest, ``x.sha256.sig``. Who may sign is the reader's to say, in a
file of allowed signers as ssh-keygen(1) describes it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.errors import EXIT_NO, EXIT_OK, UsageError
from bench.provenance import unbroken
from bench.provenance.findings import BROKEN, OK, Finding
from bench.rows import reading
from bench.rows.places import manifest_path

NAMESPACE = "framework-pilot"
"""So that a signature under something else cannot be passed off as one under results."""
CHECK = "signed"
ANSWER_S = 300.0  # somebody may have to type a passphrase or touch a token


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1, and nothing signed, where a file is not what its manifest says."""
    if not arguments.key.is_file():
        raise UsageError(f"{arguments.key} is no key: ssh-keygen -t ed25519 makes one")
    paths = reading.files(tuple(arguments.results))
    for path in paths:
        if not manifest_path(path).exists():
            raise UsageError(f"{path} has no manifest to sign: {manifest_path(path)}")
    broken = [one for path in paths for one in unbroken.findings(path) if one.verdict != OK]
    for one in broken:
        print(f"not signed: {one.said} ({one.where})", file=sys.stderr)
    if broken:
        return EXIT_NO
    for path in paths:
        print(_sign(manifest_path(path), arguments.key))
    return EXIT_OK


def findings(path: Path, signers: Path) -> Iterator[Finding]:
    """Whether one of ``signers`` has signed the manifest of a results file."""
    if not signers.is_file():
        raise UsageError(f"{signers} is no file of allowed signers (see ssh-keygen(1))")
    beside = manifest_path(path)
    signature = signature_path(beside)
    if not (beside.exists() and signature.exists()):
        yield Finding(CHECK, BROKEN, "is not signed", str(path))
        return
    where, given = str(signature), ["-s", str(signature), "-f", str(signers)]
    found = _keygen("find-principals", *given)
    known = found.stdout.decode(errors="replace").splitlines() if found.returncode == 0 else []
    if not known:
        yield Finding(CHECK, BROKEN, "by no key of the allowed signers", where)
        return
    data = reading.bytes_of(beside)
    for name in known:
        if _keygen("verify", *given, "-n", NAMESPACE, "-I", name, data=data).returncode == 0:
            yield Finding(CHECK, OK, f"by {name}", where)
            return
    said = "the signature is not of this manifest, or the key may not sign results"
    yield Finding(CHECK, BROKEN, said, where)


def signature_path(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.name}.sig")


def _sign(manifest: Path, key: Path) -> Path:
    data, target = reading.bytes_of(manifest), signature_path(manifest)
    done = _keygen("sign", "-q", "-f", str(key), "-n", NAMESPACE, data=data)
    if done.returncode != 0:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["no word why"])[-1]
        raise UsageError(f"ssh-keygen cannot sign with {key}: {said}")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(done.stdout)
        part.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error
    return target


def _keygen(action: str, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", action, *arguments],
            input=data,
            capture_output=True,
            timeout=ANSWER_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError("ssh-keygen is not here: install OpenSSH's client") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"ssh-keygen did not answer in {ANSWER_S:.0f} s") from error
