"""Every command in the pages is run: here, with stand-ins where it would take long, or by a test
of its own, which is named.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench import cli, machine, options, pilot_options
from bench.infer import options as infer_options
from tests.docs import pages, standins
from tests.harness import ROOT

RUN = {"init", "compare", "history", "export", "scaling", "targets", "backends"}
"""Commands that read files and take no time; ``--help`` of any is run, too."""
ONCE = {"score", "shortlist", "report", "doctor"}
"""As these, but each takes a second or more: the first is run, the others are read."""
STOOD_IN = {"run"}
"""What measures: run with stand-ins (tests/docs/standins.py), as far as OF_ITS_OWN lets it."""
OF_ITS_OWN = {
    "torch_module": "unit/test_own_module.py",
    "target": "cli/test_run.py",
    "resume": "faults/test_interrupts.py",
    "rendezvous": "cli/test_world_size.py",
}
"""Options of ``run`` that need something that is made there, and the test that runs them."""
ELSEWHERE = {
    "calibrate": "cli/test_calibrate.py",
    "gpu-check": "cli/test_gpu_check.py",
    "submit": "cli/test_submit.py",
    "collect": "cli/test_submit.py",
    "advisories": "unit/test_advisories.py",
    "sbom": "unit/test_sbom.py",
    "audit": "unit/test_audit.py",
    "verify": "unit/test_verify.py",
    "sign": "unit/test_verify.py",
    "snapshot": "unit/test_snapshot.py",
    "night": "unit/test_history.py",
}
"""Commands that a test of their own runs; here their options are read."""
MEASURED: set[str] = set()
"""What has been run with stand-ins: a page's command for a GPU is then another's."""
ANSWERED = (0, 1)
"""Exit codes of a command that was understood and had something to work on."""
FOREIGN = {
    "git": "fetches the repository",
    "cd": "the reader's shell",
    "export": "the reader's shell",
    "docker": "needs an image of the site's",
    "kubectl": "needs a cluster",
    "ssh-keygen": "makes a key of the reader's",
    "uv": "fetches Apache Otava, which is no dependency",
}
"""Programs of others, and why none is started here."""
FOREIGN_OPTIONS = {
    "--exclude-newer": "uv's",
    "--require-hashes": "pip's",
    "--no_ssh": "DeepSpeed's",
    "--master": "Paddle's",
}
BENCH = re.compile(r" -m bench (.+)")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

COMMANDS = pages.commands()
RUNS = ROOT / "results" / "epyc-vm-2cpu"
PILOT = RUNS / "20261123T045254Z-78476bf8.csv"
"""Torch and ONNX Runtime at small: 8 committed rows, so that every command is quick."""
NIGHTS = (PILOT.stem, "20261123T050646Z-66fb4b2b", "20261123T110019Z-6c4ff8db")
COPIES = (
    *("rows.csv", "base.csv", "new.csv", "rows-image-a.csv", "rows-image-b.csv"),
    *("here/rows.csv", "there/rows.csv", "results/old/rows.csv", "results/new/rows.csv"),
)
"""What the pages call results; all are copies of the same."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkout in which a reader has measured something."""
    made = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", ".venv", "locks", "bench", "backends", "workloads"):
        (made / name).symlink_to(ROOT / name)
    for name in COPIES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PILOT, made / name)
    (made / "results" / "calibration").symlink_to(ROOT / "results" / "calibration")
    (made / "nights").mkdir()
    for name in NIGHTS:
        shutil.copy(RUNS / f"{name}.csv", made / "nights")
    shutil.copy(pilot_options.TEMPLATE, made / "pilot.toml")
    for name in ("model.onnx", "bert.onnx"):
        (made / name).write_text("1")  # the fake service's milliseconds a request
    np.savez(made / "samples.npz", x=np.ones((8, 2), np.float32))
    (made / "package").mkdir()
    (made / "package" / "module.py").write_text("def factory(): ...\ndef example(): ...\n")
    return made


@pytest.fixture(autouse=True)
def in_the_checkout(folder, monkeypatch):
    monkeypatch.chdir(folder)
    # Where there are accelerators each backend would be asked, in its own environment.
    monkeypatch.setattr(machine, "likely_device", lambda: "cpu")
    monkeypatch.setenv("COLUMNS", "200")  # as wide as the pages show tables


def first_of_its_kind(command: pages.Command) -> bool:
    kind = command.words[1]
    return command == next(one for one in COMMANDS if one.words[1:2] == (kind,))


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_understood(command, capsys, monkeypatch):
    program, *arguments = plain(command)
    if program in FOREIGN:
        for inner in within(arguments):
            test_a_command_is_understood(command._replace(words=inner), capsys, monkeypatch)
    elif program == "make":
        for expanded in made(arguments):
            obey(expanded, command, monkeypatch)
    else:
        assert program in {"bench", ".venv/bin/bench"}, f"{program}: whose is it? See FOREIGN"
        obey(arguments, command, monkeypatch)
        printed = capsys.readouterr().out
        assert not command.printed or shown(command.printed, printed), "it prints something else"


def obey(arguments: list[str], command: pages.Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it, with stand-ins where that would take long, or read it and know who runs it."""
    kind = arguments[0]
    if "--help" in arguments:
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main(arguments)
    elif kind in RUN or (kind in ONCE and first_of_its_kind(command)):
        ran(arguments)
    elif kind in STOOD_IN:
        stood_in(arguments, monkeypatch)
    else:
        read(arguments)
        assert kind in ONCE or runs(ELSEWHERE[kind], kind)
        assert not command.printed, "nobody looks whether it prints this: make it a block of text"


def stood_in(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``bench run``, in seconds; what INSTEAD replaces has been read before."""
    asked = pilot_options.parsed(cli.command_line(), arguments)
    read(arguments)
    own = [name for name, value in OF_ITS_OWN.items() if getattr(asked, name)]
    if own:
        assert all(runs(OF_ITS_OWN[name], f"--{name.replace('_', '-')}") for name in own)
        return
    standins.install(monkeypatch)
    standins.cheap(asked)
    if (choices := standins.choices(asked)) not in MEASURED:
        MEASURED.add(choices)
        assert asked.command(asked) in ANSWERED


def runs(test: str, words: str) -> bool:
    """Whether a test of that name speaks of these."""
    return words in (ROOT / "tests" / test).read_text(encoding="utf-8")


def within(arguments: list[str]) -> Iterator[tuple[str, ...]]:
    """What another program is to run: ``docker run IMAGE bash -c 'make venv && bench ...'``."""
    for option, script in pairwise(arguments):
        if option == "-c":
            yield from (tuple(shlex.split(part)) for part in script.split("&&"))


def plain(command: pages.Command) -> list[str]:
    """Without variables that are set for it alone."""
    found = list(command.words)
    while re.match(r"[A-Z_]+=", found[0]):
        del found[0]
    return found


def ran(arguments: list[str]) -> None:
    if arguments[0] == "init":
        Path("pilot.toml").unlink()
    assert cli.main(arguments) in ANSWERED


def shown(printed: Iterable[str], out: str) -> bool:
    """Whether the lines were printed in this order, each whole; between them may be others where
    the page has three dots.
    """
    wanted = [".*" if line == "..." else re.escape(line) + " *" for line in printed]
    return re.search("^" + "\n".join(wanted) + "$", out, re.MULTILINE | re.DOTALL) is not None


def read(arguments: list[str]) -> None:
    """Options, and the names that the grid is made from; UsageError or SystemExit if wrong."""
    found = pilot_options.parsed(cli.command_line(), arguments)
    if arguments[0] == "submit" and found.run:
        read(["run", *found.run])
    elif arguments[0] == "run" and not infer_options.asked(found):
        options.request(found, say=print)


def made(arguments: list[str]) -> list[list[str]]:
    """What make would pass on to ``bench``; each choice must have come through."""
    done = subprocess.run(
        ["make", "--dry-run", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ")
    for choice in arguments:
        name, chosen, value = choice.partition("=")
        switch = f"--{name.lower().replace('_', '-')}"
        there = f"'{value}'" in lines or (value == "1" and switch in lines.split())
        assert there or not chosen, f"make passes {choice} over"
    return [shlex.split(found) for found in BENCH.findall(lines)]


def test_commands_and_options_in_sentences_are_there():
    known = {name: option_strings(name) for name in commands()}
    every = set().union(*known.values())
    wrong = []
    for page, (first, *rest) in pages.spans():
        if first == "make":
            there = all(re.search(rf"\b{name.split('=')[0]}\b", MAKEFILE) for name in rest)
        elif first == "bench" and rest:
            kinds = known.get(rest[0], set()) | (known["run"] if "--" in rest else set())
            given = {word.split("=")[0] for word in rest if re.match("--.", word)}
            there = rest[0] in known and given <= kinds
        else:
            there = first == "bench" or first.split("=")[0] in every | set(FOREIGN_OPTIONS)
        if not there:
            wrong.append(f"{page}: {' '.join([first, *rest])}")
    assert wrong == []


def commands():
    (found,) = (one for one in cli.command_line()._actions if one.dest == "==SUPPRESS==")
    return found.choices


def option_strings(name: str) -> set[str]:
    return {text for action in commands()[name]._actions for text in action.option_strings}


@pytest.mark.parametrize(
    "line",
    [
        "bench compare rows.csv --betwixt backend",
        "bench run --backend trch",
        "bench submit --engine slurm --folder x -- --backend torch --sise tiny",
        "make bench SISE=tiny",
        "make bnech",
        "make bench BACKEND=trch",
        "bench compare there-is-none.csv --between backend",
        "pip install framework-pilot",
        "docker run IMAGE bash -c 'make venv && bench run --sise tiny'",
    ],
)
def test_a_wrong_command_is_seen(line, capsys, monkeypatch):
    """By the test of the pages' own: that it can fail is worth as much as that it passes."""
    wrong = pages.Command("a page", tuple(pages.words(line)))
    with pytest.raises((AssertionError, SystemExit, cli.UsageError)):
        test_a_command_is_understood(wrong, capsys, monkeypatch)


def test_another_output_is_seen():
    out = "one  \ntwo\nthree\n"
    assert shown(["one", "two"], out)
    assert shown(["one", "...", "three"], out)
    assert not shown(["one", "three"], out)
    assert not shown(["tw"], out)


def test_blocks_are_found_by_what_they_say_they_are():
    assert typed("bash", "make venv\nls \\\n  -l\n") == [("make venv", []), ("ls -l", [])]
    assert typed("console", "$ bench init\npilot\n") == [("bench init", ["pilot"])]
    assert typed("", "make bench  # it\nresults: rows.csv\n") == [("make bench  # it", [])]
    assert typed("text", "make bench\n") == []
    assert {"README.md", "docs/tutorial.md"} <= {command.page for command in COMMANDS}


def typed(language: str, text: str) -> list[tuple[str, list[str]]]:
    return list(pages.typed(language, text))
