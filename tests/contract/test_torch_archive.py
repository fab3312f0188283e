"""A torch.export archive can hold code that loading runs: the adapter refuses it unread."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.asking import cell, selected
from tests.contract.conftest import Ask

pytestmark = [
    pytest.mark.backend("torch"),
    pytest.mark.skipif("torch" not in selected(), reason="torch is not in BENCH_BACKENDS"),
]


class Planted:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


CONFIG = "data/weights/model_weights_config.json"
PICKLED = b'{"config": {"fc.bias": {"path_name": "weight_0", "use_pickle": true}}}'
PLANTS = {
    "sample inputs": "data/sample_inputs/model.pt",
    "weights": "data/weights/weight_0",
    "weights of an older layout": "data/weights/model.pt",
    "an opaque constant": "data/constants/opaque_obj_0",
    "a library": "data/aotinductor/model/model.so",
}


def plant(archive: Path, made: Path, changes: dict[str, bytes]) -> None:
    """Copy an archive with members added or replaced; names are below its top folder."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    top = next(iter(members)).split("/")[0]
    members |= {f"{top}/{name}": content for name, content in changes.items()}
    made.parent.mkdir()
    with zipfile.ZipFile(made, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


def test_code_in_an_archive_is_refused_and_not_run(ask: Ask, tmp_path: Path) -> None:
    asked = cell("torch", "cnn", format="native")
    ask("export", asked)
    folder, proof = tmp_path / "exported", tmp_path / "it-ran"
    planted = pickle.dumps(Planted(proof))
    for label, name in PLANTS.items():
        changes = {name: planted, **({CONFIG: PICKLED} if label == "weights" else {})}
        plant(folder / "model.pt2", folder / label / "model.pt2", changes)
    plant(folder / "model.pt2", folder / "nothing" / "model.pt2", {})
    refused = ask("check", asked)
    assert refused.pop("nothing") == "", "rewriting alone must not be what is refused"
    assert set(refused) == set(PLANTS)
    assert {said.split(":")[0] for said in refused.values()} == {"UnsafeFileError"}
    assert not proof.exists()
