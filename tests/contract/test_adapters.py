"""What every adapter promises (bench/contract.py), asked of each in its own environment.

$BENCH_BACKENDS selects. Figures come from hand: parameter counts are added up in a comment, and
everything else is one part of an adapter against another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from backends.registry import BACKENDS
from bench import parity
from bench.contract import GENERATE
from bench.generation import Answers
from bench.pipeline import INPUT, PIPELINE
from tests.contract.asking import THREADS, Question, Result, answers, cell, fine, selected
from workloads import prepare

MODELS = ("cnn", "transformer")
TRAINED = (*MODELS, "decoder", "lora")

# cnn, tiny: stem 3*16*9 + 2*16 = 464; layer 1: 2*(16*16*9 + 32) = 4672; layer 2: 16*32*9
# + 32*32*9 + 16*32 + 3*64 = 14528; layer 3: 32*64*9 + 64*64*9 + 32*64 + 3*128 = 57728;
# fc 64*10 + 10 = 650.
# transformer, tiny: embeddings (1000 + 64 + 2)*64 + 128 = 68352; a layer 4*(64*64 + 64) + 128
# + 64*256 + 256 + 256*64 + 64 + 128 = 49984, twice; pooler 4160; classifier 130.
# decoder, tiny: embeddings 512*64 = 32768; a layer 2*64*64 + 2*64*32 + 3*64*176 + 2*64 = 46208,
# twice; the last norm 64.
# lora, tiny: adapters of rank 8 on four projections 8*(4*64 + 2*64 + 2*32) = 3584, twice.
PARAMETERS = {"cnn": 78_042, "transformer": 172_610, "decoder": 125_248, "lora": 7_168}
FROZEN = {"lora": PARAMETERS["decoder"]}

NOBODYS = {
    "int8 training": "int8",
    "an unknown precision": "fp7",
    "TF32 without NVIDIA": "tf32",
}
"""What no backend runs -> the precision that its cell asks for."""
FLOATS = ("fp32", "tf32", "bf16", "fp16")
# MXNet has no switch for TF32; neither it nor MindSpore has bfloat16 for GPUs. All else is done.
NOT_ON_GPU = {"mxnet": ("tf32", "bf16"), "mindspore": ("bf16",)}

FLASH = dict.fromkeys(("torch", "lightning", "deepspeed"), "flash")
COMPOSED = dict.fromkeys(("tensorflow", "mxnet", "mindspore"), "composed")
ATTENTION = {**FLASH, **COMPOSED, "jax": "xla", "keras": "xla", "paddle": "math"}
"""What computes it on a CPU. The keras environment's engine is JAX unless a cell asks otherwise."""

FED = [name for name in BACKENDS if INPUT in BACKENDS[name].settings]
FEEDS = {name: MODELS[place % 2] for place, name in enumerate(FED)}
"""Images or several inputs, by turns: of each framework one, for the samples are the same to it."""

PROMPTS = 8
"""As many as the reference has answers for."""

ADDRESS = {"--master-addr=first.example", "--master-port=29400"}
TORCHRUN = {"--nnodes=2", "--node-rank=1", *ADDRESS}
_ADDRESS = {"--master_addr=first.example", "--master_port=29400"}
MEETING = {
    "torch": TORCHRUN,
    "lightning": TORCHRUN,
    "deepspeed": {"--no_ssh", "--node_rank=1", "--hostfile=hostfile", *_ADDRESS},
    "paddle": {"--master=first.example:29400", "--nnodes=2", "--rank=1"},
    "mindspore": {"--worker_num=4", "--local_worker_num=2", "--node_rank=1", *_ADDRESS},
}
"""What the second of two machines, with two of four processes, tells each launcher."""

OF_TORCH = {"lightning": ("cnn",), "deepspeed": ("transformer",)}
"""Their models are torch's, and so is what writes and reads files: one each."""


def of(backend: str, *values: str) -> object:
    return pytest.param(backend, *values, marks=pytest.mark.backend(backend))


backends = pytest.mark.parametrize("backend", [of(name) for name in selected()])
trained = pytest.mark.parametrize(
    ("backend", "model"), [of(name, model) for name in selected() for model in TRAINED]
)
exported = pytest.mark.parametrize(
    ("backend", "written", "model"),
    [
        of(name, written, model)
        for name in selected()
        for written in BACKENDS[name].formats
        for model in OF_TORCH.get(name, MODELS)
    ],
)


class Asked:
    """The answers of backends, each of which is asked all of it once, in one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: dict[tuple[str, str], dict[str, Result]] = {}

    def __call__(self, backend: str, name: str) -> Result:
        if (backend, "") not in self.found:
            self._ask(backend, questions(backend, self.folder / backend))
        return fine(self.found[backend, ""][name])

    def read_back(self, backend: str, name: str, *, reader: str) -> Result:
        """By the backend that reads the format, all that ``backend`` has written in it."""
        if (backend, reader) not in self.found:
            own = questions(backend, self.folder / backend)
            files = {
                key: replace(one, check="read", reader=reader)
                for key, one in own.items()
                if one.check == "export" and BACKENDS[backend].formats[one.cell.format] == reader
            }
            self._ask(backend, files, reader=reader)
        return fine(self.found[backend, reader][name])

    def _ask(self, backend: str, asked: Mapping[str, Question], *, reader: str = "") -> None:
        scratch = self.folder / f"{backend}-{reader}"
        scratch.mkdir(parents=True)
        self.found[backend, reader] = answers(asked, scratch=scratch)


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return Asked(tmp_path_factory.mktemp("asked"))


def questions(backend: str, folder: Path) -> dict[str, Question]:
    plain = cell(backend, "cnn")
    cells = {name: replace(plain, precision=precision) for name, precision in NOBODYS.items()}
    on_gpu = {name: replace(plain, device="cuda", precision=name) for name in FLOATS}
    found = {"describe": Question("describe", plain, folder, cells={**cells, **on_gpu})}
    for model in TRAINED:
        found[model] = Question("train", cell(backend, model), folder)
    if model := FEEDS.get(backend):
        pipeline = cell(backend, model, settings={INPUT: PIPELINE})
        found[f"fed {model}"] = Question("fed", pipeline, folder)
    if BACKENDS[backend].generates:
        served = cell(backend, "decoder", workload=GENERATE, batch=PROMPTS)
        found[GENERATE] = Question("generate", served, folder)
    for written in BACKENDS[backend].formats:
        for model in OF_TORCH.get(backend, MODELS):
            name = f"{written} {model}"
            # MindSpore writes to no path with a space in it.
            place = folder / f"{written}-{model}"
            found[name] = Question("export", cell(backend, model, format=written), place)
    return found


def waits(seconds: dict[str, float]) -> bool:
    """Eight times the runs take at least twice as long, and after ``wait`` nothing is left.

    Both hold by a wide margin, whatever else the machine does: where ``wait`` does not block,
    reading a result has to wait for nearly all of the work instead.
    """
    return seconds["many"] > 2 * seconds["few"] and seconds["left"] < seconds["many"] / 4


@backends
def test_the_adapter_has_the_contracts_names_and_answers_what_it_cannot(
    asked: Asked, backend: str
) -> None:
    described = asked(backend, "describe")
    assert described["missing"] == []
    assert described["name"] == backend
    assert described["dist"]
    assert "cpu" in described["devices"]
    assert described["absent"] or "cuda" in described["devices"]
    assert described["incapable"] == []
    # A launcher is a program with its path; without one, one process drives all devices.
    here, there = described["launch"]
    assert bool(here) == bool(there) == bool(BACKENDS[backend].rank_env)
    if here:
        assert os.access(here[0], os.X_OK)
        assert MEETING[backend] <= set(there)
        assert "first.example" not in " ".join(here)
    said = described["unsupported"]
    assert [name for name in NOBODYS if not said[name]] == []
    if BACKENDS[backend].trains:
        done = [name for name in FLOATS if said[name] is None]
        assert done == [name for name in FLOATS if name not in NOT_ON_GPU.get(backend, ())]
    # A CPU has no TF32, and nobody has nonsense; every backend multiplies in float32.
    assert "fp32" in described["kernels"]
    assert not {"tf32", "nonsense"} & set(described["kernels"])
    assert described["streamed"] == [2.0, 2.0, 2.0]


@trained
def test_training(asked: Asked, backend: str, model: str) -> None:
    found = asked(backend, model)
    if said := found.get("unsupported"):
        assert len(said) > 20, "a reason in words"
        pytest.skip(said)
    assert found["n_params"] == PARAMETERS[model]
    moments = 1 if model == "cnn" else 2  # of SGD with momentum, and of AdamW, in float32
    assert found["optimizer_bytes"] == 4 * moments * PARAMETERS[model]
    assert found["frozen"] == FROZEN.get(model, 0)
    assert not found["melted"], "training has changed a frozen weight"
    reference = parity.read_trace(prepare.ensure(model, "tiny").trace, trains=True)
    assert found["losses"][:3] == pytest.approx(reference.losses[:3], rel=1e-4)
    # Another program, whose steps are only enqueued: all are done, and one seed has one result.
    assert found["at_end"] == found["losses"][-1]
    # Without a learning rate nothing changes, so the losses repeat with the three batches.
    assert found["still"][:3] == pytest.approx(found["still"][3:], rel=1e-5)
    assert len(set(found["still"][:3])) == 3, "the batches differ, so must their losses"
    assert found["losses"][3:] != found["still"][3:], "training changes nothing"
    assert found["logits"]["dtype"] == "float32"
    assert found["logits"]["finite"]
    assert found["logits"]["spread"] > 0, "all samples get the same answer"
    assert set(found["effective"]["dtypes"]) >= {"parameters", "compute", "reduce"}
    assert set(found["effective"]["dtypes"].values()) == {"float32"}
    attends = None if model == "cnn" else ATTENTION[backend]
    assert found["effective"].get("attention") == attends
    assert found["before"]["threads"] == found["effective"]["threads"] == THREADS
    assert found["closed"] == {}, "a closed program still has a say"
    assert waits(found["seconds"])
    assert found["alive"] == [], "close keeps these alive"


@pytest.mark.parametrize(
    ("backend", "model"),
    [of(name, FEEDS[name]) for name in selected() if name in FEEDS],
)
def test_the_frameworks_own_input_pipeline_brings_the_same_batches(
    asked: Asked, backend: str, model: str
) -> None:
    """In the samples' order; what fills no batch is left out, and then the first ones come again,
    as without a pipeline.
    """
    found, plain = asked(backend, f"fed {model}"), asked(backend, model)
    assert found["losses"] == pytest.approx(plain["losses"][:4], rel=1e-5)
    assert found["input"], "which pipeline it was"
    assert found["alive"] == [], "close keeps these alive"


@pytest.mark.parametrize("backend", [of(name) for name in selected() if BACKENDS[name].generates])
def test_generating(asked: Asked, backend: str) -> None:
    """Token by token what the reference says, again after a second start, from a cache without a
    spare byte.
    """
    found = asked(backend, GENERATE)
    answers = Answers.read(prepare.ensure("decoder", "tiny").trace).of(PROMPTS)
    expected = answers.tokens.T.tolist()
    assert found["rounds"] == [expected, expected]
    assert len(set(answers.tokens.ravel().tolist())) > 32, "the tokens must differ to say anything"
    assert found["n_params"] == PARAMETERS["decoder"]
    assert found["logits"]["shape"] == [PROMPTS, 512]
    assert (found["logits"]["dtype"], found["logits"]["finite"]) == ("float32", True)
    # 2 x 2 layers x 2 heads x 16 wide, for 32 tokens of each prompt and 32 new ones, in float32.
    assert found["cache"] == {"nbytes": 2 * 2 * 2 * 16 * PROMPTS * 64 * 4, "itemsize": 4}
    assert found["effective"]["threads"] == THREADS
    assert found["alive"] == [], "close keeps these alive"
    assert found["closed"] == {}, "a closed program still has a say"


@exported
def test_an_exported_file_is_checked_loaded_and_right(
    asked: Asked, backend: str, written: str, model: str
) -> None:
    found = asked(backend, f"{written} {model}")
    assert found["facts"]["file"]
    assert found["n_params"] == PARAMETERS[model]
    assert [logits["shape"][0] for logits in found["logits"]] == [16, 3]
    assert all(logits["spread"] > 0 for logits in found["logits"])
    assert found["effective"]["threads"] == THREADS
    assert waits(found["seconds"])
    assert found["alive"] == []
    if written == "onnx":
        assert found["facts"]["opset"] >= 11, "read back from the file"
    reader = BACKENDS[backend].formats[written]
    if reader not in selected():
        pytest.skip(f"exported; reading it back needs {reader} in BENCH_BACKENDS")
    back = asked.read_back(backend, f"{written} {model}", reader=reader)
    assert back["sizes"] == [16, 3], "the batch dimension is dynamic"
    assert max(back["errors"]) < 1e-4
    assert back["alive"] == []
    assert back["refused"], "a file that was cut short passes the check"
