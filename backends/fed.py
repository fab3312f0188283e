"""What the training loop takes its batches from where the framework's own loader makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bench.contract import Settings


class Fed:
    """The batches of a loader, epoch after epoch.

    send: makes of what the loader brings what a step takes, on the device. name: of the loader, and
    how it was asked to work, for the fact ``input``.
    """

    def __init__(self, loader: Iterable[Any], send: Callable[[Any], Any], *, name: str) -> None:
        self.name = name
        self._batches = self._epochs(loader, send)

    @staticmethod
    def _epochs(loader: Iterable[Any], send: Callable[[Any], Any]) -> Iterator[Any]:
        while True:
            for batch in loader:
                yield send(batch)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._batches)


def facts(batches: object) -> Settings:
    """The fact ``input`` of a loop's batches; nothing where they lie on the device."""
    return {"input": batches.name} if isinstance(batches, Fed) else {}
