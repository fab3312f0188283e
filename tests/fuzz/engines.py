"""Three ways to make inputs of one target, and what watches over each input.

bytes: seeds that are damaged at random, from a seed; fast, and the same every time (CI).
hypothesis: the same damage, made smaller until nothing of it can be left out.
atheris: libFuzzer, led by what code of bench was reached (Python 3.11 only).
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from bench.errors import BenchError
from tests.fuzz.targets import Target, scratch

INPUT_S = 5.0
"""What one input may take; an ordinary one takes some microseconds, the slowest a millisecond."""
BALLOON = 1 << 30  # bytes of address space that the whole run may add
HARD_S = 60.0  # a hang that Python cannot end: the process ends with its traceback
LONGEST = 1 << 14


class Hang(Exception):
    """One input took longer than INPUT_S."""


class Watched:
    """Calls a target, counts, and lets only what is promised pass."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.inputs = self.refused = 0

    def __call__(self, data: bytes) -> None:
        self.inputs += 1
        if self.inputs % 1000 == 1:
            faulthandler.dump_traceback_later(HARD_S * 10, exit=True)
        signal.setitimer(signal.ITIMER_REAL, INPUT_S)
        try:
            self.target.run(data)
        except BenchError as error:
            self.refused += 1
            _one_line(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _one_line(error: BenchError) -> None:
    assert "\n" not in str(error), f"not one line: {error!r}"


@contextmanager
def limits() -> Iterator[None]:
    """A hang is an error after INPUT_S, a balloon a MemoryError."""

    def hang(*_: object) -> None:
        raise Hang(f"one input took more than {INPUT_S:.0f} s")

    before, (soft, hard) = (
        signal.signal(signal.SIGALRM, hang),
        resource.getrlimit(resource.RLIMIT_AS),
    )
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + BALLOON, hard))
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def _address_space() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def damaged(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Each edit puts bytes in the place of some at a position, which is counted round the end."""
    for at, length, piece in edits:
        place = at % (len(data) + 1)
        data = data[:place] + piece + data[place + length :]
    return data[: 4 * LONGEST]


def plain(watched: Watched, count: int, *, seed: int) -> None:
    """The engine ``bytes``."""
    chance, target = Random(seed), watched.target
    for _ in range(count):
        edits = []
        for _ in range(chance.randrange(4)):
            junk = chance.randbytes(chance.randrange(4))
            piece = chance.choice(target.words) if chance.random() < 0.5 else junk
            edits.append((chance.randrange(1 << 16), chance.choice((0, 1, 1, 5, 40)), piece))
        watched(damaged(chance.choice(target.seeds), edits))


def with_hypothesis(watched: Watched, count: int, *, seed: int) -> None:
    import hypothesis
    from hypothesis import strategies as st

    target = watched.target
    piece = st.binary(max_size=6) | st.sampled_from(target.words)
    edit = st.tuples(st.integers(0, 1 << 16), st.sampled_from((0, 1, 5, 40)), piece)
    data = st.binary(max_size=60) | st.builds(
        damaged, st.sampled_from(target.seeds), st.lists(edit, max_size=2)
    )
    checks = list(hypothesis.HealthCheck)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=checks
    )
    @hypothesis.given(data)
    def ask(data: bytes) -> None:
        watched(data)

    ask()


def with_atheris(watched: Watched, count: int, *, seed: int) -> None:
    """Does not return: libFuzzer ends the process. ``tests.fuzz`` runs it in one of its own."""
    import atheris

    def one(data: bytes) -> None:
        watched(data)
        if watched.inputs == count:
            atexit._run_exitfuncs()  # libFuzzer's own end leaves them out
            os._exit(0)

    corpus = scratch() / "corpus"
    corpus.mkdir()
    for number, seed_input in enumerate(watched.target.seeds):
        (corpus / str(number)).write_bytes(seed_input)
    words = scratch() / "words"
    words.write_text("".join(f'"{_escaped(w[:60])}"\n' for w in watched.target.words))
    given = ["-verbosity=0", f"-seed={seed}", f"-max_len={LONGEST}"]
    given += [f"-timeout={INPUT_S:.0f}", "-rss_limit_mb=2048", f"-dict={words}", str(corpus)]
    atheris.Setup(["fuzz", *given, f"-artifact_prefix={scratch()}/"], one)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


ENGINES: dict[str, Callable[..., None]] = {
    "bytes": plain,
    "hypothesis": with_hypothesis,
    "atheris": with_atheris,
}
