"""Disks that are full, that take no writing, or that are gone. All but the last need root."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.campaign import pilots
from tests.campaign.pilots import CELLS, Pilot, Trial, Trials

PAGE_KIB = 4
ROOM = "size=64m"


@contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    """A tmpfs, whose size is counted in pages."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    """As soon as it can be: what keeps a job's log open may end a little later than the job."""
    command = ["mount", "-o", f"remount,{options}", str(place)]
    for _ in range(300):
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.2)
    subprocess.run(command, check=True)


def full_results(_: Random, times: int, folder: Path) -> Trials:
    """Every number of pages up to ``times``, so that each write is once the one that fails."""
    for pages in range(1, times + 1):
        with disk(folder / f"disk-{pages}", f"size={pages * PAGE_KIB}k") as small:
            out = small / "rows.csv"
            pilot = Pilot(*pilots.run(*CELLS, "--out", str(out)), scratch=folder / f"at-{pages}")
            code, made = pilot.wait(), out.exists()
            before, true = pilots.whole(out), pilots.true(out)
            seen = f"{len(pilots.ends(out))} of 6 rows kept" if made else "no file"
            remount(small, ROOM)
            how = ("--resume", str(out)) if made else ("--out", str(out))
            again = Pilot(*pilots.run(*CELLS, *how), scratch=folder / f"again-{pages}")
            again.wait()
            kept = "Traceback" not in pilot.text() and true and pilots.completed(out)
            kept = kept and pilots.whole(out).startswith(before)
            told = f"{true} {pilots.whole(out).startswith(before)} {again.text()[-900:]}"
            yield Trial(kept, f"exit {code}, {seen}, then completed" if kept else told)


def full_scratch(_: Random, times: int, folder: Path) -> Trials:
    """Where workers run: every cell has its row, and the run its end."""
    for pages in range(1, times + 1):
        out = folder / f"{pages}.csv"
        with disk(folder / f"disk-{pages}", f"size={pages * PAGE_KIB}k") as small:
            (small / "ballast").write_bytes(bytes(PAGE_KIB * 1024))  # first there is no page left
            pilot = Pilot(*pilots.run(*CELLS, "--out", str(out)), scratch=small)
            code = pilot.wait()
            text = pilot.text()
        found = [name for name, _ in pilots.ends(out)]
        kept = "Traceback" not in text and (code == 2 or found == list(pilots.ENDS))
        yield Trial(kept, f"exit {code}, {len(found)} of 6 rows" if kept else text[-600:])


def full_cache(_: Random, times: int, folder: Path) -> Trials:
    """Where data and weights are made: one line, or a run."""
    for place in range(times):
        with disk(folder / f"disk-{place}", f"size={4 << place}k") as small:
            yield _one_line(
                Pilot(
                    *pilots.run(*CELLS, "--out", str(folder / f"{place}.csv")),
                    scratch=folder / f"at-{place}",
                    prepare=lambda small=small: os.environ.update(BENCH_CACHE=str(small)),  # type: ignore[misc]
                )
            )


def read_only(_: Random, times: int, folder: Path) -> Trials:
    """Every command that writes: one line that names the mend, and nothing is changed."""
    with disk(folder / "disk", ROOM) as place:
        held, pilot = place / "rows.csv", place / "pilot"
        first = Pilot(*pilots.run(*CELLS, "--out", str(held)), scratch=folder / "first")
        submitted = Pilot(
            "submit",
            "--engine",
            "local",
            "--folder",
            str(pilot),
            "--",
            *pilots.run(*CELLS)[1:],
            scratch=folder / "submit",
        )
        assert (first.wait(), submitted.wait()) == (0, 0), submitted.text()
        assert wait_for_end(pilot, folder)
        remount(place, "ro")
        before = held.read_bytes()
        for number, command in enumerate(
            [
                pilots.run(*CELLS, "--out", str(place / "new.csv")),
                pilots.run(*CELLS, "--resume", str(held)),
                ("report", str(held), "-o", str(place / "page.html")),
                ("submit", "--engine", "local", "--folder", str(place / "other"), "--",
                 *pilots.run(*CELLS)[1:]),
                ("submit", "--resume", str(pilot)),
                ("collect", str(pilot), "--out", str(place / "all.csv")),
                ("score", str(held), "--out", str(place / "score.md")),
            ][:times]
        ):  # fmt: skip
            trial = _one_line(Pilot(*command, scratch=folder / f"at-{number}"))
            yield Trial(trial.kept and held.read_bytes() == before, f"{command[0]}: {trial.seen}")


def lost_folder(chance: Random, times: int, folder: Path) -> Trials:
    """The pilot's folder is renamed while its job runs here: an end, and what is gone is said."""
    for number in range(times):
        pilot, away = folder / f"pilot-{number}", folder / f"away-{number}"
        cells = [*pilots.run(*CELLS)[1:], "--world-size", "1"]
        done = Pilot("submit", "--engine", "local", "--folder", str(pilot), "--", *cells,
                     scratch=folder / f"submit-{number}")  # fmt: skip
        assert done.wait() == 0, done.text()
        time.sleep(chance.uniform(0.0, 10.0))
        pilot.rename(away)
        gone = _one_line(collect(pilot, folder / f"{number}-gone"))
        ended = wait_for_end(away, folder)
        strays = list(pilot.rglob("*.csv")) if pilot.exists() else []
        told = collect(away, folder / f"{number}-back")
        code = told.wait()
        kept = gone.kept and ended and not strays and "Traceback" not in told.text()
        back = "complete" if code == 0 else "what is missing was named"
        yield Trial(kept, f"gone: one line; back: {back}" if kept else f"{gone} {ended} {strays}"
                    f" {told.text()[-300:]}")  # fmt: skip


def collect(pilot: Path, scratch: Path) -> Pilot:
    return Pilot("collect", str(pilot), "--out", f"{scratch}.csv", scratch=scratch)


def wait_for_end(pilot: Path, folder: Path, seconds: float = 180.0) -> bool:
    """Whether the local job of a pilot ended in time; looked at without the harness."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        if not any(f"bench.cluster.share {folder}" in line for line in lines.stdout.splitlines()):
            return True
        time.sleep(0.2)
    return False


def _one_line(pilot: Pilot) -> Trial:
    """A refusal is one line and exit code 2; what is not refused runs."""
    code, lines = pilot.wait(), pilot.text().splitlines()
    refused = code == 2 and [line for line in lines if line.startswith("bench: ")] == lines[-1:]
    kept = (refused or code in (0, 3)) and "Traceback" not in pilot.text()
    said = "exit 2, one line" if refused else f"exit {code}, it ran"
    return Trial(kept, said if kept else f"exit {code}: {pilot.text()[-500:]}")
