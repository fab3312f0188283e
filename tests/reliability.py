"""``python -m tests.reliability``: the tables of docs/reliability.md, from what the campaign and
the fuzzing have left in results/reliability, and no figure by hand.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
OUTCOMES = ROOT / "results" / "reliability"

Line = dict[str, Any]

IN_CI = {
    "parent killed": "faults/test_interrupts.py",
    "worker killed": "faults/test_statuses.py",
    "parent stopped": "",
    "worker stopped": "faults/test_interrupts.py",
    "results' disk full": "faults/test_results.py",
    "scratch's disk full": "faults/test_preallocation.py",
    "cache's disk full": "",
    "read-only folders": "unit/test_results.py",
    "shared folder lost": "unit/test_cluster.py",
    "two pilots on one file": "unit/test_results.py",
    "20 builders of one environment": "unit/test_envs.py",
    "clock jumps": "",
    "memory taken": "",
    "port taken": "",
    "stale DeepSpeed lock": "unit/test_deepspeed_ops.py",
    "CSV truncated": "unit/test_results.py",
    "CSV reordered": "unit/test_reading.py",
    "CSV re-encoded": "unit/test_reading.py",
    "CSV doubled": "unit/test_reading.py",
    "CSV schema-older": "unit/test_reading.py",
}
"""Each fault, in the table's order, and the tests of every commit that repeat it."""


def main() -> int:
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def filled(page: str) -> str:
    """The page with its tables made anew."""
    for name, lines in (("faults", faults()), ("fuzzing", fuzzing())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = page.partition(begin)
        page = (
            before + begin + "".join(f"{line}\n" for line in lines) + end + rest.partition(end)[2]
        )
    return page


def outcomes(key: str) -> Iterator[tuple[str, Line]]:
    """Machine and line, of all that have ``key``."""
    for path in sorted(OUTCOMES.glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8").splitlines():
            if key in (line := json.loads(text)):
                yield path.stem, line


def faults() -> Iterator[str]:
    newest = {(machine, line["fault"]): line for machine, line in outcomes("fault")}
    yield "| fault | machine | times | as promised | what was seen | longest | in CI |"
    yield "|---|---|---|---|---|---|---|"
    for fault, test in IN_CI.items():
        for machine, line in [(at, one) for (at, name), one in newest.items() if name == fault]:
            trials = line["trials"]
            kept = sum(trial["kept"] for trial in trials)
            seen = Counter(trial["seen"] for trial in trials if trial["kept"])
            words = "; ".join(f"{count} {what}" for what, count in seen.most_common())
            longest = max((trial["seconds"] or 0.0 for trial in trials), default=0.0)
            shown = f"{longest:.3g} s" if longest else ""
            link = f"[{test}](../tests/{test})" if test else ""
            yield f"| {fault} | {machine} | {len(trials)} | {kept} | {words} | {shown} | {link} |"


def fuzzing() -> Iterator[str]:
    lines = list(outcomes("target"))
    yield "| target | engine | inputs | refused in one line | found | seconds | peak memory |"
    yield "|---|---|---|---|---|---|---|"
    for _, line in lines:
        yield (
            f"| {line['target']} | {line['engine']} | {line['inputs']:,} | {line['refused']:,} |"
            f" {line['found']} | {line['took_s']:.0f} | {line['peak_mib']} MiB |"
        )
    total = [sum(line[name] for _, line in lines) for name in ("inputs", "refused", "found")]
    took = sum(line["took_s"] for _, line in lines)
    most = max((line["peak_mib"] for _, line in lines), default=0)
    yield f"| all | | {total[0]:,} | {total[1]:,} | {total[2]} | {took:.0f} | {most} MiB |"


if __name__ == "__main__":
    sys.exit(main())
