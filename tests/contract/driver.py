"""Runs checks of one adapter under the backend's own interpreter: stdlib and numpy only.

``python driver.py DESCRIPTOR``. Each line of standard input is a JSON pair of paths, of tasks and
of where their results shall stand; a byte on the descriptor says that they do. A task names the
adapter's module, the check, the cell and the prepared files; a result is JSON, so what
``effective`` says must be JSON too. The assertions are made in the tests: here is only what an
adapter has to be asked.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from bench import safetensors
from bench.capabilities import PROCESSES
from bench.contract import NODES, Batches, Cell, Incapable, Optimizer, Unsupported
from bench.generation import NEW_TOKENS, Answers
from bench.job import PATHS, Job
from bench.parity import Frozen
from bench.pipeline import Samples
from bench.rendezvous import HERE, Rendezvous
from bench.worker.exam import close
from bench.worker.trial import Trial
from workloads import batches as making

DISTINCT = 3  # train batches: the fourth step starts from the first again
STEPS = 6
GATE, OTHER = 0, 1  # infer batches of two sizes
NAMES = (
    *("devices", "absent", "unsupported", "setup", "effective", "build", "export", "check", "load"),
    *("gemm", "stream", "allreduce", "peak_device_bytes", "launch"),
)
QUESTIONS = ("save", "restore", "flexible", "tensors", "take", "give")
STATUSES = {Unsupported: "unsupported", Incapable: "failed"}  # as the worker has them
FEW, MANY = 2, 16
TRIES = 5  # the best of them: neighbours on the machine only ever add time


class Task:
    """One adapter, one cell and its files."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.adapter: Any = importlib.import_module(task["module"])
        self.capabilities: str = task["capabilities"]
        self.generates: str = task["generates"]
        self.cell = Cell.from_json(task["cell"])
        self.files = {name: Path(path) for name, path in task["files"].items()}
        self.cells = {name: Cell.from_json(cell) for name, cell in task["cells"].items()}

    def batches(self) -> Batches:
        data, model = safetensors.read(self.files["data"]), self.cell.model
        batch = self.cell.batch if self.cell.trains else 16
        made = making.make(data, model=model, batch=batch, train_batches=DISTINCT, infer_batches=1)
        three = making.make(data, model=model, batch=3, train_batches=1, infer_batches=1)
        return Batches(made.train, made.infer + three.infer)

    def build(self, cell: Cell | None = None) -> Any:
        weights = safetensors.read(self.files["weights"])
        return self.adapter.build(cell or self.cell, weights, self.batches())


def describe(task: Task) -> dict[str, Any]:
    """The adapter's names, devices, kernels, and answers to cells that nobody can run."""
    adapter = task.adapter
    answers = {name: adapter.unsupported(cell) for name, cell in task.cells.items()}
    adapter.setup(task.cell)
    can = importlib.import_module(task.capabilities)
    precisions = ("fp32", "tf32", "bf16", "fp16", "int8", "nonsense")
    return {
        "missing": [name for name in NAMES if not callable(getattr(adapter, name, None))],
        "name": adapter.NAME,
        "dist": adapter.DIST,
        "devices": adapter.devices(),
        "absent": adapter.absent("cuda"),
        "unsupported": answers,
        "incapable": [name for name in QUESTIONS if not callable(getattr(can, name, None))],
        "launch": launches(task),
        "kernels": [name for name in precisions if multiplies(task, name)],
        "streamed": streamed(task),
    }


def launches(task: Task) -> list[list[str]]:
    """Of two processes on this machine, and of four on two machines."""
    two = dataclasses.replace(task.cell, world_size=2)
    four = dataclasses.replace(task.cell, world_size=4, settings={NODES: "2"})
    second = Rendezvous(nodes=2, node_rank=1, host="first.example", port=29400)
    return [task.adapter.launch(two, HERE), task.adapter.launch(four, second)]


def multiplies(task: Task, precision: str) -> bool:
    """Whether there is a matrix product in this precision; it must then run."""
    kernel = task.adapter.gemm(task.cell, precision, 64)
    if kernel is None:
        return False
    kernel.run()
    kernel.wait()
    return True


def streamed(task: Task) -> list[float]:
    """What adding 1 to numbers makes of them, twice: the operand stays what it is."""
    kernel = task.adapter.stream(task.cell, 3)
    kernel.run()
    kernel.run()
    kernel.wait()
    return [float(value) for value in host(kernel.result)]


def host(values: Any) -> Any:
    """The frameworks' ways from an array of theirs to numbers."""
    if hasattr(values, "copy_outputs_to_cpu"):
        return values.copy_outputs_to_cpu()[0]
    for name in ("asnumpy", "tolist", "numpy"):
        if hasattr(values, name):
            return getattr(values, name)()
    raise TypeError(f"no way from {type(values).__name__} to numbers")


def train(task: Task) -> dict[str, Any]:
    """Losses read at every step, the last one read at the end, with no learning rate, settings."""
    adapter, cell = task.adapter, task.cell
    if reason := adapter.unsupported(cell):
        return {"unsupported": reason}
    adapter.setup(cell)
    before = adapter.effective(cell)
    first = stepwise(task.build())
    still = stepwise(task.build(dataclasses.replace(cell, optimizer=Optimizer("sgd", lr=0.0))))
    program = task.build()
    frozen = Frozen.of(program)
    for _ in range(STEPS):
        program.train_step()
    program.wait()
    at_end = program.loss()
    program.infer(GATE)
    logits = program.logits()
    effective = {**adapter.effective(cell), **program.facts()}
    return {
        "losses": first,
        "still": still,
        "at_end": at_end,
        "n_params": program.n_params,
        "optimizer_bytes": program.optimizer_bytes(),
        "frozen": frozen.count,
        "melted": Frozen.of(program) != frozen,
        "logits": summary(logits),
        "before": before,
        "effective": effective,
        "seconds": seconds(program, program.train_step, read=program.loss),
        "alive": close(program),
        "closed": program.facts(),
    }


def dtypes(task: Task) -> dict[str, Any]:
    """The fact, read after two steps."""
    if reason := task.adapter.unsupported(task.cell):
        return {"unsupported": reason}
    task.adapter.setup(task.cell)
    program = task.build()
    before = program.facts()
    for _ in range(2):
        program.train_step()
    program.wait()
    after = program.facts()
    program.close()
    return {"before": before.get("dtypes"), "after": after["dtypes"]}


def overflow(task: Task) -> dict[str, Any]:
    """Three steps of images, and the same with a batch before the last whose gradients are NaN.

    Asks for no ``unsupported``: a CPU emulates what a GPU has.
    """
    task.adapter.setup(task.cell)
    given = task.batches()
    first, second, third = given.train
    spoilt = {**first, "image": np.full_like(first["image"], np.nan)}
    runs = {}
    for name, train in {"whole": given.train, "spoilt": [first, second, spoilt, third]}.items():
        weights = safetensors.read(task.files["weights"])
        program = task.adapter.build(task.cell, weights, Batches(train, given.infer))
        seen = []
        for _ in train:
            program.train_step()
            loss = program.loss()
            seen.append((str(loss), program.facts()["loss_scale"]))  # JSON has no NaN
        runs[name] = {"seen": seen, "dtypes": program.facts()["dtypes"]}
        program.close()
    return runs


def recompute(task: Task) -> dict[str, Any]:
    """Losses, and logits after the steps, with and without activation checkpointing."""
    if reason := task.adapter.unsupported(task.cell):
        return {"unsupported": reason}
    found = {}
    for name, cell in {**task.cells, "recomputed": task.cell}.items():
        task.adapter.setup(cell)
        program = task.build(cell)
        losses = []
        for _ in range(STEPS):
            program.train_step()
            losses.append(program.loss())
        program.infer(GATE)
        blocks = program.facts().get("recompute")
        found[name] = {"losses": losses, "logits": program.logits().tolist(), "blocks": blocks}
        program.close()
    return found


def stepwise(program: Any) -> list[float]:
    losses = []
    for _ in range(STEPS):
        program.train_step()
        losses.append(program.loss())
    program.close()
    return losses


def seconds(program: Any, run: Any, *, read: Any) -> dict[str, float]:
    """The best times of a few runs, of many, and of reading a result after ``wait``."""
    run()
    program.wait()
    taken: dict[str, list[float]] = {"few": [], "many": [], "left": []}
    for _ in range(TRIES):
        for name, count in (("few", FEW), ("many", MANY)):
            started = time.perf_counter()
            for _ in range(count):
                run()
            program.wait()
            taken[name].append(time.perf_counter() - started)
        started = time.perf_counter()
        read()
        taken["left"].append(time.perf_counter() - started)
    return {name: min(values) for name, values in taken.items()}


def export(task: Task) -> dict[str, Any]:
    """Write the file, and the exporter's own logits beside it."""
    adapter, cell, folder = task.adapter, task.cell, task.files["folder"]
    adapter.setup(cell)
    program = task.build()
    facts = adapter.export(cell, program, folder)
    saved = {}
    for index in (GATE, OTHER):
        program.infer(index)
        program.wait()
        saved[str(index)] = program.logits()
    np.savez(task.files["logits"], **saved)
    effective = {**adapter.effective(cell), **program.facts()}
    return {
        "facts": facts,
        "logits": [summary(value) for value in saved.values()],
        "n_params": program.n_params,
        "effective": effective,
        "seconds": seconds(program, lambda: program.infer(GATE), read=program.logits),
        "alive": close(program),
    }


def read(task: Task) -> dict[str, Any]:
    """Check and load the file, compare with the exporter's logits, refuse it cut short."""
    adapter, cell, folder = task.adapter, task.cell, task.files["folder"]
    adapter.setup(cell)
    adapter.check(cell, folder)
    program = adapter.load(cell, folder, task.batches())
    errors, sizes = [], []
    with np.load(task.files["logits"], allow_pickle=False) as theirs:
        for index in (GATE, OTHER):
            program.infer(index)
            logits = program.logits()
            errors.append(float(np.abs(logits - theirs[str(index)]).max()))
            sizes.append(len(logits))
    alive = close(program)
    return {"errors": errors, "sizes": sizes, "alive": alive, "refused": cut(task)}


def cut(task: Task) -> str:
    """What the adapter says to a file that ends early."""
    folder = task.files["folder"]
    for path in [path for path in folder.iterdir() if path.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    return refusal(task, folder)


def check(task: Task) -> dict[str, Any]:
    """What the adapter says to the file in each of some folders."""
    folders = [path for path in task.files["folder"].iterdir() if path.is_dir()]
    return {folder.name: refusal(task, folder) for folder in folders}


def refusal(task: Task, folder: Path) -> str:
    """Why the adapter's check refuses the file; empty if it finds nothing wrong."""
    try:
        task.adapter.check(task.cell, folder)
    except Exception as error:  # noqa: BLE001  frameworks raise types of their own
        return f"{type(error).__name__}: {error}"
    return ""


def fed(task: Task) -> dict[str, Any]:
    """Losses of an epoch and a step more, whose batches the framework's input pipeline made."""
    if reason := task.adapter.unsupported(task.cell):
        return {"unsupported": reason}
    task.adapter.setup(task.cell)
    given, model = task.batches(), task.cell.model
    columns = making.columns(safetensors.read(task.files["data"]), "train", model)
    few = {name: column[: DISTINCT * task.cell.batch + 1] for name, column in columns.items()}
    given = Batches(given.train, given.infer, Samples(few))
    program = task.adapter.build(task.cell, safetensors.read(task.files["weights"]), given)
    losses = []
    for _ in range(DISTINCT + 1):
        program.train_step()
        losses.append(program.loss())
    return {"losses": losses, "input": program.facts()["input"], "alive": close(program)}


def generate(task: Task) -> dict[str, Any]:
    """All of the reference's prompts twice, by one program."""
    if reason := task.adapter.unsupported(task.cell):
        return {"unsupported": reason}
    task.adapter.setup(task.cell)
    answers = Answers.read(task.files["trace"]).of(task.cell.batch)
    prompts = safetensors.read(task.files["data"])["test.ids"][answers.rows]
    module: Any = importlib.import_module(task.generates)
    program = module.start(task.cell, safetensors.read(task.files["weights"]), prompts)
    rounds = []
    for _ in range(2):
        program.prefill()
        chosen = [program.tokens()]
        first = program.logits()
        for _ in range(NEW_TOKENS - 1):
            program.decode()
            chosen.append(program.tokens())
        program.wait()
        rounds.append(np.stack(chosen).tolist())  # only now: none may be a view of the next
    return {
        "rounds": rounds,
        "logits": summary(first),
        "n_params": program.n_params,
        "cache": dataclasses.asdict(program.cache()),
        "effective": {**task.adapter.effective(task.cell), **program.facts()},
        "alive": close(program),
        "closed": program.facts(),
    }


def capability(task: Task) -> dict[str, Any]:
    """The answer to a question that takes one process: the status and reason of its row."""
    paths = {name: Path(os.devnull) for name in PATHS}
    paths.update({name: task.files[name] for name in ("weights", "data", "trace")})
    module, own = task.adapter.__name__, task.capabilities
    asked = Job(
        role="try", cell=task.cell, module=module, **paths, cpus=[], parent=0, capabilities=own
    )
    trial = Trial(asked)
    (commands,) = PROCESSES[task.cell.capability]
    try:
        for command in commands:
            getattr(trial, command)()
    except (Unsupported, Incapable) as error:
        return {"status": STATUSES[type(error)], "reason": str(error)}
    return {"status": "ok", "reason": ""}


def summary(logits: np.ndarray) -> dict[str, Any]:
    return {
        "shape": list(logits.shape),
        "dtype": str(logits.dtype),
        "finite": bool(np.isfinite(logits).all()),
        "spread": float(logits.std(axis=0).max()),
    }


CHECKS = {
    one.__name__: one
    for one in (
        *(describe, train, dtypes, overflow, recompute, export, read, check, fed, generate),
        capability,
    )
}


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """What the check found, or ``raised``: the others are asked all the same."""
    module, _, name = task["check"].rpartition(":")  # MODULE:NAME where it is not one of these
    found = vars(importlib.import_module(f"tests.contract.{module}")) if module else CHECKS
    try:
        result: dict[str, Any] = found[name](Task(task))
        json.dumps(result, allow_nan=False)
    except Exception:  # noqa: BLE001  # the test that wants this answer fails with it
        return {"raised": traceback.format_exc()}
    return result


def main(argv: list[str]) -> None:
    for line in sys.stdin:
        given, answered = json.loads(line)
        tasks = json.loads(Path(given).read_text(encoding="utf-8"))
        results = {name: answer(task) for name, task in tasks.items()}
        Path(answered).write_text(json.dumps(results), encoding="utf-8")
        os.write(int(argv[0]), b".")


if __name__ == "__main__":
    main(sys.argv[1:])
