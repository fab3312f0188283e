"""Read back what ``make bench BACKEND=torch,onnxruntime WORKLOAD=cnn,export`` wrote: every row.

``python -m tests.ci_rows FILE`` ends with "N passed, N failed" and exits 1 if any failed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.rows import reading

OK = ("ok", "passed")
UNSUPPORTED = ("unsupported", "")

# backend, workload, model -> status, parity
EXPECTED = {
    ("torch", "cnn", "cnn"): OK,
    ("torch", "export", "cnn"): OK,
    ("torch", "export", "transformer"): OK,
    ("onnxruntime", "cnn", "cnn"): UNSUPPORTED,  # it infers from files and does not train
    ("onnxruntime", "export", "cnn"): OK,
    ("onnxruntime", "export", "transformer"): OK,
}


def faults(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for every expected row that is missing, double or otherwise, and every stray."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    count: Counter[tuple[str, ...]] = Counter()
    reasons: dict[tuple[str, ...], str] = {}
    for row in rows:
        key = (row["backend"], row["workload"], row["model"])
        count[key] += 1
        found[key] = (row["status"], row.get("parity") or "")
        reasons[key] = row.get("reason") or ""
    said = [f"{'/'.join(key)}: nobody asked for this row" for key in found if key not in EXPECTED]
    for key, wanted in EXPECTED.items():
        if count[key] != 1:
            said.append(f"{'/'.join(key)}: {count[key]} rows instead of one")
        elif found[key] != wanted:
            said.append(f"{'/'.join(key)}: {found[key]} instead of {wanted}: {reasons[key]}")
    return said


def main(path: str) -> int:
    failed = faults(reading.read(Path(path)))
    for line in failed:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(EXPECTED) - min(len(failed), len(EXPECTED))} passed, ")
    sys.stdout.write(f"{len(failed)} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
