"""Results files as editors, spreadsheets, older versions and broken disks leave them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from random import Random

from bench.errors import UsageError
from bench.rows import files, schema
from bench.rows.files import ResultFile
from tests.campaign.pilots import Trial, Trials
from tests.rows import export_row, failed_row, ok_row

SAME, REFUSED = "read, the same rows", "refused in one line"
CONTRADICTS = "refused in one line: the row then contradicts itself"


def truncated(chance: Random, times: int, folder: Path) -> Trials:
    """Cut anywhere; cut at the end of a line it is a shorter file, and nothing says so."""
    good = _good(folder)
    ends = {place for place, byte in enumerate(good, 1) if byte == ord("\n")}
    for _ in range(times):
        cut = chance.randrange(len(good))
        yield _trial(folder, good[:cut], SAME if cut in ends else REFUSED, fewer=True)


def reordered(chance: Random, times: int, folder: Path) -> Trials:
    header, *lines = list(csv.reader(io.StringIO(_good(folder).decode())))
    for _ in range(times):
        order = chance.sample(range(len(header)), len(header))
        chance.shuffle(lines)
        yield _trial(folder, _csv([[line[at] for at in order] for line in (header, *lines)]), SAME)


def encoded(_: Random, times: int, folder: Path) -> Trials:
    good = _good(folder)
    text, crlf = good.decode(), good.replace(b"\n", b"\r\n")
    forms = [
        (b"\xef\xbb\xbf" + good, SAME),
        (crlf, SAME),
        (b"\xef\xbb\xbf" + crlf, SAME),
        *((text.encode(name), REFUSED) for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32")),
        (text.replace("node7", "nœud7").encode("cp1252"), REFUSED),
        (good.replace(b",", b";"), REFUSED),
    ]
    for data, expected in forms[:times]:
        yield _trial(folder, data, expected)


def doubled(chance: Random, times: int, folder: Path) -> Trials:
    """A row, or the whole file, twice in one file: another row of the same cell and repeat."""
    lines = _good(folder).splitlines(keepends=True)
    for _ in range(times):
        more = list(lines)
        more.insert(chance.randrange(1, len(lines) + 1), chance.choice(lines))
        yield _trial(folder, b"".join(more), REFUSED)


def older(_: Random, times: int, folder: Path) -> Trials:
    """Without a column that came later, on which others of the row may rest; without one that was
    always there; of another version.
    """
    header, *lines = list(csv.reader(io.StringIO(_good(folder).decode())))
    further = {column.name for column in schema.FURTHER}
    for at in range(min(times, len(header))):
        kept = [line[:at] + line[at + 1 :] for line in (header, *lines)]
        expected = (SAME, CONTRADICTS) if header[at] in further else (REFUSED,)
        yield _trial(folder, _csv(kept), *expected, without=at)
    yield _trial(folder, _csv([header, *(["0", *line[1:]] for line in lines)]), REFUSED)


def _trial(
    folder: Path, data: bytes, *expected: str, fewer: bool = False, without: int | None = None
) -> Trial:
    path = folder / "damaged.csv"
    path.write_bytes(data)
    try:
        found = files.read(path)
    except UsageError as error:
        seen = CONTRADICTS if "contradicts itself" in str(error) else REFUSED
        return Trial(seen in expected and len(str(error).splitlines()) == 1, seen)
    empty = (
        {} if without is None else {name: found[0][name] for name in [schema.COLUMNS[without].name]}
    )
    truth = [row | empty for row in files.read(folder / "good.csv")]
    same = all(row in truth for row in found) and (fewer or len(found) == len(truth))
    return Trial(same and SAME in expected, SAME if same else "read, other rows")


def _good(folder: Path) -> bytes:
    path = folder / "good.csv"
    if not path.exists():
        with ResultFile.create(path) as file:
            for row in (ok_row(), failed_row(repeat=1), ok_row(repeat=2), export_row(repeat=3)):
                file.append(row)
    return path.read_bytes()


def _csv(lines: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue().encode()
