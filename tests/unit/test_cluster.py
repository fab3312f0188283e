"""What Slurm's words mean, a pilot's folder, and what is refused before anything is submitted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from bench.cli import main
from bench.cluster import client, collect, engines, local, share, slurm
from bench.cluster.engines import EngineError, State
from bench.cluster.plan import Jobs, PilotFolder, Plan, Share
from bench.errors import UsageError
from bench.rows import files, merging
from tests.cells import cell
from tests.rows import ok_row

RUNNING = State(ended=False, word="RUNNING")


def plan(**changed: object) -> Plan:
    given = {
        "run_id": "0123abcd",
        "git_rev": "abc",
        "cwd": "/",
        "argv": [],
        "engine": "slurm",
        "how": {"time": 5},
        "shares": [Share(name="1-cnn", keys=[("a", 1), ("b", 1)])],
        "cells": {},
    }
    return Plan.model_validate({**given, **changed})


@pytest.fixture
def folder(tmp_path) -> PilotFolder:
    made = PilotFolder(tmp_path / "pilot")
    made.create(plan())
    return made


def test_scontrol_tells_of_every_task_of_an_array():
    out = (
        "JobId=7 ArrayJobId=7 ArrayTaskId=2-4,9%2 JobName=bench JobState=PENDING Reason=None\n"
        "JobId=8 ArrayJobId=7 ArrayTaskId=0 JobName=bench JobState=RUNNING\n"
        "JobId=9 ArrayJobId=7 ArrayTaskId=1 JobName=bench JobState=NODE_FAIL\n"
        "JobId=12 JobName=other JobState=COMPLETING\n"
    )
    found = slurm._shown(out)
    assert {job for job, state in found.items() if not state.ended} == {
        *("7_2", "7_3", "7_4", "7_9", "7_0", "12")
    }
    assert found["7_1"] == State(ended=True, word="NODE_FAIL")


def test_every_last_word_of_slurm_has_a_status(folder):
    for word, (status, _) in collect.REASONS.items():
        assert slurm._state(word).ended
        part = collect.Part(plan().shares[0], "3", State(ended=True, word=word))
        assert collect._why(plan(), part)[0] == status
    done = collect.Part(plan().shares[0], "3", State(ended=True, word="COMPLETED"))
    assert collect._why(plan(), done)[0] == "crashed"
    done.end = "time limit"
    assert collect._why(plan(), done) == ("timeout", "the job's time limit of 5 min: job 3")
    # CANCELLED+ and "CANCELLED by 0" are sacct's.
    assert slurm._state("CANCELLED+").ended


def test_a_folder_is_not_taken_twice_and_damage_is_named(folder):
    with pytest.raises(UsageError, match="holds a pilot already"):
        folder.create(plan())
    (folder.path / "plan.json").write_text('{"version": 1, "run_')
    with pytest.raises(UsageError, match=r"plan\.json is damaged"):
        folder.plan()
    with pytest.raises(UsageError, match=r"no folder of bench submit: no plan\.json"):
        PilotFolder(folder.path / "rows").plan()


@pytest.mark.parametrize(
    "how",
    [
        {"partition": "a\nrm"},
        {"set": {"a\nb": "c"}},
        {"set": {"comment": "c\nrm"}},
        {"time": 0},
        {"other": 1},
    ],
)
def test_a_plan_that_would_write_lines_into_a_job_s_script_is_damaged(folder, how):
    held = json.loads((folder.path / "plan.json").read_text())
    held["how"] |= how
    (folder.path / "plan.json").write_text(json.dumps(held))
    with pytest.raises(UsageError, match=r"plan\.json is damaged"):
        folder.plan()


ONE = cell()


@pytest.mark.parametrize(
    "cells",
    [
        {ONE.id: {}},
        {ONE.id: {**ONE.to_json(), "batch": "many"}},
        {ONE.id: {**ONE.to_json(), "optimizer": {}}},
        {"another": ONE.to_json()},
    ],
)
def test_a_cell_that_is_none_damages_the_plan(folder, cells):
    held = json.loads((folder.path / "plan.json").read_text())
    (folder.path / "plan.json").write_text(json.dumps({**held, "cells": cells}))
    with pytest.raises(UsageError, match=r"plan\.json is damaged"):
        folder.plan()


def test_a_plan_that_is_too_deep_is_damaged(folder):
    (folder.path / "plan.json").write_text("[" * 5000)
    with pytest.raises(UsageError, match=r"plan\.json is damaged .maximum recursion depth"):
        folder.plan()


def test_a_share_of_a_cell_that_the_plan_does_not_have(folder, tmp_path, capsys):
    folder.submitted(Jobs(submitted_at=datetime.fromtimestamp(0, UTC), ids={"1-cnn": "7"}))
    assert main(["collect", str(folder.path), "--out", str(tmp_path / "rows.csv")]) == 2
    assert "bench: plan.json is damaged, it has no cell 'a'" in capsys.readouterr().err


def test_what_lies_beside_the_submissions_is_passed_over(folder):
    (folder.jobs / "notes.json").write_text("mine")
    assert folder.submissions() == []


def test_a_share_s_name_stays_in_the_folder():
    with pytest.raises(ValueError, match="name"):
        Share(name="../../other", keys=[])


def test_the_first_of_two_rows_of_one_cell_counts(folder):
    for seconds in (20.0, 21.0):
        with folder.attempt("1-cnn") as file:
            file.append(ok_row(repeat=1, wall_s=seconds))
            file.append(ok_row(repeat=2, status="interrupted", reason="stopped"))
    found = folder.finished("1-cnn")
    assert {key: one["wall_s"] for key, (_, one) in found.items()} == {
        (ok_row()["cell_id"], 1): 20.0
    }


def test_a_job_that_the_engine_forgot_has_ended_and_one_it_is_silent_of_has_not(
    folder, monkeypatch
):
    now = datetime.now(UTC)
    folder.submitted(Jobs(submitted_at=now, ids={"1-cnn": "7"}))
    monkeypatch.setattr(slurm, "states", lambda ids: {})
    assert collect.open_shares(folder, plan()) == ["1-cnn"]

    def silent(ids):
        raise EngineError("scontrol did not answer")

    monkeypatch.setattr(slurm, "states", silent)
    assert collect.open_shares(folder, plan()) == []
    folder.submitted(Jobs(submitted_at=now - timedelta(minutes=6), ids={"1-cnn": "8"}))
    assert collect.open_shares(folder, plan()) == ["1-cnn"]  # its five minutes are over


def test_another_run_s_csv_is_not_written_over(folder, tmp_path, capsys):
    out = tmp_path / "other.csv"
    merging.write(out, [ok_row(repeat=1)], {})
    held = out.read_bytes()
    assert main(["collect", str(folder.path), "--out", str(out)]) == 2
    assert "holds another run" in capsys.readouterr().err
    assert out.read_bytes() == held


def test_a_client_that_does_not_answer_is_ended():
    with pytest.raises(EngineError, match="sleep did not answer within 0 s"):
        client.ask(["sleep", "100"], patience_s=0.1)
    with pytest.raises(EngineError, match="cannot run no-such-program"):
        client.ask(["no-such-program"])


def test_a_dead_process_is_no_job():
    assert local.states(["999999999"]) == {"999999999": State(ended=True, word="ENDED")}
    assert local.states(["1"])["1"].ended  # alive, and not ours
    assert set(engines.ENGINES) == {"kubernetes", "local", "slurm"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--", "--size", "tiny"], "say where the pilot is kept"),
        (["--folder", "{0}", "--engine", "slurm", "--", "--size", "tiny"], "say --device cpu"),
        (["--folder", "{0}", "--", "--out", "x.csv"], "--out cannot be handed on"),
        (["--folder", "{0}", "--", "--backend", "trch"], "did you mean 'torch'"),
        (["--folder", "{0}", "--set", "wrap=a\nrm", "--"], "write KEY=VALUE"),
        (["--folder", "{0}", "--set", "a b=c", "--"], "write KEY=VALUE"),
        (["--folder", "{0}", "--partition", "a\nrm", "--"], "--partition: a value is one line"),
        (["--resume", "{0}", "--", "--size", "tiny"], "give it alone"),
        (["--resume", "{0}"], "no folder of bench submit"),
        (["--folder", "{0}", "--engine", "pbs", "--"], "invalid choice"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, capsys, arguments, said):
    place = str(tmp_path / "pilot")
    assert main(["submit", *(one.format(place) for one in arguments)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "pilot").exists()


def test_collect_of_no_pilot_is_one_line(tmp_path, capsys):
    out = tmp_path / "x.csv"
    assert main(["collect", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no folder of bench submit" in capsys.readouterr().err
    assert not out.exists()


def test_merged_files_are_read_back_and_rows_that_contradict_themselves_are_not_written(tmp_path):
    out = tmp_path / "x.csv"
    with pytest.raises(files.RowError):
        merging.write(out, [ok_row(repeat=1, status="ok", samples_per_s=None)], {})
    assert not out.exists()
    merging.write(out, [ok_row(repeat=1)], {})
    assert [one["cell_id"] for one in files.read(out)] == [ok_row()["cell_id"]]


def test_a_plan_is_json_and_nothing_else(folder):
    held = json.loads((folder.path / "plan.json").read_text())
    assert held["shares"] == [{"name": "1-cnn", "keys": [["a", 1], ["b", 1]]}]


def test_a_share_whose_worker_was_stopped_says_why_rows_are_missing(folder, tmp_path, monkeypatch):
    def stopped(_left, file, **_how):
        file.append(ok_row(repeat=1, status="interrupted", reason="stopped and continued"))

    monkeypatch.chdir(tmp_path)  # the share goes where its plan says
    monkeypatch.setattr(share.grid, "plan", lambda *_, **__: [SimpleNamespace(key=("a", 1))])
    monkeypatch.setattr(share.pilot, "run", stopped)
    one = Share(name="1-cnn", keys=[("a", 1)])
    share._run(folder, plan(shares=[one], cwd=str(tmp_path), argv=["--device", "cpu"]), one)
    assert folder.end("1-cnn") == "stopped and continued"
    assert folder.finished("1-cnn") == {}  # to be run again
