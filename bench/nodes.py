"""The options of a run on several machines at once. Parent half.

Every machine makes the same plan in the same order, and its processes decide by the slowest of all
(``Program.slowest``), so nothing but the framework's own launcher has to connect the machines.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from itertools import count as counting

from bench.arguments import count
from bench.errors import UsageError
from bench.rendezvous import HERE, Rendezvous

SEED = 1  # one for all machines, where none is given


def add(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--nodes", type=count, default=1, help="machines that share a cell; default: 1"
    )
    how.add_argument("--node-rank", type=int, default=0, help="which of them this is, from 0")
    how.add_argument("--rendezvous", metavar="HOST:PORT", help="of the first, as all see it")


def rendezvous(arguments: argparse.Namespace) -> Rendezvous:
    """UsageError where the machines could not find each other, or would not do the same."""
    nodes, rank = arguments.nodes, arguments.node_rank
    if nodes == 1:
        if rank or arguments.rendezvous:
            raise UsageError("--node-rank and --rendezvous go with --nodes N")
        return HERE
    host, _, port = (arguments.rendezvous or "").rpartition(":")
    if not (host and port.isdigit() and 0 < int(port) < 2**16):
        raise UsageError(f"--nodes {nodes}: say where they meet, --rendezvous HOST:PORT")
    if not 0 <= rank < nodes:
        raise UsageError(f"--node-rank {rank}: it is 0 to {nodes - 1} for --nodes {nodes}")
    if not arguments.repeats:
        raise UsageError(f"--nodes {nodes}: say how many --repeats, for all machines alike")
    return Rendezvous(nodes, rank, host, int(port))


def seed(arguments: argparse.Namespace) -> int:
    """Of the order of cells: the one given, or a random one; for several machines the same."""
    by_itself = SEED if arguments.nodes > 1 else random.SystemRandom().randrange(1, 2**31)
    return int(arguments.seed or by_itself)


def meetings(where: Rendezvous) -> Callable[[], Rendezvous]:
    """Called once for each process that is launched."""
    launches = counting()
    return lambda: where.after(next(launches))
