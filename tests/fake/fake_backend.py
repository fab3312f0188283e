"""A backend that misbehaves on request: ``--setting do=segfault`` and the like.

Its model is no model: it answers with the committed trace, so the real gate passes, and a step is
a fixed piece of work. It runs in real worker processes.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import workloads
from bench.contract import Batches, Cell, Kernel, Program, Settings, Weights
from bench.rendezvous import Rendezvous

NAME = "fake"
DIST = "numpy"
KEEP: list[object] = []
FOUND: dict[str, object] = {}
ALLOCATED = [1 << 20]
"""On its accelerator: a model of 1 MiB, and the matrices that it was asked to multiply."""
MEETINGS = itertools.count()


def devices() -> list[str]:
    """``--setting has=cuda``: it has one; has=hang and the like: so ends looking for one."""
    has = os.environ.get("FAKE_HAS", "")
    misbehave(has)
    return ["cpu", has] if has == "cuda" else ["cpu"]


def absent(device: str) -> str:
    return f"the fake driver has no {device}"


def unsupported(cell: Cell) -> str | None:
    return "asked to be unsupported" if cell.settings.get("do") == "unsupported" else None


def setup(cell: Cell) -> None:
    misbehave(cell.settings.get("do", ""))


def launch(cell: Cell, at: Rendezvous) -> list[str]:
    launcher = Path(__file__).resolve().with_name("fake_launcher.py")
    first = cell.processes * at.node_rank
    return [sys.executable, str(launcher), str(first), str(cell.processes)]


def effective(cell: Cell) -> Settings:
    kind = {} if cell.device == "cpu" else {"device_kind": "Fake 9000"}
    return {"threads": cell.threads, **cell.settings, **FOUND, **kind}


def build(cell: Cell, weights: Weights, batches: Batches) -> Program:
    if cell.batch > int(cell.settings.get("room", cell.batch)):
        fail_as_cuda_does()
    return Working() if cell.size == "fairness" else Recorded(cell, batches)


def export(cell: Cell, program: Program, path: Path) -> Settings:
    (path / "model.bin").write_bytes(b"fake")
    return {"file": "model.bin"}


def check(cell: Cell, path: Path) -> None:
    if cell.settings.get("do") == "bad_file":
        raise ValueError("this file is not a model")


def load(cell: Cell, path: Path, batches: Batches) -> Program:
    if cell.settings.get("do") == "static_shape":
        return Static(cell, batches)
    return Recorded(cell, batches)


def gemm(cell: Cell, precision: str, n: int) -> None:
    ALLOCATED.append(3 * 4 * n * n)


def peak_device_bytes(cell: Cell) -> int | None:
    return None if cell.device == "cpu" else max(ALLOCATED)


def allreduce(cell: Cell, n: int) -> Kernel | None:
    return stream(cell, n) if cell.world_size > 1 else None


def stream(cell: Cell, n: int) -> Kernel:
    source = np.ones(n, np.float32)
    return Kernel(lambda: source + 1)


class Working(Program):
    """Only works."""

    n_params = 5

    def train_step(self) -> None:
        work()


class Recorded(Program):
    """Plays the trace back."""

    def __init__(self, cell: Cell, batches: Batches) -> None:
        trace = json.loads(
            (workloads.FOLDER / "traces" / f"{cell.model}-{cell.size}.json").read_text()
        )
        part = trace if cell.trains else trace["export"]
        self.n_params = trace["param_count"]
        self.losses = part.get("losses", [])
        self.initial = np.array(part["logits"])
        self.trained = np.array(part.get("logits_after", part["logits"]))
        self.world_size = cell.world_size
        self.do = cell.settings.get("do", "")
        self.wrong = cell.settings.get("do") == "wrong_logits"
        self.batches = batches.infer
        self.learning = cell.trains and len(batches.infer) > 1  # then all of them are held out
        self.index = 0
        self.steps = self.enqueued = 0

    def train_step(self) -> None:
        """``do=no_wait``: it only enqueues, and ``wait`` does not wait for it."""
        self.steps += 1
        if self.do == "no_wait":
            self.enqueued += 1
        else:
            work()
        if self.do == "rank_lags" and os.environ.get("RANK") == "1":
            for _ in range(4):
                work()

    def slowest(self, values: Sequence[float]) -> list[float]:
        return list(values) if self.world_size == 1 else meet(values, self.world_size)

    def loss(self) -> float:
        for _ in range(self.enqueued):
            work()
        self.enqueued = 0
        return float(self.losses[min(self.steps, len(self.losses)) - 1])

    def facts(self) -> Settings:
        """``do=undone``: what was in force is not, once the gate's steps are over."""
        if self.do == "undone" and self.steps > len(self.losses):
            return {}
        return {"sharded": 0 if self.do == "whole" else self.n_params}

    def infer(self, index: int) -> None:
        self.index = index
        work()

    def logits(self) -> np.ndarray:
        if self.index == 0 and not self.learning:
            known = self.trained if self.steps else self.initial
            return known + (0.1 if self.wrong else 0.0)
        right = np.eye(self.initial.shape[1])[self.batches[self.index]["label"]]
        return -right if self.do == "unteachable" else right


class Static(Recorded):
    """A file that was written for the cell's batch size and takes no other."""

    def __init__(self, cell: Cell, batches: Batches) -> None:
        super().__init__(cell, batches)
        self.size = cell.batch

    def infer(self, index: int) -> None:
        if len(self.batches[index]["label"]) != self.size:
            raise RuntimeError("the batch dimension is fixed")
        super().infer(index)


def meet(values: Sequence[float], world_size: int) -> list[float]:
    """The largest of what each process brings, through files in the folder that they share."""
    meeting, folder = next(MEETINGS), Path(os.environ.get("FAKE_MEET", "."))
    files = [folder / f"meeting-{meeting}-{rank}.json" for rank in range(world_size)]
    mine = files[int(os.environ["RANK"])]
    mine.with_suffix(".part").write_text(json.dumps(list(values)))
    mine.with_suffix(".part").rename(mine)
    while not all(one.exists() for one in files):
        time.sleep(0.001)
    return [
        max(column) for column in zip(*(json.loads(one.read_text()) for one in files), strict=True)
    ]


def work() -> None:
    sum(range(50_000))


def misbehave(what: str) -> None:
    """Do the named thing, in the middle of ``setup``."""
    if what in MISBEHAVIOURS:
        MISBEHAVIOURS[what]()


def fail() -> None:
    raise RuntimeError("a plain failure\nwith a second line")


def fail_as_cuda_does() -> None:
    raise RuntimeError("CUDA error: out of memory. Tried to allocate 2.00 GiB")


def grow_until_killed() -> None:
    while True:
        KEEP.append(bytearray(os.urandom(1) * (32 << 20)))


def leave_grandchildren() -> None:
    sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
    KEEP.append(subprocess.Popen(sleeper))
    KEEP.append(subprocess.Popen(sleeper, start_new_session=True))


def hang_with_grandchildren() -> None:
    leave_grandchildren()
    signal.pause()


def print_megabytes() -> None:
    for _ in range(64):
        os.write(1, b"noise\n" * 50_000)


def answer_nonsense() -> None:
    """On the parent's own channel, ahead of the worker's answer."""
    with Path(_job()["replies"]).open("w") as replies:
        replies.write("noise, no JSON\n")


def forge_a_row() -> None:
    """As if it were another cell's, and fast; then die, before the worker writes its own."""
    forged = {"cell_id": "torch/cnn", "status": "ok", "samples_per_s": 1e9}
    Path(_job()["row"]).write_text(json.dumps({"row": forged, "times": {}}))
    os._exit(0)


def _job() -> dict[str, str]:
    job: dict[str, str] = json.loads(Path(sys.argv[1]).read_text())
    return job


def fill_the_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))


HOLD = """
import subprocess, sys
kept = bytearray(300_000_000)
kept[::4096] = bytes(len(kept[::4096]))  # every page is touched, so every page is resident
print("held", flush=True)
"""


def use_the_cache() -> None:
    """As a compiler does: look for the last process's work, and leave one's own."""
    cache = Path(os.environ["FAKE_CACHE_DIR"])
    FOUND["cache_was_filled"] = cache.exists()
    cache.mkdir(parents=True, exist_ok=True)


def grow_family() -> None:
    """A child and a grandchild that hold 300 MB each, resident, before this returns."""
    grandchild = HOLD + "sys.stdin.read()"
    child = f"""
import subprocess, sys
deep = subprocess.Popen([sys.executable, "-c", {grandchild!r}], stdin=-1, stdout=-1)
deep.stdout.readline()
{HOLD}
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", child], stdin=-1, stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    KEEP.append(process)


def intrude() -> None:
    """On the parent, on another worker, on the environment: what each attempt came to."""
    results, parent = _results(), os.getppid()
    attempts: dict[str, Callable[[], object]] = {
        "append": lambda: _append(results),
        "move": lambda: results.rename(results.with_suffix(".gone")),
        "empty": lambda: os.truncate(results, 0),
        "forge": lambda: results.with_name("forged.csv").write_text("forged"),
        "neighbour": lambda: _append(Path.cwd().parent / "bench-neighbour" / "row.json"),
        "environment": lambda: os.close(os.open(Path(sys.prefix) / "pyvenv.cfg", os.O_WRONLY)),
        "secrets": Path(f"/proc/{parent}/environ").read_bytes,
        "signal": lambda: os.kill(parent, signal.SIGCONT),
        "own": lambda: Path("own").write_text("mine"),
    }
    FOUND["tried"] = {name: _came_of(attempt) for name, attempt in attempts.items()}
    FOUND["interfaces"] = [name for _, name in socket.if_nameindex()]


def _results() -> Path:
    """Any process may read how another was called."""
    called = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode().split("\0")
    return Path(called[called.index("--out") + 1])


def _append(path: Path) -> None:
    with path.open("a") as file:
        file.write("forged\n")


def _came_of(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"


def tell_all() -> None:
    """Print what there is to be learned, and fail, so that the log is kept."""
    print(dict(os.environ), sorted(Path.cwd().rglob("*")))
    print([path.read_text(errors="replace") for path in Path.cwd().glob("*/*.json")])
    print(Path(f"/proc/{os.getppid()}/environ").read_bytes())


def fail_as_second_rank() -> None:
    if os.environ.get("RANK") == "1":
        raise RuntimeError("the second rank does not want to")


def fail_without_a_pool() -> None:
    if "FAKE_PREALLOCATES" in os.environ:
        fail()


def die_as_second_rank() -> None:
    if os.environ.get("RANK") == "1":
        os.kill(os.getpid(), signal.SIGKILL)


MISBEHAVIOURS: dict[str, Callable[[], object]] = {
    "exception": fail,
    "out_of_memory": fail_as_cuda_does,
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(0),
    "hang": signal.pause,
    "intrude": intrude,
    "tell": tell_all,
    "balloon": grow_until_killed,
    "grandchildren": leave_grandchildren,
    "hang_with_grandchildren": hang_with_grandchildren,
    "print": print_megabytes,
    "full_disk": fill_the_disk,
    "nonsense": answer_nonsense,
    "forged": forge_a_row,
    "family": grow_family,
    "cache": use_the_cache,
    "fails_without_a_pool": fail_without_a_pool,
    "rank_fails": fail_as_second_rank,
    "rank_dies": die_as_second_rank,
}
