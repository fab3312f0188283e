"""What running a cell needs from the pilot around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.accelerators.devices import Devices
from bench.envs import Env
from bench.grid import Task
from bench.rendezvous import Rendezvous
from bench.run.serving import consumer_of
from workloads import SizeSpec
from workloads.prepare import Prepared

OWN_TARGET = 0.0


@dataclass(frozen=True)
class Tools:
    """environment: of a backend on a device; raises EnvError. prepared: the files of a model and
    size. target: held-out accuracy to train to, ``OWN_TARGET`` for the workload's, None for no
    such training. say: is told the phase, for the progress line. meet: where the next launch's
    processes do.
    """

    environment: Callable[[str, str], Env]
    prepared: Callable[[str, str], Prepared]
    say: Callable[[str], None]
    devices: Devices = field(default_factory=Devices)
    quality: bool = False
    target: float | None = None
    timeout_s: float | None = None
    memory_limit: int | None = None
    meet: Callable[[], Rendezvous] = Rendezvous

    def target_of(self, spec: SizeSpec) -> float:
        """The accuracy that a cell is trained to; 0 for none, as where there is none to reach."""
        asked = spec.target if self.target == OWN_TARGET else self.target
        return asked if asked and spec.quality_steps else 0.0

    def refused(self, task: Task) -> str | None:
        """What the plan knew already; or that this backend, or the exported file's reader, lacks
        the device.
        """
        if task.refused is not None:
            return task.refused
        users = {cell.backend: cell for cell in (task.cell, consumer_of(task.cell))}
        lacks = (self.devices.lacks(cell, self.environment) for cell in users.values())
        return next(filter(None, lacks), None)
