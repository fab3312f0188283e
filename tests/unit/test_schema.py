from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.rows import schema

ROOT = Path(__file__).parents[2]

# The names that the design fixed, in its order and spelling.
FIXED = """
schema run_id cell_id repeat started_at cluster host
backend backend_version workload model size device device_name precision mode track batch world_size
status reason
samples_per_s step_ms_p50 step_ms_p95 step_ms_p99 steps warmup_steps
import_s build_s compile_s first_step_s
peak_host_mib baseline_host_mib peak_device_mib
flops_per_sample tflops mfu precision_honest
param_count parity parity_logits_err parity_loss_err loss_first loss_last
export_format export_rung export_s export_mib export_max_abs_err
infer_ms_p50 infer_ms_p95 infer_ms_p99 infer_samples_per_s
energy_j threads load1 driver env_lock env_python settings git_rev
"""

any_text = st.text(st.characters(codec=None))  # lone surrogates, NUL and separators included
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip
VALUES = {
    "text": any_text,
    "int": st.none() | st.integers(min_value=-(2**63), max_value=2**63),
    "float": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.none() | st.booleans(),
    "json": json_value,
    "time": st.none() | st.datetimes(timezones=st.just(UTC)),
}


def through_csv(fields: dict[str, str]) -> tuple[dict[str, str], str]:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(fields.values())
    content = out.getvalue().encode("utf-8").decode("utf-8")
    (read,) = csv.reader(io.StringIO(content, newline=""), strict=True)
    return dict(zip(fields, read, strict=True)), content


def test_the_fixed_columns_are_the_designs_and_the_page_is_current():
    assert [column.name for column in schema.FIXED] == FIXED.split()
    assert len(schema.BY_NAME) == len(schema.COLUMNS)
    assert (ROOT / "results/SCHEMA.md").read_text() == schema.page()


@pytest.mark.parametrize("column", schema.COLUMNS, ids=lambda column: column.name)
def test_a_column_with_a_unit_in_its_name_states_it(column):
    units = {"_gb_s": "GB/s", "_us": "us", "_s": "s", "_mib": "MiB", "_j": "J"}
    units |= {"_tflops": "TFLOP/s", "_per_s": None}
    ending = next((end for end in ("_per_s", *units) if column.name.endswith(end)), None)
    if ending == "_per_s":
        assert column.unit == column.name.removesuffix("_per_s").split("_")[-1] + "/s"
    elif ending:
        assert column.unit == units[ending]
    assert column.doc


@settings(max_examples=25, deadline=None)
@given(st.fixed_dictionaries({c.name: VALUES[c.kind] for c in schema.COLUMNS}))
def test_every_value_survives_the_file_and_a_row_is_one_line(row):
    fields, content = through_csv(schema.text(row))
    assert schema.typed(fields) == row
    assert content.count("\n") == 1
    assert not set(content[:-1]) & set("\r\0\u2028\u2029\x85")


@settings(deadline=None)
@given(st.text("=+-@'\t\r\n\\x0u", min_size=1, max_size=4))
def test_no_text_starts_as_a_formula(value):
    written = schema.text({"reason": value})["reason"]
    assert written[0] not in "=+-@\t\r"
    assert schema.typed({"reason": written})["reason"] == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("'quoted", "''quoted"),
        ("a\nb", "a\\nb"),
        ("a\\nb", "a\\\\nb"),
        ("\0\ud800", "\\u0000\\ud800"),
        ("", ""),
    ],
)
def test_text_is_written_as_the_page_says(value, written):
    assert schema.text({"reason": value})["reason"] == written
    assert schema.typed({"reason": written})["reason"] == value


def test_other_programs_apostrophes_and_backslashes_are_kept():
    assert schema.typed({"reason": "'tis \\q"})["reason"] == "'tis \\q"


def test_values_are_written_as_the_page_says():
    east = datetime(2026, 3, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    fields = schema.text(
        {
            "mfu": 0.1 + 0.2,
            "tflops": np.float64(2.5),  # a float whose repr is not a number
            "wall_s": 3,
            "precision_honest": False,
            "started_at": east,
            "settings": {"b": 1, "a": ['"', "é"]},
        }
    )
    written = {name: field for name, field in fields.items() if field}
    assert written == {
        "started_at": "2026-03-01T12:00:00Z",
        "tflops": "2.5",
        "mfu": "0.30000000000000004",
        "precision_honest": "false",
        "settings": r'{"a":["\"","\u00e9"],"b":1}',
        "wall_s": "3.0",
    }
    assert json.loads(written["settings"]) == {"b": 1, "a": ['"', "é"]}


def test_empty_is_not_zero():
    fields = schema.text({"steps": 0, "mfu": 0.0})
    assert (fields["steps"], fields["mfu"], fields["tflops"]) == ("0", "0.0", "")
    row = schema.typed({})
    assert (row["steps"], row["mfu"], row["settings"], row["reason"]) == (None, None, None, "")


@pytest.mark.parametrize(
    ("column", "field"),
    [
        *(("steps", field) for field in ("1.0", " 1", "1_0", "x", "\u0661", "9" * 5000)),
        *(("mfu", field) for field in ("nan", "inf", "1,5", "1_0.0", "0x1p3", "e5")),
        ("precision_honest", "yes"),
        ("settings", "{"),
        ("settings", "[" * 100_000),
        *(("started_at", field) for field in ("2026-03-01T12:00:00", "yesterday", "12:00Z")),
        ("started_at", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_field_of_another_kind_is_refused_in_one_line_that_names_the_column(column, field):
    with pytest.raises(ValueError, match=f"^column '{column}': '.*' is not [^\n]+$") as caught:
        schema.typed({column: field})
    assert len(str(caught.value)) < 200


def test_an_empty_field_and_a_missing_column_are_the_same():
    assert schema.typed({}) == schema.typed(dict.fromkeys(schema.BY_NAME, ""))
