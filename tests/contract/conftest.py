"""The fixture that asks an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.contract import Cell
from tests.contract.asking import Question, Result, answers, close_drivers, fine

Ask = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def _drivers_end() -> Iterator[None]:
    yield
    close_drivers()


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run one check of driver.py: ``ask(check, cell, reader=..., cells=...)``."""

    def run(
        check: str, asked: Cell, *, reader: str = "", cells: dict[str, Cell] | None = None
    ) -> Result:
        question = Question(check, asked, tmp_path, cells=cells or {}, reader=reader)
        return fine(answers({check: question}, scratch=tmp_path)[check])

    return run
