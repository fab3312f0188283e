"""A PyTorch module of the user's own: ``package.module:factory``, and what lies beside the factory.

Beside it are ``example(batch, generator)``, which makes inputs and target, and, if wanted,
``loss(outputs, target)``. The user's code is executed here and nowhere else, in workers and for the
reference.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.contract import BenchError, Settings
from bench.dims import AnyDims, ModuleDims
from bench.worker.ladder import first_line
from workloads.own import sources

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs and target to the mean loss, a number."""

SEED = 0
"""Of PyTorch's generator before the factory is called: what is drawn beside weights is the same."""

DROPOUTS = (
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout),
)
DROPPING = (nn.MultiheadAttention, nn.RNNBase)
"""Layers with a dropout of their own, in the attribute of that name."""


def make(dims: ModuleDims) -> nn.Module:
    """What the factory returns, without its random layers."""
    factory = _named(dims, _name(dims))
    torch.manual_seed(SEED)
    with raised(dims, "the factory"):
        made = factory()
    if not isinstance(made, nn.Module):
        raise BenchError(
            f"{dims.factory} returns a {type(made).__name__}: it must return a torch.nn.Module"
        )
    for layer in made.modules():
        if isinstance(layer, DROPOUTS):
            layer.p = 0.0
        elif isinstance(layer, DROPPING):
            layer.dropout = 0.0
    return made


def loss(dims: ModuleDims) -> Loss:
    """The module's own ``loss``; else cross entropy of labels (int64), mean square of floats."""
    own = getattr(imported(dims), "loss", None)
    return own if callable(own) else usual_loss


def usual_loss(outputs: Tensor, target: Tensor) -> Tensor:
    return (F.mse_loss if target.is_floating_point() else F.cross_entropy)(outputs, target)


def example(dims: ModuleDims, batch: int, generator: torch.Generator) -> Any:
    """What the user's ``example`` returns."""
    make_example = _named(dims, "example")
    torch.manual_seed(SEED)  # for what does not draw from the generator
    with raised(dims, "example"):
        return make_example(batch, generator)


def facts(dims: AnyDims, model: nn.Module) -> Settings:
    """Of a module of the user's own, what is another than in his code."""
    if not isinstance(dims, ModuleDims):
        return {}
    kinds = (*DROPOUTS, *DROPPING)
    silenced = sum(isinstance(layer, kinds) for layer in model.modules())
    return {"module": dims.factory, "dropout": f"0 in {silenced} layers"}


@functools.cache
def imported(dims: ModuleDims) -> ModuleType:
    """The user's Python module; his folder comes before what is installed, as for a script."""
    name = dims.factory.partition(":")[0]
    if sources.digest(Path(dims.path), name) != dims.sources:
        raise BenchError(f"the files of {name} were changed after the run had begun: run again")
    if dims.path not in sys.path:
        sys.path.insert(0, dims.path)
    with raised(dims, f"importing {name}"):
        found = importlib.import_module(name)
    if not Path(found.__file__ or "").is_relative_to(dims.path):
        raise BenchError(f"{name} is the name of a module that is imported already: rename yours")
    return found


@contextlib.contextmanager
def raised(dims: ModuleDims, what: str) -> Iterator[None]:
    """What the user's code raises, in one line with its place. It may also leave by sys.exit."""
    try:
        yield
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        mend = ""
        if isinstance(error, ModuleNotFoundError):
            mend = ": bring an interpreter that has it with --python torch=PATH"
        said = f"{dims.factory}: {what} raises {first_line(error)}{_place(error, dims.path)}"
        raise BenchError(said + mend) from error


def _place(error: BaseException, folder: str) -> str:
    """The innermost line of the user's own."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    if not mine:
        return ""
    return f" ({Path(mine[-1].filename).relative_to(folder)}, line {mine[-1].lineno})"


def _name(dims: ModuleDims) -> str:
    return dims.factory.partition(":")[2]


def _named(dims: ModuleDims, name: str) -> Callable[..., Any]:
    module = imported(dims)
    found = getattr(module, name, None)
    if callable(found):
        return found
    public = (key for key, value in vars(module).items() if key[0] != "_" and callable(value))
    there = ", ".join(sorted(public)) or "nothing"
    raise BenchError(f"{module.__name__} has no function {name}: it has {there}")
