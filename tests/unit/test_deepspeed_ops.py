"""Locks beside DeepSpeed's operators: what a killed worker has left goes, what is held stays."""

from __future__ import annotations

import os

import pytest

from backends.deepspeed import ops


@pytest.fixture
def lock(tmp_path, monkeypatch):
    monkeypatch.setattr(ops, "FOLDER", tmp_path)
    (tmp_path / "fused_adam").mkdir()
    return tmp_path / "fused_adam" / "lock"


def test_an_old_lock_that_nobody_holds_goes_at_once(lock):
    lock.touch()
    os.utime(lock, (0, 0))
    ops.unlock()
    assert not lock.exists()


def test_a_young_one_goes_when_it_is_old_enough(lock, monkeypatch):
    monkeypatch.setattr(ops, "STALE_S", 0.2)
    lock.touch()
    ops.unlock()
    assert not lock.exists()


def test_one_that_is_held_stays_however_old(lock):
    holder = os.open(lock, os.O_CREAT | os.O_EXCL)
    os.utime(lock, (0, 0))
    ops.unlock()
    assert lock.exists()
    os.close(holder)


def test_no_lock_is_no_work(lock):
    ops.unlock()
    assert not lock.exists()
