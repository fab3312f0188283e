"""DeepSpeed's C++ operators for CPUs: built with the environment, and afterwards only loaded.

``python -m backends.deepspeed.ops`` builds them with the interpreter that runs it, into a folder of
its environment. ``ready`` says where they are; it comes before DeepSpeed is imported.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path

FOLDER = Path(sys.prefix, "torch-extensions")
BUILDERS = {"deepspeed_shm_comm": "ShareMemCommBuilder", "fused_adam": "FusedAdamBuilder"}
"""Name of the operator's folder and library -> its builder in DeepSpeed's op_builder.cpu."""
LARGE = (".so", ".o")


def ready(folder: Path) -> None:
    """Set what DeepSpeed and torch's extension loader read from the environment."""
    os.environ["TORCH_EXTENSIONS_DIR"] = str(folder)
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    programs = str(Path(sys.prefix, "bin"))
    # Loading an operator asks ninja, which lies beside the interpreter, whether it is up to date.
    if programs not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])


def mine() -> Path:
    """The folder as this process needs it, in its working directory: to load an operator, torch
    takes a lock beside it and asks ninja, which keeps a log; a worker must not write to its
    environment, and another's lock would be waited for.
    """
    folder = Path.cwd() / f"torch-extensions-{os.getpid()}"
    for built in FOLDER.glob("*/*"):
        place = folder / built.relative_to(FOLDER)
        place.parent.mkdir(parents=True, exist_ok=True)
        if built.suffix in LARGE:
            place.symlink_to(built)
        elif built.name != "lock":
            shutil.copy2(built, place)  # with its time, or ninja would build all anew
    return folder


def missing() -> list[str]:
    """The operators that have not been built."""
    return [name for name in BUILDERS if not Path(FOLDER, name, f"{name}.so").exists()]


def main() -> None:
    ready(FOLDER)
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
