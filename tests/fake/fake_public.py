"""The fake framework's own public model: a step of it is four times the work."""

from __future__ import annotations

from fake_backend import work

from bench.contract import Batches, Cell, Program

MODELS = {"cnn": "fake.public.Net"}
MISSING = {"transformer": "fake has no public encoder"}


class Slower(Program):
    n_params = 7

    def train_step(self) -> None:
        for _ in range(4):
            work()


def build(cell: Cell, batches: Batches) -> Program:
    assert len(batches.train) == 4
    return Slower()
