"""Shut a worker in, then become it: ``python -I -S isolated.py PLAN PROGRAM ARGUMENT...``

Parent half, but a program of its own without imports of ours: it runs before anything of the
worker's environment does, also before what Python itself would run there when it starts. PLAN is
bench.child.isolation's, as JSON. What the system refuses is no error: it is said on the descriptor
``report`` and stands in the row.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # unshare(2)
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # netdevice(7)
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38  # prctl(2)
KEPT = {0, 1, 2, 3, 4, 5, 14, 23}
"""Of root's capabilities (capabilities(7)): chown, dac_override, dac_read_search, fowner, fsetid,
kill, ipc_lock, sys_nice. Not: modules, mounts, raw disks, limits, the network, other processes.
"""

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # landlock(7); the same everywhere
LEAST_ABI = 3  # Linux 6.2: before it files could be emptied, or not be moved between folders
SIGNALS_ABI = 6  # Linux 6.12
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
WRITING = WRITE_FILE | TRUNCATE | sum(1 << bit for bit in range(4, 14))
"""To write, empty, remove, make and move files and folders of every kind. Reading is free."""
SCOPE_SIGNALS = 1 << 1


def main(plan: dict[str, Any], argv: list[str]) -> None:
    """Apply the plan, report what is in force, become the worker."""
    done: dict[str, Any] = {}
    namespaces = 0
    if plan["network"]:
        done["network"] = f"host: {plan['network']}"
    else:
        namespaces, refused = without_network()
        done["network"] = f"host: {refused}" if refused else "none"
    done |= limited(plan, own_user=bool(namespaces & CLONE_NEWUSER))
    for capability in range(64):
        if capability not in KEPT:
            LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    done |= confined(plan["writable"], called=plan["writes"])
    with os.fdopen(plan["report"], "w") as report:
        json.dump(done, report)
    os.execv(argv[0], argv)  # noqa: S606  # no shell is what is wanted


def without_network() -> tuple[int, str]:
    """The namespaces that this process is in from now on, or why the system refuses.

    An ordinary user may have a network namespace within a user namespace. A copy of this process
    tries first: some systems give the namespaces and then refuse to bring the loopback up.
    """
    error = 0
    for namespaces in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET):
        if not (copy := os.fork()):
            try:
                leave(namespaces)
            except OSError as refused:
                os._exit(refused.errno or 1)
            os._exit(0)
        if not (error := os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])):
            leave(namespaces)
            return namespaces, ""
    return 0, os.strerror(error)


def leave(namespaces: int) -> None:
    """For new ones: the same user, and a network that is nothing but a loopback."""
    user, group = os.getuid(), os.getgid()
    checked(LIBC.unshare(namespaces))
    if namespaces & CLONE_NEWUSER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
        any_socket.bind(("127.0.0.1", 0))


def limited(plan: dict[str, Any], *, own_user: bool) -> dict[str, Any]:
    """Limits that hold for the worker and all that it starts.

    own_user: whether it has a user namespace, where only its own processes count; elsewhere all of
    the user's do, and a limit would be as tight as the user happens to be busy.
    """
    found = {"open_files": lower(resource.RLIMIT_NOFILE, plan["open_files"])}
    found["file_gib"] = lower(resource.RLIMIT_FSIZE, plan["file_gib"] << 30) >> 30
    lower(resource.RLIMIT_CORE, 0)
    if own_user:
        found["processes"] = lower(resource.RLIMIT_NPROC, plan["processes"])
    Path("/proc/self/oom_score_adj").write_text(str(plan["oom_score_adj"]))
    return found


def lower(kind: int, to: int) -> int:
    """A limit that was lower already stays."""
    hard = resource.getrlimit(kind)[1]
    new = to if hard == resource.RLIM_INFINITY else min(to, hard)
    resource.setrlimit(kind, (new, new))
    return new


def confined(writable: Sequence[str], *, called: str) -> dict[str, Any]:
    """Leave nothing to be written but ``writable``, ``called`` so in the row; and no other process
    to be looked into or, on newer systems, sent a signal.
    """
    abi = LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if abi < LEAST_ABI:
        why = f"landlock {abi}" if abi > 0 else "no landlock"
        return {"writes": f"any: {why} (Linux 6.2 has 3)", "signals": "any"}
    signals = abi >= SIGNALS_ABI
    attributes = struct.pack("QQQ", WRITING, 0, SCOPE_SIGNALS if signals else 0)
    rules = checked(LIBC.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    for place in writable:
        allow(rules, place)
    checked(LIBC.syscall(RESTRICT_SELF, rules, 0))
    os.close(rules)
    return {"writes": called, "signals": "own" if signals else "any"}


def allow(rules: int, place: str) -> None:
    """Writing there; for a folder also to all that is and will be below it."""
    found = os.open(place, os.O_PATH | os.O_CLOEXEC)
    rights = WRITING if Path(place).is_dir() else WRITE_FILE | TRUNCATE
    beneath = struct.pack("=Qi", rights, found)
    checked(LIBC.syscall(ADD_RULE, rules, 1, beneath, 0))
    os.close(found)


def checked(result: int) -> int:
    """OSError where a system call has failed."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
