"""Tables by columns, of which most may repeat: a million trials of a grid have 72 cells.

A `Repeating` table holds the distinct rows of such columns once, and which of them each of its own rows has. Plain
columns do as well wherever a table is wanted; there every row stands for itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bnexp.records import Columns

Places = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Repeating(Mapping[str, npt.NDArray[Any]]):
    """A table of [rows]; as a mapping, its columns."""

    distinct: Columns
    """[places] Columns that repeat."""
    place: Places
    """[rows] Where in `distinct` each row's values are."""
    own: Columns
    """[rows] The other columns."""

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.own[name] if name in self.own else self.distinct[name][self.place]

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.distinct

    def __iter__(self) -> Iterator[str]:
        yield from self.distinct
        yield from self.own

    def __len__(self) -> int:
        return len(self.distinct) + len(self.own)


def length(table: Columns) -> int:
    """How many rows it has."""
    return len(table.place) if isinstance(table, Repeating) else len(next(iter(table.values())))


def take(table: Columns, keep: Mask) -> Columns:
    """The rows where `keep` [rows] is true."""
    if keep.all():
        return table
    [rows] = np.nonzero(keep)  # looked for once, and not for every column
    if isinstance(table, Repeating):
        return Repeating(table.distinct, table.place[rows], {name: own[rows] for name, own in table.own.items()})
    return {name: column[rows] for name, column in table.items()}


def unfolded(table: Columns, names: Sequence[str]) -> tuple[Columns, Places]:
    """Columns `names` of as few rows as are at hand, and for each row of the table its place among these. Rows of the
    former that no row of the table has may be there too."""
    if isinstance(table, Repeating) and not any(name in table.own for name in names):
        return {name: table.distinct[name] for name in names}, table.place
    return {name: table[name] for name in names}, np.arange(length(table))


def levels(table: Columns, name: str) -> npt.NDArray[Any]:
    """The values of a column, sorted, each once; a column that no row has a value in has the level None."""
    few, place = unfolded(table, [name])
    there = few[name][_present(place, len(few[name]))]
    return there[:1] if all(value is None for value in there) else np.unique(there)


def counts(table: Columns, name: str) -> dict[Any, int]:
    """How many rows have each value of a column."""
    few, place = unfolded(table, [name])
    result: dict[Any, int] = {}
    for value, count in zip(few[name].tolist(), np.bincount(place, minlength=len(few[name])).tolist(), strict=True):
        if count:
            result[_one_nan(value)] = result.get(_one_nan(value), 0) + count
    return result


def combinations(table: Columns, names: Sequence[str]) -> tuple[list[tuple[Any, ...]], Places]:
    """The combinations of values of the columns `names` that there are, sorted, and each row's place among them."""
    few, place = unfolded(table, names)
    rows = list(zip(*(map(_one_nan, few[name].tolist()) for name in names), strict=True))
    found = sorted({rows[index] for index in np.flatnonzero(_present(place, len(rows)))}, key=_in_order)
    number = {row: index for index, row in enumerate(found)}
    return found, np.array([number.get(row, 0) for row in rows], dtype=np.intp)[place]


def in_both(one: Columns, other: Columns, names: Sequence[str]) -> tuple[Mask, Mask]:
    """Which rows of each table have a row in the other that equals them in all the columns `names`; NaN equals NaN."""
    few, places = zip(*(unfolded(table, names) for table in (one, other)), strict=True)
    cut = len(few[0][names[0]])
    code = np.zeros(cut + len(few[1][names[0]]), dtype=np.intp)
    for name in names:
        column = np.concatenate([few[0][name], few[1][name]])
        if not (column == column[:1]).all():
            numbers = _codes(column)
            code = np.unique(code * (numbers.max() + 1) + numbers, return_inverse=True)[1]
    codes = code[:cut], code[cut:]
    there = [np.bincount(own[place], minlength=len(code)) > 0 for own, place in zip(codes, places, strict=True)]
    common = there[0] & there[1]
    return common[codes[0]][places[0]], common[codes[1]][places[1]]


def means(values: npt.NDArray[np.float64], place: Places, count: int) -> npt.NDArray[np.float64]:
    """[count] The mean of the values at each place, summed in their order as `np.mean` sums them; NaN where none is."""
    order = np.argsort(place, kind="stable")
    sizes = np.bincount(place, minlength=count)
    starts = np.cumsum(sizes) - sizes
    result = np.full(count, np.nan)
    for size in np.unique(sizes[sizes > 0]):
        [which] = np.nonzero(sizes == size)
        result[which] = values[order[starts[which][:, None] + np.arange(size)]].mean(axis=1)
    return result


def _in_order(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """What sorts a combination: a column may have None, and text, beside numbers."""
    return tuple((value is None, isinstance(value, str), 0 if value is None else value) for value in values)


def _one_nan(value: Any) -> Any:
    return math.nan if value != value else value


def _codes(column: npt.NDArray[Any]) -> Places:
    """A number for each value, equal where these are written alike."""
    if column.dtype != object:
        return np.unique(column, return_inverse=True)[1].astype(np.intp)
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(str(value), len(numbers)) for value in column.tolist()], dtype=np.intp)


def _present(place: Places, count: int) -> Mask:
    """Which of `count` places any row has."""
    return np.bincount(place, minlength=count) > 0
