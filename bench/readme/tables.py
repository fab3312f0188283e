"""``python -m bench.readme``: the README's tables, made from the committed rows and never by hand.

Each table stands between two comments, ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bench import backends_index, grid, scaling, targets
from bench.capabilities import CAPABILITIES
from bench.errors import UsageError
from bench.readme import gates, language
from bench.readme.fairness import table as fairness_table
from bench.readme.fairness import verdicts
from bench.readme.parts import footnotes, median, newest, shown
from bench.rows.reading import OTHERS, read
from bench.rows.schema import Row

ROOT = Path(__file__).resolve().parents[2]
WORKLOADS = ("cnn", "transformer", "export")
STARTS = ("import", "build")
MACHINE = "epyc-vm-2cpu"  # times of two machines do not belong into one table
Table = Callable[[Sequence[Row]], Iterator[str]]


def support(rows: Sequence[Row]) -> Iterator[str]:
    """A table a device: backend and workload against precision, reasons below it."""
    for device in grid.DEVICES:
        # A cache that is not kept is no lack of support: the table of compile times has it.
        here = [
            row
            for row in rows
            if row["device"] == device
            and (row["status"] == "ok" or row.get("compile_cache") != "warm")
        ]
        if not any(row["status"] == "ok" for row in here):
            yield f"On {device} nothing is measured yet.\n"
            continue
        yield from _device(device, here)


def _device(device: str, rows: Sequence[Row]) -> Iterator[str]:
    known = [one for one in grid.PRECISIONS if any(row["precision"] == one for row in rows)]
    yield f"| {device} | workload | {' | '.join(known)} |"
    yield "|---" * (len(known) + 2) + "|"
    reasons: dict[str, int] = {}
    for backend in backends_index.names():
        for workload in WORKLOADS:
            mine = [row for row in rows if (row["backend"], row["workload"]) == (backend, workload)]
            cells = [_cell([r for r in mine if r["precision"] == one], reasons) for one in known]
            yield f"| {shown(backend)} | {workload} | {' | '.join(cells)} |"
    yield from footnotes(reasons)


def _cell(rows: Sequence[Row], reasons: dict[str, int]) -> str:
    """``measured`` in which modes or formats, and ``unsupported`` with the numbers of reasons."""
    if not rows:
        return "not yet measured"
    said = []
    fine = [row for row in rows if row["status"] == "ok"]
    if fine:
        said.append(f"measured ({', '.join(_kinds(fine))})")
    for status in dict.fromkeys(row["status"] for row in rows if row["status"] != "ok"):
        mine = [row for row in rows if row["status"] == status]
        why = dict.fromkeys(row["reason"] for row in mine)
        numbers = ", ".join(str(reasons.setdefault(reason, len(reasons) + 1)) for reason in why)
        # What is unsupported is so at every size; what did not end well may end well at another.
        sizes = dict.fromkeys(row["size"] for row in mine if status != "unsupported")
        said.append(f"{status}{''.join(f' at {size}' for size in sizes)} ({numbers})")
    return "; ".join(said)


def _kinds(rows: Sequence[Row]) -> Iterator[str]:
    """Modes or formats; where one was measured at ``tiny`` or tuned only, that is said."""
    seen: dict[str, set[tuple[bool, bool]]] = {}
    for row in rows:
        kind = row.get("export_format") or row["mode"]
        seen.setdefault(kind, set()).add((row["size"] == "tiny", row["track"] == "tuned"))
    for kind, ways in seen.items():
        if (False, False) in ways:
            yield kind
            continue
        for tiny, tuned in sorted(ways):
            yield f"{kind}{' tuned' if tuned else ''}{' at tiny' if tiny else ''}"


def training(rows: Sequence[Row]) -> Iterator[str]:
    """Each backend's usual mode at ``small``, fp32, out-of-box, from its newest run."""
    yield "| backend | version | mode | cnn | transformer | import | first step |"
    yield "|---|---|---|---|---|---|---|"
    for backend in backends_index.names():
        mine = [row for row in _usual(rows, backend) if row["workload"] in WORKLOADS[:2]]
        if not mine:
            continue
        rates = [_rate([row for row in mine if row["workload"] == one]) for one in WORKLOADS[:2]]
        seconds = [median(mine, name, "s") for name in ("import_s", "first_step_s")]
        cells = [shown(backend), mine[0]["backend_version"], mine[0]["mode"], *rates, *seconds]
        yield f"| {' | '.join(cells)} |"


def compiling(rows: Sequence[Row]) -> Iterator[str]:
    """What happens before the first steady step at ``tiny``, with fresh caches and with kept ones.

    Of each backend and each of its modes that compiles, from its newest run.
    """
    yield "| backend | mode | import | build | cnn, cold | warm | transformer, cold | warm |"
    yield "|---|---|---|---|---|---|---|---|"
    reasons: dict[str, int] = {}
    for backend in backends_index.names():
        for mode in backends_index.find(backend).modes:
            cold = newest(rows, backend, size="tiny", mode=mode)
            if not any(row.get("compile_s") for row in cold):
                continue
            warm = newest(rows, backend, size="tiny", mode=mode, compile_cache="warm")
            starts = [median(cold, f"{what}_s", "s") for what in STARTS]
            compiles = [
                _compile([row for row in found if row["workload"] == workload], reasons)
                for workload in WORKLOADS[:2]
                for found in (cold, warm)
            ]
            yield f"| {' | '.join([shown(backend), mode, *starts, *compiles])} |"
    yield from footnotes(reasons)


def _compile(rows: Sequence[Row], reasons: dict[str, int]) -> str:
    """Seconds, or the number of the reason why there are none."""
    refused = [row["reason"] for row in rows if row["status"] != "ok"]
    if refused:
        return f"none ({reasons.setdefault(refused[0], len(reasons) + 1)})"
    return median(rows, "compile_s", "s")


def exports(rows: Sequence[Row]) -> Iterator[str]:
    """Each backend's files at ``small``, fp32: the rung reached and the numeric difference."""
    yield "| backend | model | format | rung | largest difference | export | latency, batch 1 |"
    yield "|---|---|---|---|---|---|---|"
    for backend in backends_index.names():
        mine = [row for row in _usual(rows, backend) if row["workload"] == "export"]
        for row in mine:
            error = row["export_max_abs_err"]
            cells = [shown(backend), row["model"], row["export_format"], row["export_rung"]]
            cells += ["" if error is None else f"{error:.1e}"]
            cells += [median([row], "export_s", "s"), median([row], "infer_ms_p50", "ms")]
            yield f"| {' | '.join(cells)} |"


def capabilities(rows: Sequence[Row]) -> Iterator[str]:
    """What each backend was asked in small, on one CPU; the newest row of each cell answers."""
    yield f"| backend | {' | '.join(CAPABILITIES)} |"
    yield "|---" * (len(CAPABILITIES) + 1) + "|"
    reasons: dict[str, int] = {}
    for backend in backends_index.names():
        mine = {
            row["capability"]: row
            for row in sorted(rows, key=lambda row: row["started_at"])
            if row.get("capability") and (row["backend"], row["device"]) == (backend, "cpu")
        }
        cells = [_answer(mine[name], reasons) if name in mine else "" for name in CAPABILITIES]
        yield f"| {shown(backend)} | {' | '.join(cells)} |"
    yield from footnotes(reasons)


def _answer(row: Row, reasons: dict[str, int]) -> str:
    if row["status"] == "ok":
        return "yes"
    number = reasons.setdefault(row["reason"], len(reasons) + 1)
    return f"{'no' if row['status'] in ('unsupported', 'failed') else row['status']} ({number})"


def _usual(rows: Sequence[Row], backend: str) -> list[Row]:
    mode = backends_index.find(backend).modes[0]
    found = newest(rows, backend, size="small", mode=mode)
    return [row for row in found if row["status"] == "ok"]


def _rate(rows: Sequence[Row]) -> str:
    """Samples a second and the step; blank where nothing was measured."""
    rate = median(rows, "samples_per_s", "/s")
    return f"{rate} ({median(rows, 'step_ms_p50', 'ms')})" if rate else ""


def _fairness(_rows: Sequence[Row]) -> Iterator[str]:
    """A table a cluster; several runs of one are one more set of processes."""
    for cluster in sorted((ROOT / "results" / "fairness").glob("*/")):
        found: list[dict[str, str]] = []
        for path in sorted(cluster.glob("*.csv")):
            with path.open(newline="", encoding="utf-8") as stream:
                found += csv.DictReader(stream)
        yield from fairness_table(verdicts(found))
        missing = {(row["backend"], row["model"]): row["reason"] for row in found if row["reason"]}
        for (backend, model), reason in missing.items():
            yield f"\n{backend}, {model}: {reason}"


def _on(machine: str, table: Table) -> Table:
    return lambda rows: table([row for row in rows if row["cluster"] == machine])


SECTIONS: dict[str, Table] = {
    "support": support,
    "training": _on(MACHINE, training),
    "compiling": _on(MACHINE, compiling),
    "exports": _on(MACHINE, exports),
    "language": _on(MACHINE, language.training),
    "answering": _on(MACHINE, language.serving),
    "gates": gates.table,
    "targets": _on(MACHINE, targets.markdown),
    "scaling": scaling.of_two,
    "capabilities": capabilities,
    "fairness": _fairness,
}


def committed(folder: Path) -> list[Row]:
    """The rows of every cluster's folder, in the files' order."""
    clusters = sorted(path for path in folder.iterdir() if path.is_dir())
    named = [path for path in clusters if path.name not in {"local", *OTHERS}]
    return [
        row
        for cluster in named
        for file in sorted(cluster.glob("*.csv"))
        for row in read(file)
        if not row["trial"]
    ]


def filled(text: str, tables: dict[str, Iterable[str]]) -> str:
    """The page with its tables replaced; UsageError names one that has no place in it."""
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise UsageError(f"README.md needs {begin.strip()} and {end} once each")
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        made = "\n".join(lines).strip()
        text = f"{head}{begin}{made}\n{end}{tail}"
    return text
