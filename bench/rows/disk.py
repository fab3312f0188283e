"""Writing a file that a run holds: all of a write or nothing, and one run a file. Parent half."""

from __future__ import annotations

import fcntl
import os
from errno import ENOLCK, ENOSYS, EOPNOTSUPP
from pathlib import Path

from bench.errors import UsageError


def append(fd: int, data: bytes) -> None:
    """Write all of ``data`` or nothing of it, also where a signal's handler raises meanwhile."""
    size = os.fstat(fd).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]  # a disk that fills up takes a part first
    except BaseException:
        os.ftruncate(fd, size)
        raise


def lock(fd: int, path: Path) -> None:
    """One run a file, for as long as the file is open, also against a run that is just starting."""
    taken = f"{path} is being written by another run: wait for it, or name another file"
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(taken) from error
    except OSError as error:
        # Some cluster file systems have no locks (Lustre mounted without flock): the pilot must
        # still run there, and a second run on the same file is the user's own doing.
        if error.errno not in (ENOLCK, ENOSYS, EOPNOTSUPP):
            raise
    # Between opening and locking, another run may have put a new file in this one's place.
    if not os.path.samestat(os.fstat(fd), path.stat()):
        raise UsageError(taken)


def replaced(path: Path, content: bytes, *, old: int) -> int:
    """A locked descriptor of ``path`` with new content; a kill leaves the old file or the new."""
    target = path.resolve()  # a link stays a link
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    fd = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_APPEND, 0o666)
    try:
        lock(fd, part)
        append(fd, content)
        os.fchmod(fd, os.fstat(old).st_mode & 0o777)
        os.fsync(fd)
        part.replace(target)
    except (OSError, UsageError):
        os.close(fd)
        part.unlink()
        raise
    os.close(old)
    return fd
