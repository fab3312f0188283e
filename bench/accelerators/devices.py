"""The devices of one run: what each cell may see, whether it is there, and whether it is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.accelerators import choose
from bench.accelerators.ask import DEADLINE_S, Answer, ask
from bench.accelerators.choose import Share
from bench.accelerators.gauge import Gauge, power_w
from bench.contract import Cell
from bench.envs import Env
from bench.errors import EnvError, UsageError

ALLOW = "--allow-busy"


class Devices:
    """asked: kind of device -> the indexes or UUIDs named with it."""

    def __init__(
        self,
        asked: Mapping[str, Sequence[str]] | None = None,
        *,
        allow_busy: bool = False,
        deadline_s: float | None = None,
    ) -> None:
        self.asked = asked or {}
        self.allow_busy = allow_busy
        self.deadline_s = deadline_s or DEADLINE_S
        self._answers: dict[tuple[str, str, str], Answer] = {}
        self._idle_w: dict[tuple[str, ...], float] = {}

    def share(self, cell: Cell) -> Share:
        return choose.share(cell.device, self.asked.get(cell.device, ()), cell.processes)

    def check(self, cells: Sequence[Cell]) -> None:
        """Before anything is built: UsageError where somebody computes on what will be used."""
        for kind, count in dict.fromkeys((cell.device, cell.processes) for cell in cells):
            mine = choose.share(kind, self.asked.get(kind, ()), count)
            if not self.allow_busy and (who := choose.busy(mine, patience_s=0.0)):
                raise UsageError(
                    f"{who}: end it, choose another with --device {kind}:INDEX, or measure beside"
                    f" it with {ALLOW}"
                )

    def lacks(self, cell: Cell, environment: Callable[[str, str], Env]) -> str | None:
        """Why the cell's device cannot be had, in the framework's words; asked once a backend.

        EnvError where there is no environment to ask.
        """
        if cell.device == "cpu":
            return None
        mine = self.share(cell)
        key = (cell.backend, cell.device, str(sorted(cell.settings.items())))
        if key not in self._answers:
            python = environment(cell.backend, cell.device).python
            self._answers[key] = ask(cell, python, mine, deadline_s=self.deadline_s)
        found = self._answers[key]
        if cell.device not in found.devices:
            return f"{cell.backend} finds no {cell.device} here: {found.words}"
        if mine.devices and len(mine.devices) < cell.processes:
            return f"world size {cell.world_size}: there are {len(mine.devices)} devices"
        return None

    def gauge(self, cell: Cell) -> Gauge:
        """To read the cell's devices with; EnvError where they are not free any more."""
        mine = self.share(cell)
        if not self.allow_busy and (who := choose.busy(mine)):
            raise EnvError(f"{who}; {ALLOW} measures beside it")
        gauge = Gauge(mine)
        gauge.idle_w = self._least_power(mine, power_w(gauge.before))
        return gauge

    def _least_power(self, mine: Share, drawn: float | None) -> float | None:
        """The least that was seen before a cell: right after another a device is still awake."""
        key = mine.tokens or ()
        if drawn is not None:
            self._idle_w[key] = min(drawn, self._idle_w.get(key, drawn))
        return self._idle_w.get(key)
