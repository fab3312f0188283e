"""A PyTorch module of the user's own, as far as it is known without PyTorch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

from backends import registry
from bench import cli, grid, options, pilot_file, pilot_options
from bench.contract import Cell, inputs_of
from bench.dims import ModuleDims
from bench.errors import UsageError
from tests.cells import cell
from workloads import batches, catalogue, flops
from workloads.own import modules, sources


def parsed(argv: list[str]) -> argparse.Namespace:
    return pilot_options.parsed(cli.command_line(), argv)


DIMS = ModuleDims("net:make", "/somewhere", "0" * 64)


def package(folder: Path, **texts: str) -> Path:
    """Files by their module's name, dots as ``__``."""
    for name, text in texts.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def found(folder: Path, module: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in sources.files(folder, module)}


def test_what_a_module_imports_of_its_folder_is_part_of_it(tmp_path):
    package(
        tmp_path,
        net="import torch\nimport alone\nfrom mine import layers\n",
        alone="def late():\n    import mine.deep.end\n",
        mine__init="",
        mine__layers="from . import shapes\nfrom .deep import *\n",
        mine__shapes="",
        mine__deep__end="from ..shapes import x\n",
        mine__unused="",
        unused="",
    )
    (tmp_path / "mine" / "init.py").rename(tmp_path / "mine" / "__init__.py")
    assert found(tmp_path, "net") == {
        "net.py",
        "alone.py",
        "mine/__init__.py",
        "mine/layers.py",
        "mine/shapes.py",
        "mine/deep/end.py",
    }
    assert found(tmp_path, "mine.shapes") == {"mine/__init__.py", "mine/shapes.py"}


def test_the_digest_is_of_the_content_and_not_of_the_place(tmp_path):
    here = package(tmp_path / "here", net="import other\n", other="x = 1\n")
    there = package(tmp_path / "there", net="import other\n", other="x = 1\n")
    before = sources.digest(here, "net")
    assert before == sources.digest(there, "net")
    package(here, other="x = 2\n")
    assert sources.digest(here, "net") != before
    assert sources.digest(there, "net") == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ne t:make", "'ne t:make' is not package.module:factory"),
        ("net", "is not package.module:factory"),
        ("net:", "is not package.module:factory"),
        ("net.py:make()", "is not package.module:factory"),
        ("bench.net:make", "a name of this program's own packages"),
    ],
)
def test_a_name_that_is_none_is_told_in_one_line(text, said, capsys):
    with pytest.raises(ValueError, match=r"factory|packages") as caught:
        modules.named(text)
    assert said in str(caught.value)
    assert cli.main(["run", "--torch-module", text]) == 2
    assert said in capsys.readouterr().err


def test_a_module_that_is_not_there_or_not_python_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"there is no module net in .*: name its folder"):
        modules.dims("net:make", tmp_path)
    package(tmp_path, net="def make(:\n")
    with pytest.raises(UsageError, match=r"net\.py, line 1: not Python"):
        modules.dims("net:make", tmp_path)


SPEC = """
[size.ours]
model = "module"
module = "net:make"
path = "src"
batch = 4
"""


def read(folder: Path, text: str) -> pilot_file.PilotFile:
    (folder / "pilot.toml").write_text(text, encoding="utf-8")
    return pilot_file.read(folder / "pilot.toml")


def test_a_pilot_file_names_a_module_relative_to_itself(tmp_path):
    package(tmp_path / "src", net="boom = 1 / 0  # it is never imported here\n")
    known = read(tmp_path, SPEC.replace('"src"', '"src/../src/"')).specs()
    spec = known.size("module", "module", "ours")
    assert isinstance(spec.dims, ModuleDims)
    assert (spec.dims.factory, spec.dims.path) == ("net:make", str(tmp_path / "src"))
    assert (spec.batch, spec.learns, spec.optimizer.name) == (4, False, "sgd")
    served = known.size("export", "module", "ours")
    assert (served.batch, served.dims) == (1, spec.dims)
    assert known.executed(["ours"]) == ["net:make"]
    assert known.executed(["tiny"]) == []
    assert not {"net", "torch"} & set(sys.modules)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('module = "net:make"', "", "size.ours: module is missing"),
        ('"net:make"', '"net"', "'net' is not package.module:factory"),
        ("batch = 4", 'batch = 4\ndata = "noise"', "a module brings data of its own"),
        ("batch = 4", "batch = 4\n[size.ours.dims]\nimage = 4", "a module brings dims of its own"),
        ('model = "module"', 'model = "cnn"', "it is missing"),
    ],
)
def test_what_makes_no_sense_beside_a_module_is_said(tmp_path, old, new, said):
    with pytest.raises(UsageError, match=r"^pilot\.toml") as caught:
        read(tmp_path, SPEC.replace(old, new, 1))
    assert said in str(caught.value)


def test_two_versions_of_a_module_never_compare(tmp_path):
    def digest(folder: str, text: str) -> str:
        package(tmp_path / folder / "src", net=text)
        known = read(tmp_path / folder, SPEC).specs()
        return catalogue.digest(known.size("module", "module", "ours"))

    assert digest("one", "x = 1") == digest("two", "x = 1")
    assert digest("one", "x = 2") != digest("two", "x = 1")


def test_the_command_line_alone_is_enough(tmp_path, monkeypatch):
    package(tmp_path, net="")
    monkeypatch.chdir(tmp_path)
    asked = parsed(["run", "--torch-module", "net:TinyNet", "--batch", "8", "--device", "cpu"])
    said: list[str] = []
    request = options.request(asked, say=said.append)
    assert said == ["runs your code: net:TinyNet (in the workers and for the reference)"]
    tasks = grid.plan(request, entry=registry.BACKENDS.__getitem__)
    assert [(task.cell.backend, task.cell.workload) for task in tasks] == [
        (backend, workload)
        for backend in ("torch", "lightning", "deepspeed")
        for workload in ("module", "export")
    ]
    assert {task.cell.size for task in tasks} == {"module-tinynet"}
    asked = parsed(["run", "--torch-module", "net:TinyNet", "--backend", "jax"])
    options.request(asked, say=said.append)
    assert not any("your code" in line for line in said[1:])
    assert all(task.refused is None and "/spec=" in task.cell.id for task in tasks)


def test_every_other_backend_answers_for_every_cell_in_the_same_words(tmp_path):
    package(tmp_path / "src", net="")
    known = read(tmp_path, SPEC).specs()

    def refused(**changes: object) -> set[str | None]:
        asked = {"workloads": ["module", "export", "capability"], "sizes": ["ours"]}
        request = grid.Request(**{**asked, "devices": ["cpu"], "catalogue": known, **changes})
        tasks = grid.plan(request, entry=registry.BACKENDS.__getitem__)
        assert {task.cell.workload for task in tasks} == {"module", "export"}
        return {task.refused for task in tasks}

    assert refused(backends=["jax", "keras", "mindspore"]) == {"the model is a PyTorch module"}
    (reason,) = refused(backends=["onnxruntime"])
    assert str(reason).startswith("the model is a PyTorch module: ")
    assert refused(backends=["torch"]) == {None}
    assert "world size 1" in str(refused(backends=["torch"], world_sizes=[2]))
    assert "blocks are known" in str(refused(backends=["torch"], settings={"recompute": ["on"]}))


def test_a_cell_carries_its_module_to_the_worker():
    sent = cell(model="module", dims=DIMS)
    assert Cell.from_json(sent.to_json()) == sent


def test_its_inputs_are_numbered_and_its_operations_counted():
    assert inputs_of("module", 2) == ("input0", "input1")
    assert inputs_of("transformer", 2) == ("ids", "mask")
    assert flops.per_sample(DIMS, training=False, counted=7) == 7
    assert flops.per_sample(DIMS, training=True, counted=7) == 21


def test_batches_hold_what_the_data_does():
    data = {
        f"{split}.{name}": np.arange(12).reshape(6, 2) + place
        for split in ("train", "test")
        for place, name in enumerate(("label", "input1", "input0"))
    }
    made = batches.make(data, model="module", batch=4, train_batches=2, infer_batches=1)
    assert list(made.train[0]) == ["input0", "input1", "label"]
    assert made.train[1]["label"].tolist() == [[8, 9], [10, 11], [0, 1], [2, 3]]


def test_the_reference_workloads_do_not_know_it():
    request = grid.Request(["torch"], catalogue.names(), ["tiny"], ["cpu"])
    tasks = grid.plan(request, entry=registry.BACKENDS.__getitem__)
    assert {task.cell.model for task in tasks} == {"cnn", "transformer", "decoder", "lora"}
