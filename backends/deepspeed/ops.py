"""DeepSpeed's C++ operators for CPUs: built with the environment, and afterwards only loaded.

``python -m backends.deepspeed.ops`` builds them with the interpreter that runs it, into a folder of
its environment. ``ready`` says where they lie; it comes before DeepSpeed is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from pathlib import Path

FOLDER = Path(sys.prefix, "torch-extensions")
BUILDERS = {"deepspeed_shm_comm": "ShareMemCommBuilder", "fused_adam": "FusedAdamBuilder"}
"""Name of the operator's folder and library -> its builder in DeepSpeed's op_builder.cpu."""
STALE_S = 20.0
"""An operator that has been built is loaded in less than a second."""


def ready() -> None:
    """Set what DeepSpeed and torch's extension loader read from the environment."""
    os.environ["TORCH_EXTENSIONS_DIR"] = str(FOLDER)
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    programs = str(Path(sys.prefix, "bin"))
    # Loading an operator asks ninja, which lies beside the interpreter, whether it is up to date.
    if programs not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])


def missing() -> list[str]:
    """The operators that have not been built."""
    return [name for name in BUILDERS if not Path(FOLDER, name, f"{name}.so").exists()]


def unlock() -> None:
    """Remove the locks that killed workers have left: every later one would wait for them for ever.

    Torch takes a lock whenever it loads an operator, and holds it open meanwhile. Whether a process
    of another machine does, on a shared disk, is not seen: a young lock is left alone.
    """
    for lock in FOLDER.glob("*/lock"):
        while (age_s := _left_for(lock)) is not None and age_s < STALE_S:
            time.sleep(0.1)
        if age_s is not None:
            lock.unlink(missing_ok=True)


def _left_for(lock: Path) -> float | None:
    """Seconds; None where it is gone, or a process here holds it."""
    try:
        place = lock.stat()
    except FileNotFoundError:
        return None
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # closed meanwhile, or another user's
            if os.path.samestat(descriptor.stat(), place):
                return None
    return abs(time.time() - place.st_mtime)


def main() -> None:
    ready()
    if os.environ["DS_ACCELERATOR"] != "cpu":
        return  # a GPU's are compiled by nvcc where a configuration first asks for one
    # A build that was killed leaves its lock, and every later one would wait for it forever.
    for lock in FOLDER.glob("*/lock"):
        lock.unlink()
    builders = importlib.import_module("deepspeed.ops.op_builder.cpu")
    for name, builder in BUILDERS.items():
        getattr(builders, builder)().load(verbose=False)
        if name in missing():
            raise RuntimeError(f"DeepSpeed's operator {name} was not built in {FOLDER}")


if __name__ == "__main__":
    main()
