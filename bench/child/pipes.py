"""The two named pipes between the parent and one worker process: JSON lines each way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bench.contract import BenchError

LONGEST = 64 << 20  # bytes of an answer or a row file; long turns make some kB
PIECE = 1 << 16  # bytes read at once, a pipe's usual capacity


class TooLong(BenchError):
    """What a worker answers has no end."""


class Pipes:
    """The parent's ends. Opened before the worker exists, so that no open blocks."""

    def __init__(self, commands: Path, replies: Path) -> None:
        os.mkfifo(commands)
        os.mkfifo(replies)
        # For reading and writing: opening for writing alone waits for a reader.
        self._commands = os.open(commands, os.O_RDWR | os.O_CLOEXEC)
        self.replies = os.open(replies, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffer = b""

    def send(self, command: dict[str, Any]) -> None:
        os.write(self._commands, json.dumps(command).encode() + b"\n")

    def ready(self) -> bool:
        """Whether a whole reply has come."""
        return b"\n" in self._buffer

    def receive(self) -> bool:
        """Take what has been written; False where the worker's end is closed."""
        piece = read(self.replies)
        self._buffer += piece or b""
        if len(self._buffer) > LONGEST:
            raise TooLong(f"the worker's answer is longer than {LONGEST >> 20} MiB")
        return piece != b""

    def reply(self) -> bytes:
        """The first whole line, which nobody has looked at."""
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def close(self) -> None:
        os.close(self._commands)
        os.close(self.replies)


def read(descriptor: int) -> bytes | None:
    """What is there: None if nothing is, empty if the other end is closed."""
    try:
        return os.read(descriptor, PIECE)
    except BlockingIOError:
        return None
