"""Hand jobs to submitit (``python -m bench.cluster.handing TASK.json``): the ids go to ``out``.

A process of its own, which the caller can end: submitit waits for its engine's programs for ever.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit

NAME = "bench"


def main(argv: Sequence[str]) -> int:
    task = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    executor = _executor(task["engine"], Path(task["log"]), task["how"])
    with executor.batch():
        jobs = [
            executor.submit(submitit.helpers.CommandFunction(command, verbose=True))
            for command in task["commands"]
        ]
    Path(task["out"]).write_text(json.dumps([job.job_id for job in jobs]), encoding="utf-8")
    return 0


def _executor(engine: str, log: Path, how: Mapping[str, Any]) -> submitit.Executor:
    if engine == "local":
        local = submitit.LocalExecutor(log)
        # Its own deadline is the last resort: the shares keep the time themselves.
        local.update_parameters(timeout_min=how["time"] + 5, stderr_to_stdout=True)
        return local
    slurm = submitit.SlurmExecutor(log)
    given = {key: how[key] for key in ("partition", "gres", "account") if how.get(key)}
    slurm.update_parameters(
        job_name=NAME,
        time=how["time"],
        array_parallelism=how["array_parallelism"],
        stderr_to_stdout=True,
        # No step below the job: submitit's own signal before the end goes to steps, and would end a
        # share, or a worker, while there is time left.
        use_srun=False,
        additional_parameters=dict(how["set"]),
        **given,
    )
    return slurm


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
