"""What every adapter answers alike."""

from __future__ import annotations

from backends import answers


def test_threads_that_end_while_they_are_counted_are_left_out(tmp_path):
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "comm").write_text(f"tf_XLAEigen{name}\n")
    (tmp_path / "3").mkdir()  # its thread ended between the listing and the reading
    assert sorted(answers.thread_names(tmp_path)) == ["tf_XLAEigen1", "tf_XLAEigen2"]


def test_this_process_has_threads():
    assert answers.thread_names()
