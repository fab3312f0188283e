"""An export cell inside its two workers: one writes the file, another climbs the ladder with it.

Worker half.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.worker import ladder, samples
from bench.worker.session import Session


class Exporting(Session):
    """State between the commands of an export cell's worker."""

    COMMANDS = (*Session.COMMANDS, "export", "climb", "accuracy")

    def export(self) -> dict[str, Any]:
        """Write the file, and beside it this framework's own logits of the gate batch."""
        job = self.job
        job.exported.mkdir(parents=True)
        self.row["export_rung"] = "none"
        facts = self._timed(
            "export_s", lambda: self.adapter.export(self.cell, self.program, job.exported)
        )
        self.row["settings"].update({f"export_{key}": value for key, value in facts.items()})
        written = [path for path in job.exported.rglob("*") if path.is_file()]
        self.row["export_mib"] = sum(path.stat().st_size for path in written) / 2**20
        self.row["export_rung"] = "exported"
        job.logits.mkdir()
        for index in (ladder.GATE, ladder.TIMED):
            self.program.infer(index)
            np.save(job.logits / f"{index}.npy", self.program.logits(), allow_pickle=False)
        return {}

    def climb(self) -> dict[str, Any]:
        """Climb the export ladder with a file that another process has written."""
        files = self.job.logits.glob("*.npy")
        theirs = {int(file.stem): np.load(file, allow_pickle=False) for file in files}
        climbed = ladder.climb(self.adapter, self.cell, self.job.exported, self.batches, theirs)
        self.row["export_rung"] = climbed.rung
        self.row["export_max_abs_err"] = climbed.max_abs_err
        self.row["load_s"] = climbed.load_s
        self.row["serve_import_s"] = self.row["import_s"]
        if climbed.program is not None:
            self.program = climbed.program
            self.row["settings"] = self._effective()
        return {"rung": climbed.rung, "error": climbed.error}

    def accuracy(self) -> dict[str, Any]:
        """Held-out accuracy of the served file, beside the float64 reference's."""
        held_out = samples.judged(self.batches.infer)
        if not held_out:  # noise has no right answers
            return {}
        self.row["accuracy"] = self._accuracy(held_out, first=ladder.TIMED + 1)
        self.row["accuracy_reference"] = self.trace.accuracy
        return {}

    def finish(self) -> dict[str, Any]:
        if self.row.get("export_rung") == "dynamic_batch" and self.times.step_ns:
            self.row["export_rung"] = "latency"
        return super().finish()
