"""What every adapter answers alike."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from backends import answers, ranks


def test_threads_that_end_while_they_are_counted_are_left_out(tmp_path):
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "comm").write_text(f"tf_XLAEigen{name}\n")
    (tmp_path / "3").mkdir()  # its thread ended between the listing and the reading
    assert sorted(answers.thread_names(tmp_path)) == ["tf_XLAEigen1", "tf_XLAEigen2"]


def test_this_process_has_threads():
    assert answers.thread_names()


def test_types_have_plain_names_and_what_is_not_known_is_left_out():
    """A framework's type is known by what it prints."""
    found = answers.dtypes(
        parameters=["torch.float32", "Float32"],
        compute=["paddle.bfloat16"],
        reduce=["float32", "bfloat16", "float32"],
        optimizer=iter(()),
    )
    uses = {"parameters": "float32", "compute": "bfloat16", "reduce": "bfloat16/float32"}
    assert found == {"dtypes": uses}


def test_there_is_nothing_to_say_of_types_before_a_product_was_made():
    assert answers.dtypes(parameters=["float32"], compute=[], reduce=["float32"]) == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"settings": {}, "world_size": 1}, None),
        ({"world_size": 1}, "one device sees the whole batch anyway"),
        ({"model": "transformer"}, "nothing else has statistics"),
        ({"trains": False}, "nothing else has statistics"),
    ],
)
def test_batchnorm_is_synchronised_where_there_are_statistics_of_several(changes, reason):
    asked = {"batchnorm": "synchronised"}
    plain = {"settings": asked, "world_size": 2, "model": "cnn", "trains": True}
    said = answers.batchnorm(SimpleNamespace(**{**plain, **changes}))
    assert said is None if reason is None else reason in said


def test_synchronised_statistics_are_of_one_replica():
    cell = SimpleNamespace(settings={}, world_size=2, model="cnn")
    assert ranks.replicas(cell) == 2
    cell.settings = {"batchnorm": "synchronised"}
    assert ranks.replicas(cell) == 1
