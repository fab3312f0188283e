"""The README's tables of language models: training the decoder, and answering prompts with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench import backends_index
from bench.contract import GENERATE
from bench.readme.parts import footnotes, median, newest, shown
from bench.rows.schema import Row

TRAINED = ("llm", "lora")
BATCHES = (1, 8)
TRACKS = ("out-of-box", "tuned")


def training(rows: Sequence[Row]) -> Iterator[str]:
    """Tokens a second at ``small``, and what the optimizer and a step hold; each way measured."""
    yield "| backend | mode | llm | lora | moments | of lora | activations | of lora |"
    yield "|---|---|---|---|---|---|---|---|"
    reasons: dict[str, int] = {}
    for backend, how, found in _ways(rows, TRAINED):
        by = {name: [row for row in found if row["workload"] == name] for name in TRAINED}
        rates = [_rate(by[name], reasons) for name in TRAINED]
        sizes = [
            median(by[name], column, "MiB")
            for column in ("optimizer_mib", "activation_mib")
            for name in TRAINED
        ]
        yield f"| {' | '.join([shown(backend), how, *rates, *sizes])} |"
    yield from footnotes(reasons)


def serving(rows: Sequence[Row]) -> Iterator[str]:
    """At ``small``: how long prompts and tokens take, alone and eight at a time."""
    one, eight = (f"batch {batch}" for batch in BATCHES)
    yield (
        f"| backend | mode | first token, {one} | {eight} | next token, {one}: p50 | p99"
        f" | {eight}: p50 | p99 | tokens a second, {one} | {eight} | cache, bytes a token |"
    )
    yield "|---" * 11 + "|"
    reasons: dict[str, int] = {}
    for backend, how, found in _ways(rows, (GENERATE,)):
        by = [[row for row in found if row["batch"] == batch] for batch in BATCHES]
        first = [_figure(mine, "ttft_ms_p50", "ms", reasons) for mine in by]
        next_ = [median(mine, f"itl_ms_{p}", "ms") for mine in by for p in ("p50", "p99")]
        rates = [median(mine, "decode_tokens_per_s", "/s") for mine in by]
        cache = median(found, "cache_bytes_per_token", "")
        yield f"| {' | '.join([shown(backend), how, *first, *next_, *rates, cache])} |"
    yield from footnotes(reasons)


def _ways(rows: Sequence[Row], workloads: Sequence[str]) -> Iterator[tuple[str, str, list[Row]]]:
    """A backend, one of its modes and tracks, and the newest row of each of its cells."""
    asked = [row for row in rows if row["workload"] in workloads]
    for backend in backends_index.names():
        for mode in backends_index.find(backend).modes:
            for track in TRACKS:
                chosen = {"size": "small", "mode": mode, "track": track}
                found = newest(asked, backend, **chosen)
                if any(row["status"] != "unsupported" for row in found):
                    yield backend, f"{mode}{', tuned' if track == 'tuned' else ''}", found


def _rate(rows: Sequence[Row], reasons: dict[str, int]) -> str:
    return _figure(rows, "tokens_per_s", "tokens/s", reasons)


def _figure(rows: Sequence[Row], column: str, unit: str, reasons: dict[str, int]) -> str:
    """Or the status, with the number of its reason."""
    for row in rows:
        if row["status"] != "ok":
            return f"{row['status']} ({reasons.setdefault(row['reason'], len(reasons) + 1)})"
    return median(rows, column, unit)
