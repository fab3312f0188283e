"""What the user sees while a pilot runs: one line per finished cell, and an estimate.

On a terminal a live line shows the phase; elsewhere only whole lines are printed. Nothing is drawn
on a timer: a redraw would cost the measured worker CPU time.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from bench import machine
from bench.grid import Task
from bench.trials import BATCH, TRIAL


class Progress:
    """Counts tasks; learns from finished ones how good the specs' estimates are."""

    def __init__(self, console: Console, tasks: list[Task]) -> None:
        self.console = console
        self.total = len(tasks)
        self.left_s = sum(_estimate(task) for task in tasks)
        self.done = 0
        self.spent_s = self.promised_s = 0.0
        self.current = ""
        # refresh_per_second is the spinner's; it is kept low because it runs while workers measure.
        self.live = Status("", console=console, refresh_per_second=0.5)
        if console.is_terminal:
            self.live.start()
        if tasks:
            cell = tasks[0].cell
            name = machine.device_name(cell.device) or cell.device
            self.note(
                f"{_count(self.total, 'cell')}, {_count(cell.threads, 'thread')}, {name}, "
                f"{self.remaining()} "
                "(first installations not counted)"
            )

    def more(self, tasks: list[Task]) -> None:
        """Repeats that a precision target asks for."""
        self.total += len(tasks)
        self.left_s += sum(_estimate(task) for task in tasks)

    def start(self, task: Task) -> None:
        self.current = _label(task)
        self.phase("start")

    def phase(self, name: str) -> None:
        """The worker's phase, or what is being installed."""
        text = f"[{self.done + 1}/{self.total}] {self.current}: {name}, {self.remaining()}"
        self.live.update(Text(text))

    def note(self, text: str) -> None:
        """A line that stays, such as the progress of an installation."""
        # As it is: ":100:" in a compiler's message would become an emoji.
        self.console.print(Text(text), soft_wrap=True)

    def finish(self, task: Task, row: dict[str, Any]) -> None:
        self.done += 1
        self.left_s -= _estimate(task)
        if row["status"] != "unsupported":  # answered at once, it tells nothing of the machine
            self.spent_s += row["wall_s"]
            self.promised_s += _estimate(task)
        after = self.remaining() if self.done < self.total else "done"
        line = f"[{self.done}/{self.total}] {_label(task)}: {outcome(row)}"
        self.note(f"{line} ({row['wall_s']:.0f} s; {after})")

    def remaining(self) -> str:
        """The specs' estimates, corrected by how the finished cells compared with theirs."""
        scale = self.spent_s / self.promised_s if self.promised_s else 1.0
        seconds = self.left_s * scale
        if seconds < 60:
            return f"about {max(1, round(seconds)):d} s left"
        return f"about {seconds / 60:.0f} min left"

    def close(self) -> None:
        self.live.stop()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def outcome(row: dict[str, Any]) -> str:
    """A row in a few words."""
    rate = row.get("samples_per_s") or row.get("infer_samples_per_s")
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}"
    return f"ok, {rate:.4g} samples/s" if rate else "ok"


def _label(task: Task) -> str:
    cell = task.cell
    mode = "" if cell.mode in ("eager", "compiled") and cell.format else f" {cell.mode}"
    kind = cell.settings.get(TRIAL)
    trial = f" batch {cell.batch}" if kind == BATCH else f" ({kind})" if kind else ""
    return f"{cell.backend} {_what(cell)} {cell.size} {cell.precision}{mode}{trial}"


def _what(cell: Any) -> str:
    return f"{cell.workload} {cell.model} {cell.format}" if cell.format else str(cell.workload)


def _estimate(task: Task) -> float:
    return 0.0 if task.refused else task.spec.estimate_s
