"""From answers to findings: ok, missing, wrong, or a part that a backend may be without. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from bench.contract import Cell

OK, MISSING, WRONG, WITHOUT = "ok", "missing", "wrong", "without"

PROMISES: Mapping[str, str] = {
    "NAME": "the backend's name",
    "DIST": "the distribution whose version is recorded",
    "devices": "what this environment can really use, probed",
    "absent": "the framework's words where it has no such device",
    "unsupported": "what only the framework knows: a reason in words, or None",
    "setup": "apply device, threads, precision flags",
    "effective": "what is in force, read back from the framework",
    "build": "a native model from the weights, a Program",
    "export": "write cell.format below path, and return facts about the file",
    "check": "raise, in the framework's words, where a file is invalid",
    "load": "read an exported file back, a Program ready to infer",
    "gemm": "an n x n x n matrix product, or None",
    "stream": "adds 1 to n float32 numbers",
    "allreduce": "sums over devices, or contract.no_allreduce",
    "peak_device_bytes": "the framework's own figure, or contract.no_device_bytes",
    "launch": "argv of a launcher, or contract.one_process",
}
"""The contract's names, and what each is for."""

_PROGRAM = ("unsupported", "setup", "effective", "build")
NEEDS: Mapping[str, tuple[str, ...]] = {
    "names": (),
    "devices": ("devices", "absent"),
    "refusals": ("unsupported",),
    "launch": ("launch",),
    "kernels": (*_PROGRAM[:3], "gemm"),
    "stream": (*_PROGRAM[:3], "stream"),
    "memory": (*_PROGRAM, "peak_device_bytes"),
    "capabilities": (),
    "torn": (*_PROGRAM, "export", "check"),
    **dict.fromkeys(("settings", "parity", "repeats", "wait", "closed"), _PROGRAM),
}
LADDER = (*_PROGRAM, "export", "check", "load")

SAID = {
    "refusals": "what nobody runs is refused in words",
    "launch": "the launcher",
    "settings": "settings are read back",
    "kernels": "matrix products",
    "stream": "adding to numbers",
    "memory": "peak memory of the device",
    "capabilities": "functions for capabilities",
    "parity": "parity with the reference",
    "repeats": "two builds agree, steps add up",
    "wait": "wait blocks",
    "closed": "close lets go",
    "torn": "a torn file is refused",
}
STILL = 1e-5  # relative, between two losses of one batch with no learning in between
GROWS, LEFT = 2.0, 0.25
"""Eight times the steps take at least twice as long, and reading a result after ``wait`` at most a
quarter of them: both hold by a wide margin, whatever else the machine does."""


class Finding(NamedTuple):
    """One line of the table."""

    status: str
    what: str
    said: str


class Context(NamedTuple):
    """What an answer is judged against."""

    cell: Cell
    launches: bool = False
    """The registry names the variable in which a launcher tells the rank."""


def lacking(missing: Sequence[str]) -> list[Finding]:
    return [Finding(MISSING, name, PROMISES[name]) for name in missing]


def judge(what: str, reply: Mapping[str, Any], context: Context) -> Finding:
    """One question's answer. A reason in words is an answer, where it has some."""
    label = SAID.get(what, what)
    if "error" in reply:
        return Finding(WRONG, label, reply["error"])
    if "unsupported" in reply:
        said = str(reply["unsupported"])
        return Finding(WITHOUT if len(said.split()) > 2 else WRONG, label, f"it says: {said}")
    faults, said = JUDGES[what](reply["found"], context)
    return Finding(WRONG if faults else OK, label, "; ".join(faults) or said)


def ladder(cell: Cell, climbed: Mapping[str, Any]) -> Finding:
    """An export that was written, checked, loaded, compared, and tried at another batch size."""
    what = f"the export ladder: {cell.format} {cell.model}"
    status, rung, reason = climbed["status"], climbed["rung"], climbed["reason"]
    if status == "unsupported":
        return Finding(WITHOUT, what, f"it says: {reason}")
    if status != "ok" or rung != "dynamic_batch":
        return Finding(WRONG, what, f"{status} at rung {rung}: {reason}")
    return Finding(OK, what, f"to its end, logits off by at most {climbed['max_abs_err']:.2g}")


def code(found: Collection[Finding]) -> int:
    return int(any(one.status in (MISSING, WRONG) for one in found))


def summary(found: Collection[Finding]) -> str:
    counts = Counter(one.status for one in found)
    order = (OK, MISSING, WRONG, WITHOUT)
    return ", ".join(f"{counts[status]} {status}" for status in order if counts[status])


Judged = tuple[list[str], str]
"""Faults, none where all is well; and what to say then."""


def _names(found: Any, context: Context) -> Judged:
    named = found["name"] == context.cell.backend
    faults = [] if named else [f"NAME is {found['name']!r}, not {context.cell.backend!r}"]
    return faults, f"{found['name']} {found['version']}"


def _devices(found: Any, context: Context) -> Judged:
    """A kind that is asked for and not there would be the one that ``lacks`` names."""
    faults, wanted = [], context.cell.device
    if wanted not in found["devices"]:
        faults.append(f"{wanted} is not among {', '.join(found['devices'])}: {found['words']}")
    if not found["words"]:
        faults.append(f"absent({found['lacks']!r}) says nothing")
    said = f"{', '.join(found['devices'])}; no {found['lacks']}: {found['words']}"
    return faults, said


def _refusals(found: Any, context: Context) -> Judged:
    return [f"{what} is not refused" for what, said in found.items() if not said], "all are"


def _launch(found: Any, context: Context) -> Judged:
    argv = found["argv"]
    if context.launches:
        faults = [] if found["starts"] else [f"{argv[:1]} is no program that can be started"]
        return faults, " ".join(argv[:3])
    faults = [f"it returns {argv[:1]}, and the entry has no rank_env"] if argv else []
    return faults, "none: one process drives all devices"


def _settings(found: Any, context: Context) -> Judged:
    asked, faults = found["asked"], []
    for when in ("before", "after"):
        if found[when].get("threads") != asked:
            told = found[when].get("threads")
            faults.append(f"threads are {told} {when} the first step, not {asked}")
    types = found["after"].get("dtypes", {})
    if context.cell.trains and not {"parameters", "compute", "reduce"} <= set(types):
        faults.append("dtypes of parameters, compute and reduce are not told (answers.dtypes)")
    return faults, f"threads {asked}" + "".join(f", {use} {kind}" for use, kind in types.items())


def _kernels(found: Any, context: Context) -> Judged:
    faults = [] if "fp32" in found else ["gemm returns None for fp32"]
    if "nonsense" in found:
        faults.append("gemm has a product for a precision that there is not")
    if context.cell.device == "cpu" and "tf32" in found:
        faults.append("gemm has TF32, which no CPU has")
    return faults, ", ".join(found)


def _stream(found: Any, context: Context) -> Judged:
    right = found == [2.0, 2.0, 2.0]
    return [] if right else [f"1 + 1, three times, is {found}"], "right, twice"


def _memory(found: Any, context: Context) -> Judged:
    held = found["bytes"]
    if held is None:
        return [], "the framework does not count it"
    least = 0 if context.cell.device == "cpu" else 1
    whole = isinstance(held, int) and held >= least
    return [] if whole else [f"peak_device_bytes is {held!r}"], f"{held} bytes"


def _capabilities(found: Any, context: Context) -> Judged:
    return [f"{name} is missing" for name in found], "all there"


def _parity(found: Any, context: Context) -> Judged:
    faults = [] if found["dtype"] == "float32" else [f"logits are {found['dtype']}, not float32"]
    off = f"logits off by {found['parity_logits_err']:.2g}"
    if (loss := found["parity_loss_err"]) is not None:
        off += f", losses by {loss:.2g}"
    return faults, f"{found['param_count']} parameters, {off}"


def _repeats(found: Any, context: Context) -> Judged:
    first, still = found["first"], found["still"]
    half = len(still) // 2
    pairs = list(zip(still[:half], still[half:], strict=True))
    checks = {
        "two builds with one seed have two results": first == found["again"],
        "steps that were only enqueued are not all done": found["at_end"] == first[-1],
        "without a learning rate the losses change": all(
            abs(one - other) <= STILL * abs(one) for one, other in pairs
        ),
        "all batches have one loss": len(set(still[:half])) == half,
        "training changes nothing": first[half:] != still[half:],
    }
    return [fault for fault, right in checks.items() if not right], "equal to the bit"


def _wait(found: Any, context: Context) -> Judged:
    few, many, left = found["few"], found["many"], found["left"]
    faults = []
    if many <= GROWS * few:
        faults.append(f"2 steps take {few / 1e6:.3g} ms and 16 {many / 1e6:.3g} ms")
    if left >= LEFT * many:
        faults.append(f"after wait, reading a result takes {left / many:.0%} of 16 steps")
    return faults, f"16 steps take {many / few:.1f} times as long as 2"


def _closed(found: Any, context: Context) -> Judged:
    alive = ", ".join(found["alive"])
    faults = [f"close keeps {alive} alive"] if alive else []
    return faults + (["a closed program still has facts"] if found["facts"] else []), "all of it"


def _torn(found: Any, context: Context) -> Judged:
    faults = [] if found["facts"].get("file") else ["export does not say which file it wrote"]
    if found["whole"]:
        faults.append(f"check refuses the whole file: {found['whole']}")
    if not found["cut"]:
        faults.append("check passes a file that was cut short")
    return faults, found["cut"]


JUDGES: Mapping[str, Callable[[Any, Context], Judged]] = {
    "names": _names,
    "devices": _devices,
    "refusals": _refusals,
    "launch": _launch,
    "settings": _settings,
    "kernels": _kernels,
    "stream": _stream,
    "memory": _memory,
    "capabilities": _capabilities,
    "parity": _parity,
    "repeats": _repeats,
    "wait": _wait,
    "closed": _closed,
    "torn": _torn,
}
