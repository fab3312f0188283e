"""The rules of the house that no linter knows, held over the files themselves."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.registry import BACKENDS

ROOT = Path(__file__).resolve().parents[2]


def words(text: str) -> set[str]:
    return set(text.split())


FRAMEWORKS = words(
    "torch tensorflow jax keras lightning pytorch_lightning deepspeed mxnet paddle mindspore"
    " onnx onnxruntime"
)
NAMES = FRAMEWORKS | set(BACKENDS)  # also of the backends that are still to come
# What runs under every backend's own interpreter, the oldest of which is 3.9. What it imports at
# the top must be of it, too.
WORKER_HALF = {
    *(path.relative_to(ROOT).as_posix() for path in (ROOT / "bench/worker").rglob("*.py")),
    *(
        f"{path}.py"
        for path in words(
            "bench/__init__ bench/contract bench/dims bench/errors bench/safetensors bench/clock"
            " bench/memory bench/parity bench/job bench/rendezvous bench/trials bench/capabilities"
            " bench/generation bench/failures bench/pipeline bench/text"
            " workloads/__init__ workloads/batches workloads/flops workloads/numpy_forward"
            " workloads/own/__init__ workloads/own/sources"
        )
    ),
}
LATER = {  # in the standard library, but not in 3.9's
    "": words("tomllib"),
    "collections.abc": words("Buffer"),
    "contextlib": words("aclosing chdir"),
    "dataclasses": words("KW_ONLY"),
    "datetime": words("UTC"),
    "enum": words("StrEnum verify"),
    "itertools": words("pairwise batched"),
    "types": words("EllipsisType NoneType NotImplementedType UnionType"),
    "typing": words(
        "Concatenate LiteralString Never NotRequired ParamSpec Required Self TypeAlias TypeGuard"
        " TypeVarTuple Unpack assert_never assert_type override reveal_type"
    ),
}
LATER_KEYWORDS = {"zip": {"strict"}, "dataclass": {"slots", "kw_only"}, "field": {"kw_only"}}

FUNCTION_LINES = 45
FILE_LINES = 300
ADAPTER_LINES = 200
ADAPTERS = {entry.module.replace(".", "/") + ".py" for entry in BACKENDS.values()}


def committed(*patterns: str) -> list[Path]:
    """What is in git, or is about to be: files that are ignored are nobody's business."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = {ROOT / name for name in listed.stdout.split("\0") if name}
    return sorted(path for path in paths if path.is_file())  # some may be removed, not yet in git


SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in committed("bench/*.py", "backends/*.py", "workloads/*.py", "examples/*.py")
}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def found(name: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node of a file, with its place."""
    for node in ast.walk(TREES[name]):
        yield f"{name}:{getattr(node, 'lineno', 0)}", node


def test_there_are_files_to_look_at():
    assert {"bench/clock.py", "backends/torch/adapter.py", *WORKER_HALF} <= set(SOURCES)
    assert set(SOURCES) >= ADAPTERS


IMPORT_ALL = """
import importlib, json, pkgutil, sys
import bench, workloads
names = [
    module.name
    for package in (bench, workloads)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")  # importing that is running it
]
for name in names:
    importlib.import_module(name)
print(json.dumps([names, list(sys.modules)]))
"""


def test_no_module_of_the_core_imports_a_framework():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names, modules = json.loads(done.stdout)
    assert {"bench.cli", "bench.worker.session", "workloads.prepare"} <= set(names)
    assert FRAMEWORKS & {name.partition(".")[0] for name in modules} == set()


IMPORT_INSTALLER = """
import sys
before = set(sys.modules)
import bench.envs.harness
names = {name.partition(".")[0] for name in set(sys.modules) - before}
from importlib.metadata import packages_distributions
known = packages_distributions()
print(*{dist for name in names for dist in known.get(name, ())})
"""


def test_what_fills_the_environment_runs_before_it_is_filled():
    first = re.search(r"\^\(([a-z|]+)\)==", (ROOT / "Makefile").read_text())
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_INSTALLER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {*done.stdout.split(), "uv"} == set(first[1].split("|"))


def texts(node: ast.AST) -> set[str]:
    return {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def test_only_an_adapter_knows_its_framework():
    asked = [
        f"{place}: {sorted(names)}"
        for name in SOURCES
        if not name.startswith(("backends/", "examples/"))
        for place, node in found(name)
        if isinstance(node, ast.Compare | ast.MatchValue) and (names := texts(node) & NAMES)
    ]
    assert asked == [], "ask the registry or the adapter instead"


def imports(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Module and name of what is imported when a file is, also below ``if`` and ``try``."""
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from ((alias.name, "") for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert not statement.level, "relative import"
            yield from ((str(statement.module), alias.name) for alias in statement.names)
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
            yield from imports(inner)


@pytest.mark.parametrize("name", sorted(WORKER_HALF))
def test_the_worker_half_needs_python_3_9_and_numpy_only(name):
    ast.parse(SOURCES[name], feature_version=(3, 9))
    allowed = set(sys.stdlib_module_names) - LATER[""] | {"numpy"}
    for module, item in imports(TREES[name].body):
        top = module.partition(".")[0]
        if top in ("bench", "workloads"):
            # ``from bench import clock`` and ``from bench.clock import block`` are bench/clock.py.
            base = module.replace(".", "/")
            paths = (f"{base}/{item}.py", f"{base}.py", f"{base}/__init__.py")
            path = next(path for path in paths if path in SOURCES)
            assert path in WORKER_HALF, f"{path} is not of the worker half"
        else:
            assert top in allowed, f"{module} is not there in every backend's environment"
            assert item not in LATER.get(module, ()), f"{module}.{item} is newer than Python 3.9"
    for place, node in found(name):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            newer = {keyword.arg for keyword in node.keywords} & LATER_KEYWORDS.get(
                node.func.id, set()
            )
            assert newer == set(), f"{place} is newer than Python 3.9"


def test_a_file_can_be_read_in_one_go():
    lines = {name: source.count("\n") for name, source in SOURCES.items()}
    assert {name: n for name, n in lines.items() if n > FILE_LINES} == {}
    backends = {name: n for name, n in lines.items() if name.startswith(("backends/", "examples/"))}
    assert {name: n for name, n in backends.items() if n >= ADAPTER_LINES} == {}


def test_a_function_fits_a_screen():
    long = {
        f"{place} {node.name}": length
        for name in SOURCES
        for place, node in found(name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}


UNPICKLING = {"load", "loads", "Unpickler"}


def dangers(node: ast.AST) -> str:
    """What this is, if it lets data run as code or hides an error."""
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return "bare except"
    if isinstance(node, ast.keyword) and node.arg in ("shell", "allow_pickle"):
        harmless = isinstance(node.value, ast.Constant) and node.value.value is False
        return "" if harmless else str(node.arg)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return "pickle" if node.value.id == "pickle" and node.attr in UNPICKLING else ""
    if isinstance(node, ast.ImportFrom) and node.module == "pickle":
        return "pickle" if UNPICKLING & {alias.name for alias in node.names} else ""
    return ""


def test_data_never_runs_as_code_and_no_error_is_hidden():
    seen = [
        f"{place} {danger}"
        for name in SOURCES
        for place, node in found(name)
        if (danger := dangers(node))
    ]
    assert seen == []


@pytest.mark.parametrize(
    ("source", "danger"),
    [
        ("try:\n  f()\nexcept:\n  pass", "bare except"),
        ("run(line, shell=True)", "shell"),
        ("run(line, shell=flag)", "shell"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
        ("pickle.load(file)", "pickle"),
        ("class Mine(pickle.Unpickler): ...", "pickle"),
        ("from pickle import UnpicklingError, loads", "pickle"),
    ],
)
def test_a_planted_danger_is_seen(source, danger):
    assert [seen for node in ast.walk(ast.parse(source)) if (seen := dangers(node))] == [danger]


NOQA = re.compile("#" + r"\s*noqa\b(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?(?P<reason>.*)")


def unreasoned(text: str) -> list[int]:
    """Lines that silence the linter without a reason behind it or in a comment just above."""
    lines = text.splitlines()
    return [
        number
        for number, line in enumerate(lines, 1)
        if (silenced := NOQA.search(line))
        and not re.search(r"[a-z]{2}", silenced["reason"])
        and not (number > 1 and re.match(r"\s*# .*[a-z]{2}", lines[number - 2]))
    ]


def test_the_linter_is_silenced_with_a_reason():
    silent = {
        path.relative_to(ROOT).as_posix(): lines
        for path in committed("*.py")
        if (lines := unreasoned(path.read_text(encoding="utf-8")))
    }
    assert silent == {}


def test_a_silence_without_reason_is_seen():
    silence = "x = 1  #" + " noqa"
    assert unreasoned(silence) == [1]
    assert unreasoned(f"{silence}: F401") == [1]
    assert unreasoned(f"{silence}: F401, E501") == [1]
    assert unreasoned(f"y = 2\n{silence}: F401\n") == [2]
    assert unreasoned(f"{silence}: F401  what it exports is used elsewhere") == []
    assert unreasoned(f"{silence}: F401  # what it exports is used elsewhere") == []
    assert unreasoned(f"# What it exports is used elsewhere.\n{silence}: F401\n") == []


# Written in pieces, for this file is looked at as well.
HOSTS = [
    "py" + "pi.org",
    "pythonho" + "sted.org",
    "download." + "pytorch.org",
    "pypi." + "nvidia.com",
    "conda." + "anaconda.org",
    "npm" + "js.org",
    "gh" + "cr.io",
    "docker" + ".io",
]
HOMES = ["/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/"]


def contents() -> Iterator[tuple[str, str]]:
    for path in committed():
        raw = path.read_bytes()
        if b"\0" not in raw:
            yield path.relative_to(ROOT).as_posix(), raw.decode("utf-8")


def test_no_file_names_a_registry_or_somebodys_home():
    named = [
        f"{name}: {word}" for name, text in contents() for word in HOSTS + HOMES if word in text
    ]
    assert named == []


def test_a_lock_says_what_and_not_where_from():
    locks = {
        name: text
        for name, text in contents()
        if re.fullmatch(r"(.*/)?locks/[^/]+\.txt|.*\.lock", name)
    }
    assert {"locks/harness.txt", "workloads/data.lock", "backends/locks/torch-cpu.txt"} <= set(
        locks
    )
    for name, text in locks.items():
        assert not re.search(r"https?:|file:", text), name
        assert "==" in text, name
        assert "--hash=sha256:" in text, name
