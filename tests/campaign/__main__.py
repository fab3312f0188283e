"""``python -m tests.campaign``: faults in real processes, hundreds of times.

Outside pytest, for it takes about 40 minutes. Each fault's outcomes go to a JSON-lines file of
results/reliability, of which ``python -m tests.reliability`` makes docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from tests.harness import FAKE, ROOT

sys.path[:0] = [str(ROOT), str(FAKE)]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
for name in [name for name in os.environ if name.startswith("BENCH_") and name != "BENCH_ENVS"]:
    del os.environ[name]

from bench import machine  # noqa: E402  # the fake backend is found when bench is imported
from tests.campaign import disks, kills, pilots, places, tables  # noqa: E402  # they import bench
from tests.campaign.pilots import Trials  # noqa: E402  # and so does this

Fault = Callable[[Random, int, Path], Trials]
FAULTS: dict[str, tuple[Fault, int]] = {
    "parent killed": (kills.parent_killed, 200),
    "worker killed": (kills.worker_killed, 200),
    "parent stopped": (kills.parent_stopped, 20),
    "worker stopped": (kills.worker_stopped, 100),
    "results' disk full": (disks.full_results, 12),
    "scratch's disk full": (disks.full_scratch, 12),
    "cache's disk full": (disks.full_cache, 12),
    "read-only folders": (disks.read_only, 7),
    "shared folder lost": (disks.lost_folder, 10),
    "two pilots on one file": (places.two_pilots, 20),
    "20 builders of one environment": (places.one_cache, 10),
    "clock jumps": (places.clock_jumps, 10),
    "memory taken": (places.memory_taken, 20),
    "port taken": (places.port_taken, 4),
    "stale DeepSpeed lock": (places.stale_lock, 4),
    "CSV truncated": (tables.truncated, 200),
    "CSV reordered": (tables.reordered, 200),
    "CSV re-encoded": (tables.encoded, 9),
    "CSV doubled": (tables.doubled, 200),
    "CSV schema-older": (tables.older, 200),
}
"""What is done, and how often."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("faults", nargs="*", default=list(FAULTS), help=", ".join(FAULTS))
    parser.add_argument("--out", type=Path, required=True, help="outcomes are added to it")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--times", type=int, help="instead of each fault's own number")
    asked = parser.parse_args()
    pilots.shortened()
    broken = 0
    for name in asked.faults:
        fault, times = FAULTS[name]
        started, before = datetime.now(UTC), time.monotonic()
        facts = {"fault": name, "seed": asked.seed, "git_rev": machine.git_rev()}
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            trials = list(fault(Random(asked.seed), asked.times or times, Path(folder)))
        facts |= {"started_at": started.isoformat(timespec="seconds")}
        facts |= {"took_s": round(time.monotonic() - before, 1)}
        told = [
            {"kept": one.kept, "seen": one.seen, "seconds": one.seconds and round(one.seconds, 3)}
            for one in trials
        ]
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**facts, "trials": told}) + "\n")
        lost = [one.seen for one in trials if not one.kept]
        broken += len(lost)
        print(f"{name}: {len(trials)} times, {len(lost)} not as promised {lost[:3]}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
