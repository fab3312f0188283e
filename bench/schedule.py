"""In which order cells run, and which of them take turns. Pure.

``sequential``: a cell's repeats one after another. ``interleaved``: every repeat runs all cells, in
an order of its own (randomised multiple interleaved trials, Abedi & Brecht 2017). ``baton``: cells
that will be compared are alive together and take turns, block by block, one computing at a time
(duet measurements, Bulej et al. 2020, but never at once: two at once would share the caches and
the memory bandwidth that are measured).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.contract import Cell
from bench.grid import Task

SCHEDULES = ("baton", "interleaved", "sequential")
DEFAULT = "baton"
"""Where memory allows; workers that do not fit run one by one, interleaved."""

TURNS = 120
"""Of a whole fleet: some 25 s of blocks. All ten backends at tiny have to end within 12 minutes."""

FEWEST_ROUNDS, MOST_ROUNDS = 5, 12
"""Each goes through the fleet and back. Two halves of six rounds were hardly correlated between
identical workers (0.06 and -0.19), so more rounds help; with what a process costs to start, and the
floor that only fresh ones lower, 13 to 19 are the best value where steps are short, and fewer where
they are long."""

SHARE_OF_MEMORY = 0.7
"""Of what is available, for the workers that are alive at once: specs give rough figures."""

Fleet = list[Task]
"""What runs together; a task alone is a fleet of one."""


def rival(cell: Cell) -> str:
    """What cells that will be compared share: all but backend, mode and the backend's settings."""
    parts = (cell.workload, cell.model, cell.size, cell.device, cell.precision, cell.track)
    sizes = (f"b{cell.batch}", f"w{cell.world_size}", cell.format, cell.compile_cache)
    return "/".join(parts + sizes)


def fleets(tasks: Sequence[Task], *, how: str, seed: int, room_mib: int) -> list[Fleet]:
    """The order of ``tasks``. room_mib: memory for all the workers that are alive at once."""
    if how == "sequential":
        first = {task.cell.id: place for place, task in reversed(list(enumerate(tasks)))}
        return [[task] for task in sorted(tasks, key=lambda task: first[task.cell.id])]
    found = []
    for repeat in sorted({task.repeat for task in tasks}):
        dealer = random.Random(f"{seed}/{repeat}")
        mine = [task for task in tasks if task.repeat == repeat]
        groups = _together(mine, room_mib) if how == "baton" else [[task] for task in mine]
        for group in groups:
            dealer.shuffle(group)
        dealer.shuffle(groups)
        found += groups
    return found


def _together(tasks: Sequence[Task], room_mib: int) -> list[Fleet]:
    """Rivals that fit into memory; what cannot run at all, or not beside others, is alone."""
    groups: dict[str, Fleet] = {}
    alone = []
    for task in tasks:
        if task.refused is None and _shares(task.cell):
            groups.setdefault(rival(task.cell), []).append(task)
        else:
            alone.append([task])
    return alone + [part for group in groups.values() for part in _parts(group, room_mib)]


def _shares(cell: Cell) -> bool:
    """Nothing is timed where a capability is tried. Accelerator memory is not watched here, and JAX
    takes most of it at once.
    """
    return cell.device == "cpu" and cell.world_size == 1 and not cell.capability


def _parts(group: Fleet, room_mib: int) -> list[Fleet]:
    """As few fleets as memory allows, of about the same size."""
    most = max(1, room_mib // max(task.spec.memory_mib for task in group))
    number = -(-len(group) // most)
    return [group[at::number] for at in range(number)]


def rounds(members: int) -> int:
    """How often a fleet of so many is gone through."""
    return min(MOST_ROUNDS, max(FEWEST_ROUNDS, TURNS // (2 * members)))


def order(members: int, *, seed: str) -> list[int]:
    """Whose turn it is: each round a random order, and the same backwards, so that a machine that
    slows down steadily slows all alike.
    """
    dealer = random.Random(seed)
    found = []
    for _ in range(rounds(members)):
        once = dealer.sample(range(members), members)
        found += once + once[::-1]
    return found
