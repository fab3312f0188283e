"""Called by mkdocs: the pages of the reference, made from the code while the site is built.

A page that is made anew each time cannot disagree with the code, and nothing made is committed.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from bench import cli, contract, errors, pilot_file, pilot_options
from bench.rows import schema

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
EXIT_CODES = {
    errors.EXIT_OK: "fine",
    errors.EXIT_NO: "the question was answered with no: a regression, a failed cell under"
    " `--strict`, a check that does not hold",
    errors.EXIT_USAGE: "usage or unreadable input, in one line that names the mend",
    errors.EXIT_NOTHING: "nothing was measured, or nothing could be compared",
    errors.EXIT_INTERRUPTED: "interrupted; every finished row is on disk",
}
DEFS = "#/$defs/"
PROGRAM = """
`make venv` puts the program into the project's own environment: `.venv/bin/bench`. `make help`
lists what make does, and which choices it passes on. Every command has `--help`.
"""
SPEC = """
What `--spec FILE` takes; [A pilot of your own](../pilot-file.md) says how it is used. A key that is
left out is as it is without a file. For editors: the [JSON schema](../pilot.schema.json).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference to the pages that lie in docs/."""
    made = {
        "command-line": command_line(cli.command_line()),
        "columns": schema.page(),
        "adapter-contract": adapter_contract(),
        "pilot-toml": pilot_toml(json.loads(pilot_file.schema())),
    }
    for name, text in made.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """The site has docs/ only: of a link that leaves it, the place in the repository is left."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def mended(link: re.Match[str]) -> str:
        text, target, _anchor = link.groups()
        place = posixpath.normpath(posixpath.join(folder, target))
        if "://" in target or place.startswith("docs/"):
            return link[0]
        return f"`{place}`" if text.strip("`") == place else f"{text} (`{place}`)"

    return LINK.sub(mended, markdown)


def table(*header: str, rows: Iterable[Iterable[str]]) -> str:
    """A markdown table; a bar in a cell is not the cell's end, and a placeholder no HTML."""
    lines = [header, ["---"] * len(header)]
    lines += [[one.replace("|", "\\|").replace("\n", " ") for one in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def command_line(parser: argparse.ArgumentParser) -> str:
    """Every command with its options, as ``--help`` has them."""
    parts = [
        "# Command line\n",
        PROGRAM,
        table("exit code", "means", rows=((f"{code}", text) for code, text in EXIT_CODES.items())),
    ]
    commands = next(
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    for name, command in commands.choices.items():
        about = command.description or f"{helps[name][:1].upper()}{helps[name][1:]}."
        parts += [f"## bench {name}\n", f"{plain(about)}\n", *options(command)]
    return "\n".join(parts)


def options(command: argparse.ArgumentParser) -> Iterator[str]:
    """A table for each group of options."""
    expand = command._get_formatter()._expand_help
    for group in command._action_groups:
        shown = [one for one in group._group_actions if one.help != argparse.SUPPRESS]
        if not (shown := [one for one in shown if one.dest != "help"]):
            continue
        if group.title not in {"positional arguments", "options"}:
            yield f"**{(group.title or '').capitalize()}**\n"
        rows = ((invoked(one), plain(expand(one)) if one.help else "") for one in shown)
        yield table("argument", "what it says", rows=rows)


def invoked(action: argparse.Action) -> str:
    """``--out FILE``, or what stands alone."""
    metavar = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    value = "" if action.nargs == 0 else f" {metavar}"
    value = f" [{metavar}]" if action.nargs == "?" else value
    value += " ..." if action.nargs in {"*", "+"} else ""
    return ", ".join(f"`{one}{value}`" for one in action.option_strings or [""]).replace("` ", "`")


def plain(text: str) -> str:
    """Words of a terminal as markdown: nothing in them is markup."""
    return re.sub(r"([*_<\[\]])", r"\\\1", text)


def adapter_contract() -> str:
    """What ``bench/contract.py`` says of itself, and each of its public types as it is written."""
    source = inspect.getsource(contract)
    tree = ast.parse(source)
    lines = source.splitlines()
    parts = ["# Adapter contract\n", (ast.get_docstring(tree) or "").replace("::\n", ":\n") + "\n"]
    parts.append("The types, as `bench/contract.py` has them.\n")
    for place, node in enumerate(tree.body):
        name = defined(node)
        if name is None or name.startswith("_"):
            continue
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        last = node.end_lineno
        after = tree.body[place + 1] if place + 1 < len(tree.body) else None
        if isinstance(after, ast.Expr):  # the words about it
            last = after.end_lineno
        parts += [f"## {name}\n", "```python", *lines[first - 1 : last], "```\n"]
    return "\n".join(parts)


def defined(node: ast.stmt) -> str | None:
    """The name that a statement gives to a type, a function or a word."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def pilot_toml(whole: Mapping[str, Any]) -> str:
    """Every key, by table, and the commented file that ``bench init`` writes."""
    parts = [
        "# pilot.toml\n",
        SPEC,
        "## The file\n",
        keys(whole["properties"]),
    ]
    for name, one in whole["$defs"].items():
        parts += [f"## {name}\n", f"{plain(one.get('description', ''))}\n"]
        parts.append(keys(one["properties"], required=one.get("required", ())))
    template = pilot_options.TEMPLATE.read_text(encoding="utf-8")
    parts += ["## What bench init writes\n", f"```toml\n{template}```\n"]
    return "\n".join(parts)


def keys(properties: Mapping[str, Any], *, required: Iterable[str] = ()) -> str:
    rows = (
        (
            f"`{name}`",
            kind(one),
            "needed" if name in required else default(one.get("default")),
            plain(one.get("description", "")),
        )
        for name, one in properties.items()
    )
    return table("key", "value", "default", "what it says", rows=rows)


def default(value: Any) -> str:
    """Empty where there is none, and where a table's own keys have theirs."""
    return "" if value is None or isinstance(value, dict | list) else f"`{json.dumps(value)}`"


def kind(one: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in one:
        name = one["$ref"].removeprefix(DEFS)
        return f"[{name}](#{name.lower()})"
    if several := one.get("anyOf") or one.get("oneOf"):
        return ", or ".join(kind(part) for part in several if part.get("type") != "null")
    if "enum" in one:
        return ", ".join(f"`{word}`" for word in one["enum"])
    if one["type"] == "array":
        return f"list of {kind(one['items'])}"
    if one["type"] == "object":
        values = one.get("additionalProperties") or next(iter(one["patternProperties"].values()))
        return f"table of {kind(values)}"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "yes or no",
    }
    return words[one["type"]] + bounds(one)


def bounds(one: Mapping[str, Any]) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "from", "exclusiveMaximum": "<", "maximum": "to"}
    found = [f"{sign} {one[name]}" for name, sign in signs.items() if name in one]
    return f" {', '.join(found)}" if found else ""
