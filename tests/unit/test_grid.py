"""From a request to cells: how many, which, and why some are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.entry import Entry
from bench import grid
from bench.capabilities import CAPABILITIES
from bench.contract import Cell
from bench.errors import UsageError
from bench.grid import Request, Task, plan

BOTH = Entry(
    "theirs.both",
    python="3.11",
    locks=("cpu", "cuda"),
    modes=("compiled", "eager"),
    imports=(),
    formats={"onnx": "reader", "native": "both"},
    usual={"graph=0": "eager"},
    settings={"layout": ("nchw", "nhwc"), "graph": ("0", "1")},
)
EAGER = Entry(
    "theirs.eager",
    python="3.11",
    locks=(),
    modes=("eager",),
    imports=(),
    formats={"onnx": "reader"},
)
READER = Entry(
    "theirs.reader",
    python="3.11",
    locks=("cpu",),
    unlocked={"cuda": "its build is elsewhere"},
    modes=("compiled",),
    imports=(),
    formats={"onnx": "reader"},
)
ENTRIES = {"both": BOTH, "eager": EAGER, "reader": READER}


def request(**changes):
    values = {
        "backends": ["both"],
        "workloads": ["cnn"],
        "sizes": ["tiny"],
        "devices": ["cpu"],
    }
    return Request(**values | changes)


def planned(**changes) -> list[Task]:
    return plan(request(**changes), entry=ENTRIES.__getitem__)


def some(*values):
    """One of these, or sometimes two: were all axes long, there would be thousands of cells."""
    one = st.lists(st.sampled_from(values), min_size=1, max_size=1)
    return one | one | st.lists(st.sampled_from(values), min_size=2, max_size=2, unique=True)


REQUESTS = st.builds(
    request,
    backends=some("both", "eager"),
    workloads=some("cnn", "transformer", "export"),
    sizes=some("tiny", "small"),
    devices=some("cpu", "cuda"),
    precisions=some("fp32", "bf16"),
    modes=some("eager", "compiled"),
    tracks=some("out-of-box", "tuned"),
    formats=some("onnx", "native"),
    compile_caches=some("cold", "warm"),
    world_sizes=some(1, 2),
    batches=st.just(()) | some(1, 8),
    settings=st.dictionaries(st.sampled_from("ab"), some("x", "y/", "z=")),
    repeats=st.integers(1, 2),
    threads=st.integers(1, 4),
)


def expected_cells(asked: Request) -> int:
    """The product of the axes. ``export`` runs two models in every format, the others one model."""
    per_workload = {"cnn": 1, "transformer": 1, "export": 2 * len(asked.formats)}
    axes = [
        asked.backends,
        asked.sizes,
        asked.devices,
        asked.precisions,
        asked.modes,
        asked.tracks,
        asked.compile_caches,
        asked.world_sizes,
        asked.batches or [None],
        *asked.settings.values(),
    ]
    return sum(per_workload[name] for name in asked.workloads) * prod(len(axis) for axis in axes)


@settings(max_examples=15, deadline=None)
@given(REQUESTS)
def test_a_plan_is_the_product_of_what_was_asked_for(asked):
    tasks = plan(asked, entry=ENTRIES.__getitem__)
    assert len(tasks) == expected_cells(asked) * asked.repeats
    assert len({task.key for task in tasks}) == len(tasks)
    again = plan(asked, entry=ENTRIES.__getitem__)
    assert [task.key for task in again] == [task.key for task in tasks]
    for task in tasks:
        cell = task.cell
        # One process drives both devices, and each has a thread at least.
        assert cell.threads == max(1, asked.threads // cell.world_size) * cell.world_size
        assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell
        assert Cell.from_json(cell.to_json()).id == cell.id


def test_repeats_are_outermost():
    tasks = planned(precisions=["fp32", "bf16"], repeats=3)
    assert [(task.repeat, task.cell.precision) for task in tasks] == [
        (1, "fp32"),
        (1, "bf16"),
        (2, "fp32"),
        (2, "bf16"),
        (3, "fp32"),
        (3, "bf16"),
    ]


def test_the_same_cell_is_planned_once():
    # "default" of this backend is compiled.
    tasks = planned(modes=["default", "compiled", "eager"], precisions=["fp32", "fp32"])
    assert [task.cell.mode for task in tasks] == ["compiled", "eager"]


def test_the_default_mode_is_each_backends_own():
    tasks = planned(backends=["both", "eager"])
    assert [(task.cell.backend, task.cell.mode) for task in tasks] == [
        ("both", "compiled"),
        ("eager", "eager"),
    ]


def test_the_workload_gives_shapes_optimizer_and_batch():
    [cnn] = planned()
    [encoder] = planned(workloads=["transformer"])
    # From workloads/cnn.toml and transformer.toml.
    assert (cnn.cell.batch, cnn.cell.optimizer.name, cnn.cell.model) == (32, "sgd", "cnn")
    assert (encoder.cell.batch, encoder.cell.optimizer.name) == (16, "adamw")
    assert cnn.cell.dims == cnn.spec.dims
    assert cnn.cell.dims != encoder.cell.dims
    assert [task.cell.batch for task in planned(batches=[1, 64])] == [1, 64]


def test_only_exports_have_a_format():
    tasks = planned(workloads=["cnn", "export"], formats=["onnx", "native"])
    assert [(task.cell.workload, task.cell.model, task.cell.format) for task in tasks] == [
        ("cnn", "cnn", ""),
        ("export", "cnn", "onnx"),
        ("export", "cnn", "native"),
        ("export", "transformer", "onnx"),
        ("export", "transformer", "native"),
    ]


def test_a_capability_says_itself_how_many_processes_share_the_batch():
    able = replace(BOTH, capabilities="theirs.can", rank_env="RANK")
    tasks = plan(request(workloads=["capability"], threads=4), entry={"both": able}.__getitem__)
    cells = {task.cell.capability: task.cell for task in tasks}
    assert set(cells) == set(CAPABILITIES)
    assert {task.refused for task in tasks} == {None}
    shared, alone = cells["sharding"], cells["checkpoint"]
    assert (shared.world_size, shared.batch, shared.threads) == (2, 8, 2)
    assert (alone.world_size, alone.batch, alone.threads) == (1, 16, 4)
    assert shared.id.endswith("/b8/w2/sharding/sharding=on")
    assert alone.trains


def test_one_process_that_drives_both_devices_keeps_all_threads():
    able = replace(BOTH, capabilities="theirs.can")
    asked = request(workloads=["capability"], capabilities=["data-parallel"], threads=4)
    (task,) = plan(asked, entry={"both": able}.__getitem__)
    assert (task.cell.world_size, task.cell.threads) == (2, 4)


def test_processes_share_the_threads_and_keep_their_batch():
    many = replace(BOTH, rank_env="RANK")
    asked = request(world_sizes=[1, 2], threads=4, settings={"sharding": ["on"]})
    alone, shared = plan(asked, entry={"both": many}.__getitem__)
    assert (alone.cell.threads, shared.cell.threads) == (4, 2)
    assert alone.cell.batch == shared.cell.batch
    assert alone.refused is not None
    assert shared.refused is None


def test_what_only_infers_is_asked_with_a_file():
    able = replace(BOTH, capabilities="theirs.can", trains=False)
    asked = request(workloads=["capability"], capabilities=["dlpack", "checkpoint"])
    formats = [task.cell.format for task in plan(asked, entry={"both": able}.__getitem__)]
    assert formats == ["onnx", ""]


def test_an_adapter_without_capabilities_is_refused():
    (task, *_) = planned(workloads=["capability"])
    assert task.refused == "the adapter of both has no module of capabilities"


def test_all_modes_and_formats_are_each_backends_own():
    tasks = planned(
        backends=["both", "eager"], brought=["eager"], workloads=["cnn"], modes=[grid.EVERY]
    )
    modes = [(task.cell.backend, task.cell.mode) for task in tasks]
    assert modes == [("both", "compiled"), ("both", "eager"), ("eager", "eager")]
    tasks = planned(
        backends=["both", "eager"], brought=["eager"], workloads=["export"], formats=[grid.EVERY]
    )
    formats = {(task.cell.backend, task.cell.format) for task in tasks}
    assert formats == {("both", "onnx"), ("both", "native"), ("eager", "onnx")}
    assert all(task.refused is None for task in tasks)


def test_settings_are_crossed_with_each_other():
    tasks = planned(settings={"layout": ["nchw", "nhwc"], "graph": ["0", "1"]})
    assert [dict(task.cell.settings) for task in tasks] == [
        {"layout": "nchw", "graph": "0"},
        {"layout": "nchw", "graph": "1"},
        {"layout": "nhwc", "graph": "0"},
        {"layout": "nhwc", "graph": "1"},
    ]


def test_the_usual_mode_may_depend_on_a_setting():
    tasks = planned(settings={"graph": ["0", "1"]})
    assert [task.cell.mode for task in tasks] == ["eager", "compiled"]
    asked = planned(settings={"graph": ["0"]}, modes=["compiled"])
    assert [task.cell.mode for task in asked] == ["compiled"]


def test_settings_that_only_look_alike_are_two_cells():
    tasks = planned(settings={"a": ["1", "1/b=1"], "b": ["2", "1/b=2"]})
    assert len({task.cell.id for task in tasks}) == len(tasks) == 4


def test_an_exported_file_is_read_on_the_same_device_or_not_at_all():
    exported = {"workloads": ["export"], "devices": ["cuda"]}
    said = "onnx files are read by reader, and there is no lock of reader for cuda"
    refused = {task.refused for task in planned(**exported)}
    assert refused == {
        f"{said} (its build is elsewhere): bring an interpreter with --python reader=PATH"
    }
    assert {task.refused for task in planned(**exported, brought={"reader"})} == {None}
    assert {task.refused for task in planned(**exported, formats=["native"])} == {None}


def test_another_backend_reads_an_exported_file_if_asked_to_and_if_it_can():
    def refused(reader: str) -> str | None:
        asked = {"workloads": ["export"], "formats": ["onnx"], "settings": {"reader": [reader]}}
        return planned(**asked)[0].refused

    assert refused("reader") is None
    assert refused("eager") == "eager does not read onnx files"
    exported = planned(workloads=["export"], formats=["native"], settings={"reader": ["reader"]})
    assert exported[0].refused == "reader does not read native files"
    assert exported[0].cell.id.endswith("/native/reader=reader")
    trained = planned(settings={"reader": ["reader"]})
    assert str(trained[0].refused).startswith("both has no setting 'reader'")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"devices": ["rocm"]},
            "there is no lock of both for rocm: bring an interpreter with --python both=PATH",
        ),
        (
            {"backends": ["eager"]},
            "there is no lock of eager for cpu: bring an interpreter with --python eager=PATH",
        ),
        (
            {"backends": ["eager"], "brought": {"eager"}, "modes": ["compiled"]},
            "eager has no compiled mode: it has eager",
        ),
        (
            {
                "backends": ["eager"],
                "brought": {"eager"},
                "workloads": ["export"],
                "formats": ["native"],
            },
            "eager has no native export: it has onnx",
        ),
        (
            {"world_sizes": [2], "workloads": ["export"]},
            "a file is exported, and served, by one process: world size 1",
        ),
        (
            {"settings": {"sharding": ["on"]}},
            "both has no setting 'sharding': it has layout and graph and malloc",
        ),
        (
            {"compile_caches": ["warm"]},
            "both keeps no compiled code for a second process to find",
        ),
        (
            {"settings": {"colour": ["red"]}},
            "both has no setting 'colour': it has layout and graph and malloc",
        ),
        (
            {"settings": {"layout": ["square"]}},
            "the setting layout of both is nchw or nhwc, not 'square'",
        ),
    ],
)
def test_what_the_registry_already_answers_is_refused_with_its_reason(changes, reason):
    tasks = planned(**changes)
    assert tasks
    assert {task.refused for task in tasks} == {reason}


def test_an_interpreter_of_the_sites_makes_up_for_a_lock():
    [task] = planned(devices=["rocm"], brought=["both"])
    assert task.refused is None
    [task] = planned(devices=["rocm"], brought=["eager"])
    assert task.refused


def test_a_refused_cell_is_still_planned():
    tasks = planned(backends=["both", "eager"], repeats=2)
    assert [task.refused is None for task in tasks] == [True, False, True, False]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("cpu", ["cpu"]),
        ("cuda,cpu", ["cuda", "cpu"]),
        (" cpu , cuda ,", ["cpu", "cuda"]),
        ("cpu,cuda,cpu", ["cpu", "cuda"]),
        ("all", ["cpu", "cuda", "rocm"]),
    ],
)
def test_names_are_chosen_by_commas(text, chosen):
    assert grid.choose("device", text, iter(("cpu", "cuda", "rocm"))) == chosen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cdua", "unknown device 'cdua': did you mean 'cuda'? one of cpu, cuda, all"),
        ("cpu,x", "unknown device 'x': one of cpu, cuda, all"),
        ("cpu,all", "unknown device 'all': "),
        ("", "no device given: name one of cpu, cuda, or all"),
        (" ,", "no device given: name one of cpu, cuda, or all"),
    ],
)
def test_a_name_that_is_not_there_is_a_usage_error(text, message):
    with pytest.raises(UsageError) as caught:
        grid.choose("device", text, ("cpu", "cuda"))
    assert str(caught.value).startswith(message)


@given(st.lists(st.sampled_from(grid.PRECISIONS), min_size=1))
def test_each_name_is_chosen_once_in_the_order_given(names):
    chosen = grid.choose("precision", ",".join(names), grid.PRECISIONS)
    assert chosen == sorted(set(names), key=names.index)


@pytest.mark.parametrize(
    ("rank_env", "changes", "reason"),
    [
        ("RANK", {"world_sizes": [4]}, None),
        ("RANK", {"world_sizes": [3]}, "world size 3 cannot be shared by 2 machines alike"),
        ("", {"world_sizes": [4]}, "both drives its devices from one process here, on one machine"),
        ("RANK", {"workloads": ["capability"]}, "a capability is asked on one machine"),
    ],
)
def test_machines_share_a_cell_alike(rank_env, changes, reason):
    able = replace(BOTH, rank_env=rank_env, capabilities="theirs.can")
    asked = request(nodes=2, threads=2, **changes)
    task, *_ = plan(asked, entry={"both": able}.__getitem__)
    assert task.refused == reason
    assert task.cell.id.endswith("/nodes=2")
    assert task.cell.processes == task.cell.world_size // 2
