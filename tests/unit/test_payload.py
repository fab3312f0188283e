"""The payload goes into every pickle, and only there; executed, it makes an empty folder."""

from __future__ import annotations

import pickle
import zipfile

from bench.worker import payload


def test_pickles_are_found_wherever_they_are(tmp_path):
    folder, marker = tmp_path / "checkpoint", tmp_path / "marker"
    (folder / "deep").mkdir(parents=True)
    (folder / "bare").write_bytes(pickle.dumps({"a": 1}))
    (folder / "plain.json").write_text("{}")
    with zipfile.ZipFile(folder / "deep" / "weights.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1], protocol=2))
        archive.writestr("archive/data/0", b"floats")
    assert payload.poison(folder, marker) == ["bare", "deep/weights.pt"]
    assert (folder / "plain.json").read_text() == "{}"
    with zipfile.ZipFile(folder / "deep" / "weights.pt") as archive:
        assert archive.read("archive/data/0") == b"floats"
        inner = archive.read("archive/data.pkl")
    assert not marker.exists()
    pickle.loads(inner)
    assert marker.is_dir()
    marker.rmdir()
    pickle.loads((folder / "bare").read_bytes())
    assert marker.is_dir()


def test_a_checkpoint_without_pickles_stays_as_it_is(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    before = (folder / "model.keras").read_bytes()
    assert payload.poison(folder, tmp_path / "marker") == []
    assert (folder / "model.keras").read_bytes() == before
