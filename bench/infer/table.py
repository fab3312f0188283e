"""What a terminal shows of the loads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.infer.measure import Row
from bench.text import plain

LATE_MS = 0.5  # at the 99th percentile; where the CPU is free it was seen to be 0.01 to 0.1


def lines(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        variant = f"{row['backend']} {row['precision']} batch {row['batch']}"
        variant += "".join(f" {key}={value}" for key, value in row["asked"].items())
        if row["status"] != "ok":
            yield f"{variant}: {row['status']}: {plain(row['reason'])}"
        elif row["load"] == "limit":
            yield f"{variant}: {_limit(row)}"
        else:
            yield f"{variant}: {_load(row)}"


def _load(row: Row) -> str:
    """Samples a second are those answered; latencies count from the planned arrival."""
    rate = "" if row["rate"] is None else f" {row['rate']:.4g}/s"
    latency = ", ".join(f"{name} {ms:.3g}" for name, ms in row["latency_ms"].items())
    samples = row["served_per_s"] * row["batch"]
    said = (
        f"{row['load']}{rate}: {samples:.4g} samples/s; ms {latency} ({row['requests']} requests)"
    )
    if row["unserved"]:
        said += f", {row['unserved']} never served: the rate is beyond what it can do"
    if (row["late_ms_p99"] or 0.0) > LATE_MS:
        said += (
            f"; the idle server got requests up to {row['late_ms_p99']:.2g} ms late: others compute"
        )
    if row["load"] == "full" and row["output_err"] is not None:
        said += f"; outputs off by {row['output_err']:.2g} of fp32's largest"
    if "holds" in row:
        said += "" if row["load"] == "full" else f"; {'holds' if row['holds'] else 'does not hold'}"
    return said


def _limit(row: Row) -> str:
    limit = f"p{row['percentile']} within {row['slo_ms']:g} ms"
    if row["held_per_s"] is None:
        return f"{limit}: not held at {row['failed_per_s']:.4g} requests/s, the lowest rate tried"
    beyond = row["failed_per_s"]
    more = "more was not tried" if beyond is None else f"not {beyond:.4g}"
    samples = row["held_per_s"] * row["batch"]
    return f"{limit}: holds {row['held_per_s']:.4g} requests/s ({samples:.4g} samples/s), {more}"
