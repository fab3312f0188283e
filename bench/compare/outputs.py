"""A comparison as a table, CSV, JSON, markdown or JUnit XML."""

from __future__ import annotations

import io
import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.compare.metrics import INCOMPARABLE, INCONCLUSIVE, RUNG, SAME, THROUGHPUT
from bench.compare.report import Comparison, detectable, sentences
from bench.rows import schema
from bench.rows.schema import RUNGS
from bench.text import plain, unmarked

SHOWN = 200  # lines on a terminal; files have all
_STYLE = {"slower": "red", "larger": "red", "lower": "red", "faster": "green"}


def table(found: Comparison, *, failing: Sequence[str]) -> str:
    """For a terminal or a pipe: throughput of every cell, and what else is worth a line."""
    out = io.StringIO()
    console = Console(file=out, highlight=False, width=200)
    for line in sentences(found):
        console.print(Text(line), soft_wrap=True)
    lines = _worth_a_line(found.lines)
    console.print(_table(lines.head(SHOWN)))
    if len(lines) > SHOWN:
        console.print(f"... and {len(lines) - SHOWN} more lines: --format csv --out FILE has all")
    for line in _closing(found, failing):
        console.print(Text(line), soft_wrap=True)
    return out.getvalue()


def _worth_a_line(lines: pd.DataFrame) -> pd.DataFrame:
    """Throughput always; another figure where it says more than that nothing was seen."""
    quiet = lines["verdict"].isin([SAME, INCONCLUSIVE]) & (lines["metric"] != THROUGHPUT.name)
    # A cell that could not be compared says so once.
    again = (lines["verdict"] == INCOMPARABLE) & lines.duplicated(["new", "cell", "reason"])
    return lines[~quiet & ~again].sort_values(["new", "cell"], kind="stable")


def _table(lines: pd.DataFrame) -> Table:
    made = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in ("cell", "figure", "base", "new", "new/base", "interval", "verdict", "note"):
        right = name in ("base", "new", "new/base")
        made.add_column(name, justify="right" if right else "left", overflow="fold")
    several = lines["new"].nunique() > 1
    for line in lines.to_dict("records"):
        cell = f"{line['new']}: {line['cell']}" if several else line["cell"]
        parts = (cell, line["metric"], *_numbers(line), line["verdict"], _note(line))
        style = _STYLE.get(line["verdict"], "")
        # Text, not str: brackets in a name are not markup.
        made.add_row(*(Text(plain(str(part)), style=style) for part in parts))
    return made


def _numbers(line: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Base, new, ratio and interval as people read them."""
    if line["metric"] == RUNG:
        return RUNGS[int(line["base_value"])], RUNGS[int(line["new_value"])], "", ""
    base, new = (_figure(line[name]) for name in ("base_value", "new_value"))
    if line["verdict"] == INCOMPARABLE:
        return base, new, "", ""
    bounds = "unknown"
    if math.isfinite(line["high"]):
        bounds = f"{line['low']:.3f} to {line['high']:.3f}"
    return base, new, f"{line['ratio']:.3f}", bounds


def _note(line: Mapping[str, Any]) -> str:
    if line["reason"]:
        return str(line["reason"])[:300]
    if line["verdict"] != INCONCLUSIVE:
        return ""
    if not math.isfinite(line["detectable"]):
        return f"too few processes ({line['base_n']} and {line['new_n']})"
    return f"would have seen {line['detectable']:.1%}"


def _figure(value: float) -> str:
    return "" if not math.isfinite(value) else f"{value:,.4g}"


def _closing(found: Comparison, failing: Sequence[str]) -> list[str]:
    counts = ", ".join(f"{number} {word}" for word, number in found.counts().items())
    lines = [f"{found.compared} of {len(found.lines)} figures compared: {counts or 'none'}"]
    lines.append(detectable(found))
    stops = found.failing(failing)
    if len(stops):
        lines.append(f"fails on {', '.join(failing)}: {len(stops)} figures")
    return lines


def csv(found: Comparison, **_: Any) -> str:
    """Every line; texts are guarded against formulas as in results files."""
    lines = found.lines.copy()
    for name in ("new", "cell", "reason"):
        texts = {text: schema.field(text) for text in lines[name].astype(str).unique()}
        lines[name] = lines[name].astype(str).map(texts)
    out = io.BytesIO()
    # Arrow writes 400,000 lines in a tenth of the time that pandas takes; NaN is an empty field.
    arrow_csv.write_csv(pa.Table.from_pandas(lines, preserve_index=False), out)
    return out.getvalue().decode()


def as_json(found: Comparison, *, failing: Sequence[str]) -> str:
    """One object: base, new, differences, splits, turned, disturbed, lines, counts, failing."""
    lines = [
        {name: _number(value) for name, value in line.items()}
        for line in found.lines.to_dict("records")
    ]
    return json.dumps(
        {
            "base": found.base,
            "new": list(found.news),
            "level": found.how.level,
            "margin": found.how.margin,
            "differences": {
                new: [asdict(one) for one in some] for new, some in found.differences.items()
            },
            "splits": [
                {name: _number(value) for name, value in asdict(one).items()}
                for one in found.splits
            ],
            "turned": [asdict(one) for one in found.turned],
            "disturbed": found.disturbed,
            "lines": lines,
            "counts": found.counts(),
            "failing": len(found.failing(failing)),
        },
        allow_nan=False,
    )


def _number(value: Any) -> Any:
    """JSON has no infinity and no NaN: what is unknown is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value


def markdown(found: Comparison, *, failing: Sequence[str]) -> str:
    """For a job's summary or an issue: the same lines as the table."""
    parts = [f"### {found.base} → {', '.join(found.news)}", ""]
    parts += [f"- {unmarked(line)}" for line in sentences(found)]
    parts += ["", "| cell | figure | base | new | new/base | interval | verdict | note |"]
    parts.append("|---|---|---:|---:|---:|---|---|---|")
    lines = _worth_a_line(found.lines)
    for line in lines.head(SHOWN).to_dict("records"):
        row = (line["cell"], line["metric"], *_numbers(line), line["verdict"], _note(line))
        parts.append(f"| {' | '.join(unmarked(str(part)) for part in row)} |")
    if len(lines) > SHOWN:
        parts.append(f"\n... and {len(lines) - SHOWN} more lines")
    return "\n".join([*parts, "", *_closing(found, failing)]) + "\n"


def junit(found: Comparison, *, failing: Sequence[str]) -> str:
    """A test case a figure: failed where the gate stops, skipped where nothing can be said."""
    suites = ET.Element("testsuites")
    for new in found.news:
        lines = found.lines[found.lines["new"] == new]
        suite = ET.SubElement(suites, "testsuite", name=_xml(f"{found.base} -> {new}"))
        counts = {"tests": len(lines), "failures": 0, "skipped": 0}
        for line in lines.to_dict("records"):
            case = ET.SubElement(
                suite, "testcase", classname=_xml(line["cell"]), name=line["metric"]
            )
            message = _xml(f"{line['verdict']} {' '.join(_numbers(line))} {_note(line)}")
            if line["verdict"] in failing or line["cause"] in failing:
                ET.SubElement(case, "failure", message=message)
                counts["failures"] += 1
            elif line["verdict"] in (INCONCLUSIVE, INCOMPARABLE):
                ET.SubElement(case, "skipped", message=message)
                counts["skipped"] += 1
        suite.attrib |= {name: str(number) for name, number in counts.items()}
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """XML 1.0 has no control characters, escaped or not."""
    return plain(text)


Format = Callable[..., str]
FORMATS: Mapping[str, Format] = {
    "table": table,
    "csv": csv,
    "json": as_json,
    "markdown": markdown,
    "junit": junit,
}
