"""Rows by columns: what numpy, pandas and Arrow make of each kind of value, and of those that are missing."""

import math
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bnexp.errors import UsageError
from bnexp.table import Field, Table, column, joined

TIME = datetime(2026, 11, 26, 20, 39, 1, 49071)
CELLS: dict[str, tuple[Any, ...]] = {
    "integer": (1, None, 2**63 - 1),
    "whole": (1, 2, 3),
    "float": (1.5, math.nan, None),
    "mixed": (1, -math.inf, Decimal("0.1")),
    "boolean": (True, None, False),
    "text": ("x", "", None),
    "time": (TIME, None, TIME.replace(tzinfo=UTC)),
    "object": ([1, 2], [3, 4], None),
    "nothing": (None, None, None),
}
TABLE = Table({name: column(cells) for name, cells in CELLS.items()})


def alike(one: Any, other: Any) -> bool:
    """Equal, and of one type; NaN is NaN."""
    return type(one) is type(other) and (one == other or (one != one and other != other))


def test_what_a_column_is_of_is_seen_in_its_values() -> None:
    kinds = {name: field.kind for name, field in TABLE.fields().items()}
    expected = {name: name for name in CELLS} | {"whole": "integer", "mixed": "float", "nothing": "text"}
    assert kinds == expected and TABLE.columns == list(CELLS)
    assert [name for name, field in TABLE.fields().items() if not field.nullable] == ["whole", "mixed"]
    assert column((1, "x")).field.kind == "object"


def test_a_column_is_as_numpy_has_it() -> None:
    types = {name: str(TABLE[name].dtype) for name in TABLE.columns}
    assert types == {
        "integer": "float64",
        "whole": "int64",
        "float": "float64",
        "mixed": "float64",
        "boolean": "bool",
        "text": "object",
        "time": "datetime64[us]",
        "object": "object",
        "nothing": "object",
    }
    assert TABLE["integer"][0] == 1 and math.isnan(TABLE["integer"][1])
    assert np.isnan(TABLE["float"]).tolist() == [False, True, True]
    assert TABLE.missing("float").tolist() == [False, False, True], "what was measured is not missing"
    assert TABLE["boolean"].tolist() == [True, False, False] and TABLE["object"][1] == [3, 4]
    assert TABLE["time"].tolist() == [TIME, None, TIME]
    assert "text" in TABLE and "tekst" not in TABLE
    with pytest.raises(KeyError, match=r"no column 'tekst'.*did you mean 'text'"):
        TABLE["tekst"]


def test_rows_are_as_python_has_them() -> None:
    rows = list(TABLE)
    assert len(rows) == len(TABLE) == 3 and list(rows[0]) == list(CELLS)
    cells = {**CELLS, "mixed": (1.0, -math.inf, 0.1), "time": (TIME, None, TIME)}
    for name in CELLS:
        assert all(alike(row[name], cell) for row, cell in zip(rows, cells[name], strict=True)), name


def test_a_kind_that_is_known_holds_whatever_the_values_are() -> None:
    """As SQLite has booleans and times."""
    kinds = {"boolean": (1, None, 0), "time": (f"{TIME}", None, f"{TIME}"), "float": (None, None, None)}
    for kind, cells in kinds.items():
        made = Table({"c": column(cells, Field(kind, nullable=True))})  # type: ignore[arg-type]
        expected = {"boolean": [True, None, False], "time": [TIME, None, TIME], "float": [None] * 3}[kind]
        assert [row["c"] for row in made] == expected, kind
    assert column((), Field("integer", nullable=False)).values.dtype == np.int64
    with pytest.raises(ValueError, match="could not convert"):
        column(("x",), Field("float", nullable=True))


def test_tables_are_joined() -> None:
    twice = joined([TABLE, TABLE])
    assert len(twice) == 6 and twice["time"].tolist() == [TIME, None, TIME] * 2
    assert twice.missing("integer").tolist() == [False, True, False] * 2


def test_arrow_tells_null_from_nan() -> None:
    arrow = TABLE.to_arrow()
    types = {"integer": "int64", "whole": "int64", "float": "double", "mixed": "double", "boolean": "bool"}
    types |= {"text": "string", "time": "timestamp[us, tz=UTC]", "object": "list<item: int64>", "nothing": "string"}
    assert {field.name: str(field.type) for field in arrow.schema} == types
    assert [field.name for field in arrow.schema if not field.nullable] == ["whole", "mixed"]
    for row, ours in zip(arrow.to_pylist(), TABLE, strict=True):
        ours["time"] = ours["time"] and ours["time"].replace(tzinfo=UTC)
        assert all(alike(row[name], ours[name]) for name in CELLS), (row, ours)
    with pytest.raises(UsageError, match="'c' is of no kind that Arrow has"):
        Table({"c": column((1, "x"))}).to_arrow()


def test_pandas_has_types_for_what_is_missing() -> None:
    frame = TABLE.to_pandas()
    types = {"integer": "Int64", "whole": "int64", "float": "float64", "mixed": "float64", "boolean": "boolean"}
    types |= {"time": "datetime64[us, UTC]", "object": "object"}
    assert {name: str(frame[name].dtype) for name in types} == types
    assert frame["text"][0] == "x" and frame["text"].isna().tolist() == [False, False, True]
    assert frame["integer"][2] == 2**63 - 1 and frame["integer"].isna().tolist() == [False, True, False]
    assert frame["boolean"].isna().tolist() == [False, True, False] and frame["time"][0] == TIME.replace(tzinfo=UTC)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, method in {"pandas": TABLE.to_pandas, "pyarrow": TABLE.to_arrow}.items():
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UsageError, match=f"{name}: pip install"):
            method()
