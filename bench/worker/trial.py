"""A capability's cell inside its worker: tried, and what came out is checked.

Worker half. ``Incapable`` is raised where the framework did something, and it was wrong.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from bench import safetensors
from bench.capabilities import Capabilities
from bench.contract import Batch, Batches, Incapable, Unsupported
from bench.dims import ours
from bench.parity import BOUNDS, relative_error
from bench.worker import payload
from bench.worker.ladder import first_line
from bench.worker.session import Session
from workloads import numpy_forward

NEXT_STEPS = 2
"""The first loss after a checkpoint shows the weights, the second also the optimizer's state."""

SAME_LOSS = 1e-6
"""Relative; a few of float32's roundings (6e-8): a process may add in another order."""

SHARES = ((1.0, 1.0), (0.5, 0.5), (0.75, 0.25), (0.25, 0.75))
"""Of the gate batch's samples and tokens. The first is for the compiler to learn from."""

MARKER = "code-was-executed"


class Trial(Session):
    """State between the commands of a capability's cell."""

    COMMANDS = (
        *("start", "build", "gate", "finish"),
        *("save", "resume", "poison", "load", "divided", "reshape", "tensors", "exchange"),
    )

    can: Capabilities

    def start(self) -> dict[str, Any]:
        reply = super().start()
        can: Any = importlib.import_module(self.job.capabilities)
        self.can = can
        return reply

    def save(self) -> dict[str, Any]:
        """Write a checkpoint; then train on, for what a resumed process has to equal."""
        self.job.exported.mkdir(parents=True, exist_ok=self.job.ranks > 1)
        self.can.save(self.program, self.job.exported)
        return {"losses": self._next_losses(), "done": len(self.trace.losses)}

    def resume(self, *, losses: list[float], done: int) -> dict[str, Any]:
        """Go on in a fresh process, with the batches that come after ``done`` steps."""
        train = self.batches.train
        self.batches = Batches(train[done:] + train[:done], self.batches.infer)
        self.build()
        self.can.restore(self.program, self.job.exported)
        ours = self._next_losses()
        pairs = zip(ours, losses)  # of one length; 3.9 has no strict
        error = max(abs(one - other) / abs(other) for one, other in pairs)
        self._note(losses=losses, resumed=ours, error=error)
        if not error <= SAME_LOSS:
            raise Incapable(
                f"the next losses after resuming differ by {error:.2g} (bound {SAME_LOSS:.0e})"
            )
        return {}

    def poison(self) -> dict[str, Any]:
        """Write a checkpoint, with the payload in its pickles."""
        if self.cell.trains:
            self.program.train_step()  # some optimizers have no state before it
            self.program.wait()
        self.job.exported.mkdir(parents=True)
        self.can.save(self.program, self.job.exported)
        names = payload.poison(self.job.exported, self._marker())
        return {"poisoned": names}

    def load(self, *, poisoned: list[str]) -> dict[str, Any]:
        """Load the poisoned checkpoint by default and see whether the payload was executed."""
        refused = ""
        try:
            self.can.restore(self.program, self.job.exported)
        except Unsupported:
            raise
        except Exception as error:  # noqa: BLE001  # that it refuses is the answer hoped for
            refused = first_line(error)
        executed = self._marker().exists()
        self._note(pickles=poisoned, executed=executed, refused=refused)
        if executed:
            raise Incapable(f"loading {', '.join(poisoned)} by default ran the code in it")
        if poisoned and not refused:
            raise LookupError(f"the loader never read {', '.join(poisoned)}")
        return {}

    def divided(self) -> dict[str, Any]:
        """Equal losses do not show that anything was split: the program's own facts have to."""
        count = self.program.facts().get("sharded", 0)
        self._note(sharded=count)
        if not count:
            raise Incapable("every device holds all parameters and all optimizer state")
        return {}

    def reshape(self) -> dict[str, Any]:
        """Batches of several shapes through one compiled program."""
        weights = safetensors.read(self.job.weights)
        flexible = self.can.flexible(self.cell, weights)
        errors: list[float] = []
        compiled: list[int] = []
        for samples, tokens in SHARES:
            batch = part(self.batches.infer[0], samples, tokens)
            reference = numpy_forward.logits(ours(self.cell.dims), weights, batch)
            errors.append(relative_error(flexible.infer(batch), reference))
            compiled.append(flexible.programs())
        anew = compiled[-1] - compiled[0]  # what the first shape took is no matter
        self._note(shapes=len(SHARES), compiled_anew=anew, error=max(errors))
        if not max(errors) <= (bound := BOUNDS[self.cell.precision].logits):
            raise Incapable(f"logits of other shapes off by {max(errors):.2g} (bound {bound:.0e})")
        if anew:
            raise Unsupported(f"{len(SHARES) - 1} more shapes were compiled anew {anew} times")
        return {}

    def tensors(self) -> dict[str, Any]:
        """Every tensor of the weight file, against our own reading of the bytes."""
        expected = safetensors.read(self.job.weights)
        found = self.can.tensors(self.job.weights)
        wrong = [name for name in expected if not _equal(found.get(name), expected[name])]
        self._note(tensors=len(expected))
        if wrong or len(found) != len(expected):
            raise Incapable(f"{len(wrong)} of {len(expected)} tensors differ, such as {wrong[:1]}")
        return {}

    def exchange(self) -> dict[str, Any]:
        """NumPy's array to the framework and back; whether the memory stays the same is noted."""
        given = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        back = np.from_dlpack(self.can.give(self.can.take(given)))
        self._note(zero_copy=bool(np.shares_memory(given, back)))
        if not _equal(back, given):
            raise Incapable("an array came back from DLPack with other values")
        return {}

    def _next_losses(self) -> list[float]:
        losses = []
        for _ in range(NEXT_STEPS):
            self.program.train_step()
            losses.append(self.program.loss())
        return losses

    def _note(self, **facts: Any) -> None:
        self.row["settings"] = {**self.row["settings"], "capability": facts}

    def _marker(self) -> Path:
        return self.job.exported.with_name(MARKER)


def part(batch: Batch, samples: float, tokens: float) -> Batch:
    """The first of a text batch's samples, and of each the first tokens."""
    count, length = batch["ids"].shape
    rows, columns = max(1, int(count * samples)), max(1, int(length * tokens))
    return {
        name: np.ascontiguousarray(value[:rows, :columns] if value.ndim == 2 else value[:rows])
        for name, value in batch.items()
    }


def _equal(found: Any, expected: np.ndarray) -> bool:
    """Type, shape and every bit."""
    if not isinstance(found, np.ndarray):
        return False
    alike = found.dtype == expected.dtype and found.shape == expected.shape
    return alike and found.tobytes() == expected.tobytes()
