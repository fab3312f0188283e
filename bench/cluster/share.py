"""Run shares of a pilot on the machine that they were sent to.

``python -m bench.cluster.share FOLDER SHARE...``: what an engine's jobs do. Cells that an earlier
try has finished are not run again. Why a try ended early stands beside its rows. Of the shares
behind ``--index`` the one whose number Kubernetes gives is run.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bench import backends_index, cli, grid, options, pilot_options
from bench.cluster.plan import PilotFolder, Plan, Share
from bench.contract import BenchError
from bench.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, UsageError
from bench.run import command as run_command
from bench.run import pilot

TIME_LIMIT = "time limit"
SPARE_S = 5.0
"""Before the engine's own end of a job: to end the workers and to write down why."""
INDEX = "JOB_COMPLETION_INDEX"
"""Of an Indexed Job of Kubernetes."""


def main(argv: Sequence[str]) -> int:
    folder = PilotFolder(Path(argv[0]))
    # Slurm's and submitit's word of a near end: workers, which inherit this, must not die of it.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        plan = folder.plan()
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, max(1.0, plan.minutes * 60 - SPARE_S))
        for share in _named(plan, _mine(argv[1:])):
            _run(folder, plan, share)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_OK


def _mine(names: Sequence[str]) -> Sequence[str]:
    """The names, or of those behind ``--index`` this job's."""
    if names[:1] != ["--index"]:
        return names
    number, found = os.environ.get(INDEX, ""), names[1:]
    if not (number.isdecimal() and int(number) < len(found)):
        raise UsageError(f"{INDEX} is {number!r}, and not the number of one of {len(found)} shares")
    return [found[int(number)]]


def _named(plan: Plan, names: Sequence[str]) -> list[Share]:
    by_name = {share.name: share for share in plan.shares}
    if lost := [name for name in names if name not in by_name]:
        raise UsageError(
            f"the plan has no share {lost[0]!r}: another pilot is in its folder by now"
        )
    return [by_name[name] for name in names]


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
    with folder.attempt(share.name) as file, run_command.stoppable():
        try:
            pilot.run(
                left,
                file,
                run_id=plan.run_id,
                options=run_command.how(arguments, again=None),
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
