"""``bench verify``: whether results rest on what they say, and are still what was written."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.errors import EXIT_NO, EXIT_OK, UsageError
from bench.provenance import findings, locked, rests_on, signing, specs, unbroken
from bench.provenance.findings import BROKEN, UNVERIFIABLE, Finding
from bench.rows import reading
from bench.rows.places import manifest_path
from bench.rows.reading import Line
from workloads.catalogue import Catalogue


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where something is broken, or, with ``--strict``, cannot be verified."""
    if not arguments.results and not arguments.locks:
        raise UsageError("nothing to verify: name results files or folders, or give --locks")
    named = reading.files(tuple(arguments.results)) if arguments.results else []
    # What lies beside a file lies beside the file itself, not beside a link to it.
    paths = [path.resolve() if path.is_symlink() else path for path in named]
    found = list(locked.findings()) if arguments.locks else []
    for path in paths:
        found += of_file(path, arguments.catalogue)
        if arguments.signers:
            found += signing.findings(path, arguments.signers)
    kinds = findings.kinds(found)
    if arguments.json:
        print(json.dumps([one._asdict() for one in kinds], indent=1))
    else:
        for one in kinds:
            print(one.line)
        counts = {word: sum(one.verdict == word for one in found) for word in findings.VERDICTS}
        said = ", ".join(f"{count} {word}" for word, count in counts.items())
        print(f"{len(paths)} files: {said}", file=sys.stderr)
    bad = (BROKEN, UNVERIFIABLE) if arguments.strict else (BROKEN,)
    return EXIT_NO if any(one.verdict in bad for one in found) else EXIT_OK


def of_file(path: Path, known: Catalogue) -> Iterator[Finding]:
    """Of one results file. UsageError where it is none."""
    yield from unbroken.findings(path)
    try:
        lines = reading.parse(path, reading.bytes_of(path))
    except UsageError as error:
        if not manifest_path(path).exists():
            raise
        # It was a results file: what was done to it is a finding.
        yield Finding("rows", BROKEN, "a file cannot be read any more", str(error))
        return
    for line in lines:
        yield from _of_row(path, line, known)


def _of_row(path: Path, line: Line, known: Catalogue) -> Iterator[Finding]:
    row, where = line.row, f"{path}, line {line.first}"
    made = [rests_on.git_rev(row), rests_on.env_lock(row), rests_on.cell_id(row)]
    made += [*rests_on.settings(row), specs.spec(row, known)]
    yield from (one._replace(where=where) for one in made)
