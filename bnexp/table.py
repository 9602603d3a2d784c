"""Rows that were read from a database, by columns: as numpy has them, and for pandas and Arrow.

A column is of one kind, which says what numpy makes of it, and where a value is NULL:

kind      numpy                 where NULL
integer   int64                 NaN, in a column of float64
float     float64               NaN
boolean   bool                  False
text      object (str)          None
time      datetime64[us], UTC   NaT
object    object                None
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bnexp.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas
    import pyarrow

Kind = Literal["integer", "float", "boolean", "text", "time", "object"]

NUMPY: dict[Kind, "npt.DTypeLike"] = {
    "integer": np.int64,
    "float": np.float64,
    "boolean": np.bool_,
    "text": object,
    "time": "datetime64[us]",
    "object": object,
}
KINDS: dict[frozenset[type], Kind] = {
    frozenset({bool}): "boolean",
    frozenset({int}): "integer",
    frozenset({str}): "text",
    frozenset({datetime}): "time",
    frozenset(): "text",
}
"""Of a column of which nothing is known, by the types of its values."""


@dataclass(frozen=True)
class Field:
    """What a column is."""

    kind: Kind
    nullable: bool


@dataclass(frozen=True)
class Column:
    """[rows] A column's values."""

    field: Field
    values: npt.NDArray[Any]
    """Where one is missing stands something that means nothing."""
    missing: npt.NDArray[np.bool_]
    """Where the database has NULL."""


def column(cells: Sequence[Any], field: Field | None = None) -> Column:
    """The column of these cells, None where NULL: of the kind of `field`, else of that which their types say; integers
    and other numbers together are floats. Raises ValueError or TypeError where a cell cannot be of the kind,
    OverflowError where it is too large."""
    if field is None:
        field = Field(_kind({type(cell) for cell in cells if cell is not None}), None in cells)
    missing = np.zeros(len(cells), dtype=np.bool_)
    if None in cells:
        missing[:] = [cell is None for cell in cells]
        if field.kind in ("integer", "boolean"):
            cells = [0 if cell is None else cell for cell in cells]
    if field.kind == "time":
        cells = [_without_zone(cell) for cell in cells]
    if NUMPY[field.kind] is object:
        return Column(field, np.fromiter(cells, object, len(cells)), missing)  # each as it is, lists too
    return Column(field, np.array(cells, dtype=NUMPY[field.kind]), missing)


def _without_zone(time: Any) -> Any:
    return time.astimezone(UTC).replace(tzinfo=None) if isinstance(time, datetime) and time.tzinfo else time


def _kind(types: set[type]) -> Kind:
    if types & {float, Decimal} and types <= {int, float, Decimal}:
        return "float"
    return KINDS.get(frozenset(types), "object")


class Table:
    """Rows by columns. `table["lr"]` is a column as numpy has it, `len(table)` the number of rows, and iterating gives
    a dict for each row, with None where the database has NULL."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Of columns of one length, by name."""
        self._columns = dict(columns)
        self._rows = max((len(column.values) for column in self._columns.values()), default=0)

    @property
    def columns(self) -> list[str]:
        """The columns' names, in order."""
        return list(self._columns)

    def fields(self) -> dict[str, Field]:
        """What each column is."""
        return {name: column.field for name, column in self._columns.items()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """[rows] The column called `name`. Raises KeyError where there is none."""
        column = self._column(name)
        if column.field.kind == "integer" and column.field.nullable:
            return np.where(column.missing, np.nan, column.values)
        return column.values

    def missing(self, name: str) -> npt.NDArray[np.bool_]:
        """[rows] Where the database has NULL in the column. A number that was measured and is not finite is NaN or
        infinite, and not missing. Raises KeyError where there is no such column."""
        return self._column(name).missing

    def _column(self, name: str) -> Column:
        if name not in self._columns:
            raise KeyError(f"no column {name!r} ({did_you_mean(str(name), self._columns)})")
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is a column of this name."""
        return name in self._columns

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self.rows():
            yield dict(zip(self._columns, row, strict=True))

    def __repr__(self) -> str:
        return f"<bnexp.Table of {self._rows:,} rows: {', '.join(self._columns)}>"

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Each row's values in the order of the columns, as Python has them; None where the database has NULL."""
        return zip(*(_cells(column) for column in self._columns.values()), strict=True)

    def to_pandas(self) -> "pandas.DataFrame":
        """A DataFrame: integers and booleans that may be NULL are of pandas' own types for that, times have the zone
        UTC. Raises UsageError where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise UsageError("to_pandas() needs pandas: pip install pandas") from error

        def series(column: Column) -> Any:
            if column.field.nullable and column.field.kind == "integer":
                return pandas.arrays.IntegerArray(column.values, column.missing)
            if column.field.nullable and column.field.kind == "boolean":
                return pandas.arrays.BooleanArray(column.values, column.missing)
            return pandas.DatetimeIndex(column.values, tz="UTC") if column.field.kind == "time" else column.values

        return pandas.DataFrame({name: series(column) for name, column in self._columns.items()})

    def to_arrow(self) -> "pyarrow.Table":
        """An Arrow table, in which NULL is null and NaN is NaN, and times have the zone UTC. Raises UsageError where
        pyarrow is not installed, or where a column has values of several kinds."""
        pyarrow = arrow()
        types = {
            "integer": pyarrow.int64(),
            "float": pyarrow.float64(),
            "boolean": pyarrow.bool_(),
            "text": pyarrow.string(),
            "time": pyarrow.timestamp("us", tz="UTC"),
        }
        made = {}
        for name, column in self._columns.items():
            kind = types.get(column.field.kind)
            try:
                made[name] = pyarrow.array(column.values, kind, mask=column.missing, from_pandas=False)
            except pyarrow.ArrowException as error:
                raise UsageError(f"column {name!r} is of no kind that Arrow has ({error})") from error
        fields = [pyarrow.field(name, array.type, self._columns[name].field.nullable) for name, array in made.items()]
        return pyarrow.Table.from_arrays(list(made.values()), schema=pyarrow.schema(fields))


def arrow() -> Any:
    """The package pyarrow. Raises UsageError where it is not installed."""
    try:
        import pyarrow
    except ImportError as error:
        hint = "pip install 'bnexp[parquet]', or '.[parquet]' in a clone"
        raise UsageError(f"Arrow and Parquet need pyarrow: {hint}") from error
    return pyarrow


def joined(tables: Sequence[Table]) -> Table:
    """The rows of tables that have the same columns, one after the other."""
    first = tables[0]
    if len(tables) == 1:
        return first
    parts = {name: [table._columns[name] for table in tables] for name in first.columns}
    return Table(
        {
            name: Column(
                own[0].field,
                np.concatenate([part.values for part in own]),
                np.concatenate([part.missing for part in own]),
            )
            for name, own in parts.items()
        }
    )


def _cells(column: Column) -> list[Any]:
    cells: list[Any] = column.values.tolist()
    for index in np.flatnonzero(column.missing).tolist():
        cells[index] = None
    return cells
