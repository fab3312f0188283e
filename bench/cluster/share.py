"""Run shares of a pilot on the machine that they were sent to.

``python -m bench.cluster.share FOLDER SHARE...``: what an engine's jobs do. Cells that an earlier
try has finished are not run again. Why a try ended early stands beside its rows.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bench import backends_index, cli, grid, options, pilot, pilot_options, running
from bench.cluster.plan import PilotFolder, Plan, Share
from bench.contract import BenchError
from bench.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, UsageError

TIME_LIMIT = "time limit"
SPARE_S = 5.0
"""Before the engine's own end of a job: to end the workers and to write down why."""


def main(argv: Sequence[str]) -> int:
    folder = PilotFolder(Path(argv[0]))
    # Slurm's and submitit's word of a near end: workers, which inherit this, must not die of it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        plan = folder.plan()
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, max(1.0, plan.minutes * 60 - SPARE_S))
        by_name = {share.name: share for share in plan.shares}
        for name in argv[1:]:
            _run(folder, plan, by_name[name])
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_OK


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt(TIME_LIMIT)


def _run(folder: PilotFolder, plan: Plan, share: Share) -> None:
    os.chdir(plan.cwd)
    arguments = pilot_options.parsed(cli.command_line(), ["run", *plan.argv])
    console = Console(highlight=False, force_terminal=False)
    say = partial(console.print, soft_wrap=True, markup=False)
    planned = {
        task.key: task
        for task in grid.plan(options.request(arguments, say=say), entry=backends_index.find)
    }
    if unknown := [key for key in share.keys if key not in planned]:
        raise UsageError(
            f"{folder.path}: cell {unknown[0][0]} is not one of this checkout's: the code or a file"
            " has changed since bench submit; submit anew"
        )
    done = folder.finished(share.name)
    left = [planned[key] for key in share.keys if key not in done]
    if not left:
        return
    with folder.attempt(share.name) as file, running.stoppable():
        try:
            pilot.run(
                left,
                file,
                run_id=plan.run_id,
                options=running.how(arguments, again=None),
                console=console,
            )
        except KeyboardInterrupt as stopped:
            why = str(stopped) or "stopped by a signal"
            _end(file.path, why)
            raise
        if any(row["status"] == "interrupted" for row in file.rows):
            _end(file.path, "stopped and continued")


def _end(rows: Path, why: str) -> None:
    """Beside the rows, why some are missing that the job had the time to tell of."""
    rows.with_suffix(".end").write_text(f"{why}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
