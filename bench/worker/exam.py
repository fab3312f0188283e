"""What ``bench check-backend`` asks of an adapter, inside a worker: facts, which the parent judges.

Worker half. Each question stands alone: one that ends the process costs only its own answer.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import time
import traceback
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from bench.contract import Cell, Optimizer, Program, Settings, Unsupported
from bench.rendezvous import HERE
from bench.worker.ladder import TIMED, first_line
from bench.worker.session import Session

NAMES = (
    *("devices", "absent", "unsupported", "setup", "effective", "build", "export", "check", "load"),
    *("gemm", "stream", "allreduce", "peak_device_bytes", "launch"),
)
ABILITIES = ("save", "restore", "flexible", "tensors", "take", "give")
KINDS = ("cpu", "cuda", "rocm", "tpu")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8", "nonsense")
DISTINCT = 3  # train batches: the fourth step starts from the first again
STEPS = 6
FEW, MANY, TRIES = 2, 16, 5  # the least of some tries: neighbours only ever add time
SIDE = 64  # of the matrices of a product that only has to run
GATE_S = 600.0


class Exam(Session):
    """State between the questions that one worker is asked."""

    COMMANDS = ("ask",)
    ready = False

    def ask(self, *, what: str) -> dict[str, Any]:
        """What was found; or why the framework cannot, or the error that came instead."""
        try:
            found = QUESTIONS[what](self)
            return {"found": json.loads(json.dumps(found))}  # what is no JSON is an error here
        except Unsupported as error:
            return {"unsupported": str(error)}
        except Exception as error:  # noqa: BLE001  # an adapter may raise whatever it likes
            traceback.print_exc()
            return {"error": first_line(error)}
        finally:
            self.row = {"settings": {}}  # it is written as JSON, whatever an adapter put in

    def module(self) -> Any:
        return importlib.import_module(self.job.module)

    def prepare(self) -> None:
        """Import, ask whether the cell can be run, apply its settings, make its batches; once."""
        if not self.ready:
            self.start()
            self.ready = True

    def made(self, cell: Cell | None = None) -> Program:
        """A program of its own, on few train batches."""
        self.prepare()
        step = self.cell.batch * self.cell.world_size
        if self.cell.trains:
            self.batches = self._batches(step, train_batches=DISTINCT)
        return self._build(cell or self.cell, self.batches)

    def effective(self) -> Settings:
        return self.adapter.effective(self.cell)

    def step(self, program: Program) -> None:
        if self.cell.trains:
            program.train_step()
        else:
            program.infer(TIMED)

    def result(self, program: Program) -> Any:
        return program.loss() if self.cell.trains else program.logits()


def names(exam: Exam) -> Any:
    """Which of the contract's names are missing, and what the adapter calls itself."""
    adapter = exam.module()
    missing = [name for name in NAMES if not callable(getattr(adapter, name, None))]
    missing += [name for name in ("NAME", "DIST") if not getattr(adapter, name, "")]
    dist = getattr(adapter, "DIST", "")
    return {
        "missing": missing,
        "name": getattr(adapter, "NAME", ""),
        "version": metadata.version(dist) if dist else "",
    }


def devices(exam: Exam) -> Any:
    """What there is, and the framework's words for the first kind that there is not."""
    adapter = exam.module()
    found = list(adapter.devices())
    lacks = next(kind for kind in (exam.cell.device, *KINDS) if kind not in found)
    return {"devices": found, "lacks": lacks, "words": adapter.absent(lacks)}


def refusals(exam: Exam) -> Any:
    """Reasons for what nobody can run."""
    refused = exam.module().unsupported
    training = replace(exam.cell, format="")
    return {
        "int8 training": refused(replace(training, precision="int8")),
        "an unknown precision": refused(replace(exam.cell, precision="nonsense")),
    }


def launch(exam: Exam) -> Any:
    """The launcher's arguments for two processes here, and whether it can be started."""
    argv = exam.module().launch(replace(exam.cell, world_size=2), HERE)
    return {"argv": argv, "starts": bool(argv) and os.access(argv[0], os.X_OK)}


def settings(exam: Exam) -> Any:
    """What is in force after ``setup``, and what the program adds once it has run."""
    exam.prepare()
    before = exam.effective()
    program = exam.made()
    for _ in range(2):
        exam.step(program)
    program.wait()
    after = {**exam.effective(), **program.facts()}
    program.close()
    return {"asked": exam.cell.threads, "before": before, "after": after}


def kernels(exam: Exam) -> Any:
    """Precisions that a matrix product runs in."""
    exam.prepare()
    return [precision for precision in PRECISIONS if multiplies(exam, precision)]


def multiplies(exam: Exam, precision: str) -> bool:
    kernel = exam.adapter.gemm(exam.cell, precision, SIDE)
    if kernel is None:
        return False
    kernel.run()
    kernel.wait()
    return True


def stream(exam: Exam) -> Any:
    """What adding 1 to three ones makes of them, twice: the operand stays what it is."""
    exam.prepare()
    kernel = exam.adapter.stream(exam.cell, 3)
    kernel.run()
    kernel.run()
    kernel.wait()
    return [float(value) for value in np.ravel(host(kernel.result))]


def host(values: Any) -> Any:
    """The frameworks' ways from an array of theirs to numbers."""
    for name in ("copy_outputs_to_cpu", "asnumpy", "tolist", "numpy"):
        if callable(getattr(values, name, None)):
            found = getattr(values, name)()
            return found[0] if name == "copy_outputs_to_cpu" else found
    return np.asarray(values)


def memory(exam: Exam) -> Any:
    """The framework's own figure of the device's memory, with a program on it."""
    program = exam.made()
    exam.step(program)
    program.wait()
    held = exam.adapter.peak_device_bytes(exam.cell)
    program.close()
    return {"bytes": held}


def capabilities(exam: Exam) -> Any:
    can = importlib.import_module(exam.job.capabilities)
    return [name for name in ABILITIES if not callable(getattr(can, name, None))]


def parity(exam: Exam) -> Any:
    """The gate of every measured cell; it raises where the program is another function."""
    exam.prepare()
    exam.build()
    exam.program.infer(0)
    logits = exam.program.logits()
    exam.gate(seconds_left=GATE_S, steps=0)
    exam.program.close()
    del exam.program
    kept = ("parity_logits_err", "parity_loss_err", "param_count")
    return {**{name: exam.row.get(name) for name in kept}, "dtype": str(logits.dtype)}


def repeats(exam: Exam) -> Any:
    """Losses of a few steps: read at each, read again by a second build, read only at the end, and
    without a learning rate.
    """
    first, again = losses(exam, exam.cell), losses(exam, exam.cell)
    still = losses(exam, replace(exam.cell, optimizer=Optimizer("sgd", lr=0.0)))
    program = exam.made()
    for _ in range(STEPS):
        program.train_step()
    program.wait()
    at_end = program.loss()
    program.close()
    return {"first": first, "again": again, "still": still, "at_end": at_end}


def losses(exam: Exam, cell: Cell) -> list[float]:
    program = exam.made(cell)
    found = []
    for _ in range(STEPS):
        program.train_step()
        found.append(program.loss())
    program.close()
    return found


def wait(exam: Exam) -> Any:
    """Nanoseconds of a few steps, of many, and of reading a result after ``wait``."""
    program = exam.made()
    exam.step(program)
    program.wait()
    taken: dict[str, list[int]] = {"few": [], "many": [], "left": []}
    for _ in range(TRIES):
        for name, count in (("few", FEW), ("many", MANY)):
            started = time.perf_counter_ns()
            for _ in range(count):
                exam.step(program)
            program.wait()
            taken[name].append(time.perf_counter_ns() - started)
        started = time.perf_counter_ns()
        exam.result(program)
        taken["left"].append(time.perf_counter_ns() - started)
    program.close()
    return {name: min(values) for name, values in taken.items()}


def closed(exam: Exam) -> Any:
    """What of a program's own objects is alive once it is closed, and what it still says."""
    program = exam.made()
    exam.step(program)
    exam.result(program)
    return {"alive": close(program), "facts": program.facts()}


def close(program: Program) -> list[str]:
    """Names of its own objects that are alive all the same."""
    watched = {}
    for name, value in vars(program).items():
        if not isinstance(value, (Cell, FunctionType)):  # a function is its module's
            try:
                watched[name] = weakref.ref(value)
            except TypeError:  # plain numbers and containers hold no memory of their own
                continue
            del value
    program.close()
    gc.collect()
    return [name for name, reference in watched.items() if reference() is not None]


def torn(exam: Exam) -> Any:
    """What the adapter's check says to its own file, and to the same file cut short."""
    program = exam.made()
    folder = exam.job.exported.with_name(f"torn-{exam.cell.format}")
    folder.mkdir()
    facts = exam.adapter.export(exam.cell, program, folder)
    program.close()
    whole = refusal(exam, folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    return {"facts": facts, "whole": whole, "cut": refusal(exam, folder)}


def refusal(exam: Exam, folder: Path) -> str:
    try:
        exam.adapter.check(exam.cell, folder)
    except Exception as error:  # noqa: BLE001  # frameworks raise types of their own
        return first_line(error)
    return ""


QUESTIONS: Mapping[str, Callable[[Exam], Any]] = {
    one.__name__: one
    for one in (
        *(names, devices, refusals, launch, settings, kernels, stream, memory, capabilities),
        *(parity, repeats, wait, closed, torn),
    )
}
