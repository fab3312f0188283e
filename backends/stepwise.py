"""A framework's own training loop, turned inside out: it runs on only when a step is asked for.

The loop runs in a greenlet, a second stack in the same thread, so the framework's thread-local
state is one with the harness's, and no lock or queue lies between two steps. That state is also
what the loop's context managers have set: they stay entered while the loop is paused.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable

from greenlet import GreenletExit, getcurrent, greenlet

Pause = Callable[[], None]


class Stepwise:
    """``loop(pause)`` calls ``pause()`` after each of its steps, from a callback of its own.

    The loop starts with the first ``step()``. What it raises comes out of ``step()``.
    """

    def __init__(self, loop: Callable[[Pause], None]) -> None:
        self._inner = greenlet(lambda: loop(self._pause))
        # A new greenlet's context is empty; the framework's context variables are to be seen in it.
        self._inner.gr_context = contextvars.copy_context()

    def step(self) -> None:
        """Let the loop do one step. RuntimeError where it has none left, or was closed."""
        if not self._inner.dead:
            self._inner.parent = getcurrent()
            self._inner.switch()
        if self._inner.dead:
            raise RuntimeError("the training loop has ended: there is no step left")

    def close(self) -> None:
        """End the loop where it is paused: its ``finally`` clauses run. Harmless when repeated."""
        if not self._inner.dead:
            self._inner.parent = getcurrent()
            self._inner.throw(GreenletExit)
        if not self._inner.dead:
            raise RuntimeError("the training loop goes on though it was told to end")

    def _pause(self) -> None:
        assert getcurrent() is self._inner, "only the loop itself pauses"
        parent = self._inner.parent
        assert parent is not None
        parent.switch()
