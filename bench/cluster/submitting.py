"""Jobs through submitit, in a process that is not waited for longer than it should take."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cluster import client
from bench.cluster.engines import EngineError

PATIENCE_S = 120.0


def submit(
    engine: str, commands: Sequence[Sequence[str]], *, log: Path, how: Mapping[str, Any]
) -> list[str]:
    """The jobs' ids, one for each command. EngineError with the engine's last words."""
    with tempfile.TemporaryDirectory() as scratch:
        task, out = Path(scratch) / "task.json", Path(scratch) / "ids.json"
        given = {"engine": engine, "log": str(log), "how": how, "out": str(out)}
        task.write_text(json.dumps({**given, "commands": [list(one) for one in commands]}))
        command = [sys.executable, "-m", "bench.cluster.handing", str(task)]
        code, _, said = client.ask(command, patience_s=PATIENCE_S)
        if code:
            words = [line for line in said.strip().splitlines() if line.strip()]
            last = words[-1].strip() if words else f"exit code {code}"
            raise EngineError(f"{engine} took no jobs: {last}")
        ids: list[str] = json.loads(out.read_text())
        return ids
