"""``bench sbom``: what an environment is made of, as a CycloneDX document (ECMA-424)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from bench import backends_index, envs, options
from bench.accelerators import choose
from bench.envs import Env
from bench.errors import EXIT_OK, EnvError, UsageError
from bench.provenance import installed
from bench.provenance.installed import Package


def run(arguments: argparse.Namespace) -> int:
    """Write the document; licences that somebody should look at are named on standard error."""
    backend = arguments.backend
    backends_index.find(backend)
    device, _ = choose.named(arguments.device)
    try:
        env = envs.resolve(backend, device, pythons=options.pythons(arguments.python), log=_say)
        found = installed.packages(env.python)
    except EnvError as error:
        raise UsageError(str(error)) from error
    text = document(backend, device, env, found)
    for package in found:
        if package.doubt:
            licence = package.licence or "no licence declared"
            _say(f"{package.doubt}: {package.name} {package.version}: {licence}")
    if arguments.out is None:
        print(text)
        return EXIT_OK
    _write(arguments.out, text)
    _say(f"written: {arguments.out}, {len(found)} packages")
    return EXIT_OK


def document(backend: str, device: str, env: Env, packages: list[Package]) -> str:
    """As JSON of CycloneDX 1.6, checked against its schema. EnvError where it does not hold."""
    bom = Bom()
    bom.metadata.component = Component(
        type=ComponentType.APPLICATION,
        name=f"{backend}-{device}",
        version=env.lock,
        bom_ref="environment",
    )
    bom.metadata.properties.add(Property(name="bench:env_lock", value=env.lock))
    licences = LicenseFactory()
    for one in packages:
        known = [licences.make_from_string(one.licence)] if one.licence else []
        purl = PackageURL("pypi", name=one.name, version=one.version)
        bom.components.add(
            Component(
                type=ComponentType.LIBRARY,
                name=one.name,
                version=one.version,
                purl=purl,
                bom_ref=str(purl),
                licenses=known,
            )
        )
    bom.register_dependency(bom.metadata.component, bom.components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=1)
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise EnvError(f"the document does not keep CycloneDX's schema: {problem}")
    return text


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _say(text: str) -> None:
    """Standard output is the document's."""
    print(text, file=sys.stderr)
