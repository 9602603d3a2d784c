"""Answers of the database as tables: the rows of a view with its types, whatever database they come from, and with the
numbers that are not finite, which the database has as NULL; or the rows of anybody's statement."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from bnexp.db import views
from bnexp.db.asking import Answer
from bnexp.db.rows import notes
from bnexp.errors import DatabaseError
from bnexp.table import Column, Table, column

CELLS = 500_000
"""Values that stand in memory as Python objects at a time."""
LONG = {"units": 200}
"""Columns that count as so many: a text for each unit of a layer."""


def of_view(answer: Answer, view: str) -> Iterator[Table]:
    """The rows of a view, so many at a time that memory does not grow with them; one empty table where there are none.
    Raises DatabaseError where there is what bnexp has not written."""
    fields = {name: views.field(view, name) for name in answer.columns}
    most, first = max(1, CELLS // sum(LONG.get(name, 1) for name in fields)), True
    while (rows := list(islice(answer.rows, most))) or first:
        made, first = {}, False
        for (name, field), cells in zip(fields.items(), _columns(rows, len(fields)), strict=True):
            with _understood(name):
                made[name] = column(_texts(cells) if field.kind == "text" else cells, field)
        _restore(made)
        yield Table(made)


def of_statement(answer: Answer) -> Table:
    """All rows of a statement, each column of the kind that its values are of. Raises UsageError where two columns have
    one name."""
    names, rows = answer.names(), list(answer.rows)
    return Table({name: column(cells) for name, cells in zip(names, _columns(rows, len(names)), strict=True)})


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * count


@contextmanager
def _understood(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise DatabaseError(f"the column {name} holds what bnexp did not write ({error})") from error


def _texts(cells: Sequence[Any]) -> list[Any]:
    """Texts, equal ones as one object, since many repeat; JSON, which a server gives as what it means, as text."""
    alike: dict[Any, Any] = {}
    texts = (cell if cell is None or isinstance(cell, str) else json.dumps(cell) for cell in cells)
    return [alike.setdefault(text, text) for text in texts]


def _restore(columns: dict[str, Column]) -> None:
    """Put the numbers that are not finite where they belong, as `nonfinite` says."""
    if "nonfinite" not in columns:
        return
    said = columns["nonfinite"]
    floats = {name: column for name, column in columns.items() if column.field.kind == "float"}
    for row in np.flatnonzero(~said.missing).tolist():
        for name, value in notes(said.values[row]).items():
            if name in floats and floats[name].missing[row]:
                floats[name].values[row] = float(value)
                floats[name].missing[row] = False
