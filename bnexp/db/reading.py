"""An instance's trials, curves and probes as columns, read without a Python loop over rows."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, TextClause, bindparam, text

from bnexp.columns import Repeating
from bnexp.config import columns_by_name
from bnexp.db.rows import Stage
from bnexp.records import Columns

STATUSES = ("pending", "running", "finished", "diverged", "failed")
PART = 2_000
"""Rows that become arrays at a time, while their Python objects are in the processor's cache."""
SPARSE = 10
"""Numbers for each row, from which on finding those that there are takes sorting."""
PARAMETERS = 500
"""In one query; SQLite may allow no more than 999."""


class Coded(dict[Any, int]):
    """Stands for a column of few different values: each by its number, in order of appearance."""

    def __missing__(self, value: Any) -> int:
        return self.setdefault(value, len(self))


Kinds = Mapping[str, "npt.DTypeLike | Coded"]
"""The columns of a query, and what they are in numpy."""

OWN: Kinds = {
    "key": object,
    "seed": np.int64,
    "validation_accuracy": np.float64,
    "test_accuracy": np.float64,
    "trained": np.float64,
}
"""What differs from trial to trial."""
NUMBERED = " ".join(f"when '{status}' then {number}" for number, status in enumerate(STATUSES))
COMMON = f"t.cell, case t.status {NUMBERED} end, e.variant, e.arm"
"""What many trials have in common, beside their cell's factors."""
OF_INSTANCE = (
    "from experiment_trials e join trials t on t.id = e.trial_id where e.experiment_id = :id and e.stage = :stage"
)
ROWS = text(f"select {COMMON}, {', '.join(f't.{name}' for name in OWN)} {OF_INSTANCE}")
GROUPS = text(
    f"select {COMMON}, {', '.join(f'array_agg(t.{name})' for name in OWN)} {OF_INSTANCE} "
    "group by 1, 2, 3, 4 order by 1, 2, 3, 4"
)
"""The same, a row for all that have the same in common."""

CELL: Kinds = dict.fromkeys(["cell", "classes", *sorted(set(columns_by_name().values()) - {"seed"})], object)
OF_CELLS = text(f"select {', '.join(CELL)} from trials where key in :these").bindparams(
    bindparam("these", expanding=True)
)
IDS = text("select id, key from trials where key in :these").bindparams(bindparam("these", expanding=True))
TOP5 = text("select key, test_top5_accuracy from trials where key in :these").bindparams(
    bindparam("these", expanding=True)
)
CURVE = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
PROBE: Kinds = {"trial_id": np.int64, "step": np.int64, "layer": object, "value": np.float64, "units": object}
PROBES = text(
    f"select {', '.join(PROBE)} from probes where trial_id in :these and name = :name order by trial_id, layer, step"
).bindparams(bindparam("these", expanding=True))


def trials(connection: Connection, experiment_id: int, stage: Stage = "confirm") -> Columns:
    """The instance's trials of a stage in order of their keys, one that two variants want twice: trial_key, status,
    seed, classes, outcomes, all factors, variant and arm, as in `experiment_results`."""
    variants, arms = Coded(), Coded()
    common: Kinds = {"cell": np.int64, "status": np.int64, "variant": variants, "arm": arms}
    found = _of_instance(connection, {"id": experiment_id, "stage": stage}, common)
    order = np.argsort(found["key"].astype("S"), kind="stable")
    own = {name: column[order] for name, column in found.items()}
    own["trial_key"] = own.pop("key")
    cells, first, cell = np.unique(own.pop("cell"), return_index=True, return_inverse=True)
    factors = _read(connection, OF_CELLS, _parts(own["trial_key"][first]), CELL)
    by_cell = np.argsort(factors.pop("cell").astype(np.int64))
    factors = {name: _narrow(column[by_cell]) for name, column in factors.items()}

    codes = [cell, own.pop("status"), own.pop("variant"), own.pop("arm")]
    (at_cell, status, variant, arm), place = _together(codes, [len(cells), len(STATUSES), len(variants), len(arms)])
    distinct = {name: column[at_cell] for name, column in factors.items()}
    distinct["status"] = np.array(STATUSES, dtype=object)[status]
    distinct["variant"] = np.array([*variants], dtype=object)[variant]
    distinct["arm"] = np.array([*arms], dtype=object)[arm]
    chance = 1.0 / distinct["classes"].astype(np.float64)
    scored = np.where((distinct["status"] == "diverged")[place], chance[place], own.pop("test_accuracy"))
    return Repeating(distinct, place, own | {"scored_accuracy": scored})


def _of_instance(connection: Connection, values: Mapping[str, Any], common: Kinds) -> dict[str, npt.NDArray[Any]]:
    """The columns `common` and OWN of an instance's trials. A server's list of a thousand numbers is read in a tenth of
    the time of a thousand rows."""
    if connection.dialect.name != "postgresql":
        return _read(connection, ROWS, [values], {**common, **OWN})
    kinds = {**common, **OWN}
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [_array((), kind)] for name, kind in kinds.items()}
    for group in connection.execute(GROUPS, values, execution_options={"binary": True}):
        size = len(group[-1])
        for (name, kind), value in zip(kinds.items(), group, strict=True):
            parts[name].append(_array([value] * size if name in common else value, kind))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _together(
    codes: Sequence[npt.NDArray[np.int64]], sizes: Sequence[int]
) -> tuple[tuple[npt.NDArray[np.int64], ...], npt.NDArray[np.intp]]:
    """The combinations of codes that there are, a column for each of `codes`, and each row's place among them."""
    whole = np.ravel_multi_index(tuple(codes), tuple(max(1, size) for size in sizes))
    if math.prod(sizes) > SPARSE * len(whole):
        present, place = np.unique(whole, return_inverse=True)
    else:  # no sorting
        [present] = np.nonzero(np.bincount(whole))
        place = np.zeros(present[-1] + 1 if len(present) else 0, dtype=np.intp)
        place[present] = np.arange(len(present))
        place = place[whole]
    return np.unravel_index(present, tuple(max(1, size) for size in sizes)), place


def curves(connection: Connection, keys: Sequence[str], columns: Sequence[str] = ("validation_accuracy",)) -> Columns:
    """The curves of these trials: trial_key, step and the `columns` of each point, of those in CURVE."""
    assert set(columns) <= set(CURVE), columns
    query = f"select trial_id, step, {', '.join(columns)} from curves where trial_id in :these"
    kinds: Kinds = {"trial_id": np.int64, "step": np.int64, **dict.fromkeys(columns, np.float64)}
    return _of_trials(connection, keys, text(query).bindparams(bindparam("these", expanding=True)), kinds)


def probes(connection: Connection, keys: Sequence[str], name: str) -> Columns:
    """The probes called `name` of these trials: trial_key, step, layer, value, and units: for each row a list of
    numbers, NaN where they were not finite, empty where units were not measured. In order of step within a layer."""
    found = _of_trials(connection, keys, PROBES, PROBE, {"name": name})
    units = np.empty(len(found["units"]), dtype=object)
    units[:] = [[] if text is None else _floats(text) for text in found["units"].tolist()]
    return Repeating(found.distinct, found.place, {**found.own, "units": units})


def top5(connection: Connection, keys: Sequence[str]) -> npt.NDArray[np.float64]:
    """[keys] The top-5 accuracy of each of these trials on the test set, 0 to 1; NaN where there is none."""
    found = _read(connection, TOP5, _parts(sorted(set(keys))), {"key": object, "accuracy": np.float64})
    by_key = dict(zip(found["key"].tolist(), found["accuracy"].tolist(), strict=True))
    return np.array([by_key.get(key, math.nan) for key in keys], dtype=np.float64)


def _floats(text: str) -> list[float]:
    return [math.nan if number is None else float(number) for number in json.loads(text)]


def _of_trials(
    connection: Connection, keys: Sequence[str], query: TextClause, kinds: Kinds, fixed: Mapping[str, Any] | None = None
) -> Repeating:
    """The rows that `query` finds for the trials with these keys, by key instead of number."""
    known = _read(connection, IDS, _parts(keys), {"id": np.int64, "key": object})
    order = np.argsort(known["id"])
    ids = known["id"][order]
    own = _read(connection, query, [{**(fixed or {}), **part} for part in _parts(ids)], kinds)
    return Repeating({"trial_key": known["key"][order]}, np.searchsorted(ids, own.pop("trial_id")), own)


def _parts(these: npt.NDArray[Any] | Sequence[str]) -> list[dict[str, Any]]:
    """Parameters for as many queries as it takes."""
    listed = these.tolist() if isinstance(these, np.ndarray) else list(these)
    return [{"these": listed[start : start + PARAMETERS]} for start in range(0, len(listed), PARAMETERS)]


def _read(
    connection: Connection, query: TextClause, parameters: Sequence[Mapping[str, Any]], kinds: Kinds
) -> dict[str, npt.NDArray[Any]]:
    """The rows of a query, made once for each of the `parameters`; NULL in a column of numbers becomes NaN."""
    parts: list[list[npt.NDArray[Any]]] = [[_array((), kind)] for kind in kinds.values()]
    for values in parameters:
        cursor = connection.execute(query, values, execution_options={"binary": True}).cursor
        assert cursor is not None
        while rows := cursor.fetchmany(PART):
            for part, kind, column in zip(parts, kinds.values(), zip(*rows, strict=True), strict=True):
                part.append(_array(column, kind))
    return {name: np.concatenate(part) for name, part in zip(kinds, parts, strict=True)}


def _array(column: Sequence[Any], kind: "npt.DTypeLike | Coded") -> npt.NDArray[Any]:
    if isinstance(kind, Coded):
        return np.fromiter(map(kind.__getitem__, column), np.int64, len(column))
    return np.array(column, kind)


def _narrow(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Numbers as numbers, None among them as NaN; what else there is as it is."""
    kinds = {type(value) for value in column}
    if kinds <= {int, float, bool, type(None)} and kinds != {type(None)}:
        return np.array([np.nan if value is None else value for value in column])
    return column
