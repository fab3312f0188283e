"""What every framework with one process for each rank does alike."""

from __future__ import annotations

import socket

from bench.contract import Batches, Cell

BATCHNORM = "batchnorm"


def free_port() -> int:
    """A port that was free a moment ago, for launchers that would take a fixed one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def synchronised(cell: Cell) -> bool:
    """Whether BatchNorm shall see the samples of all devices."""
    return cell.settings.get(BATCHNORM) == "synchronised"


def replicas(cell: Cell) -> int:
    """Where every device has BatchNorm statistics of its own; only the CNN has any."""
    return cell.world_size if cell.model == "cnn" and not synchronised(cell) else 1


def share(cell: Cell, batches: Batches, *, rank: int) -> Batches:
    """One rank's part of each train batch; what is inferred stays whole."""
    begin = rank * cell.batch
    train = [
        {name: value[begin : begin + cell.batch] for name, value in batch.items()}
        for batch in batches.train
    ]
    return Batches(train, batches.infer)
