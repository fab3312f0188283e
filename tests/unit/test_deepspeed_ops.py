"""Where a worker loads DeepSpeed's operators from."""

from __future__ import annotations

from backends.deepspeed import ops


def test_a_lock_that_a_killed_worker_left_is_nobody_elses(tmp_path, monkeypatch):
    built, own = tmp_path / "built" / "fused_adam", tmp_path / "own"
    built.mkdir(parents=True)
    own.mkdir()
    for name in ("lock", "fused_adam.so", "build.ninja"):
        (built / name).write_text(name)
    monkeypatch.setattr(ops, "FOLDER", built.parent)
    monkeypatch.chdir(own)
    mine = ops.mine() / "fused_adam"
    assert sorted(place.name for place in mine.iterdir()) == ["build.ninja", "fused_adam.so"]
    assert (mine / "fused_adam.so").readlink() == built / "fused_adam.so"
    assert not (mine / "build.ninja").is_symlink()
