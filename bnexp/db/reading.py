"""An instance's trials and curves as columns, read without a Python loop over rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, TextClause, bindparam, text

from bnexp.columns import Repeating
from bnexp.config import columns_by_name
from bnexp.db.tables import TrialRow
from bnexp.records import Columns

STATUSES = ("pending", "running", "finished", "diverged", "failed")
PART = 2_000
"""Rows that become arrays at a time, while their Python objects are in the processor's cache."""
PARAMETERS = 500
"""In one query; SQLite may allow no more than 999."""

Kinds = Mapping[str, npt.DTypeLike]
"""The columns of a query, and what they are in numpy."""

TRIAL: Kinds = {
    "trial_key": object,
    "cell": np.int64,
    "status": np.int64,
    "seed": np.int64,
    "validation_accuracy": np.float64,
    "test_accuracy": np.float64,
    "trained": np.float64,
}
NUMBERED = " ".join(f"when '{status}' then {number}" for number, status in enumerate(STATUSES))
OF_INSTANCE = text(
    f"select t.key, t.cell, case t.status {NUMBERED} end, t.seed, t.validation_accuracy, t.test_accuracy, t.trained "
    "from experiment_trials e join trials t on t.id = e.trial_id where e.experiment_id = :id"
)
"""What differs from trial to trial."""

CELL: Kinds = dict.fromkeys(
    ["cell", "classes", *sorted((set(columns_by_name().values()) & set(TrialRow.__table__.columns.keys())) - {"seed"})],
    object,
)
OF_CELLS = text(f"select {', '.join(CELL)} from trials where key in :these").bindparams(
    bindparam("these", expanding=True)
)
IDS = text("select id, key from trials where key in :these").bindparams(bindparam("these", expanding=True))


def trials(connection: Connection, experiment_id: int) -> Columns:
    """The instance's trials in order of their keys, one that two variants want twice: trial_key, status, seed, classes,
    outcomes and all factors, as in `experiment_results`."""
    found = _read(connection, OF_INSTANCE, [{"id": experiment_id}], TRIAL)
    order = np.argsort(found["trial_key"].astype("S"), kind="stable")
    own = {name: column[order] for name, column in found.items()}
    cells, first, cell = np.unique(own.pop("cell"), return_index=True, return_inverse=True)
    factors = _read(connection, OF_CELLS, _parts(own["trial_key"][first]), CELL)
    by_cell = np.argsort(factors.pop("cell").astype(np.int64))
    factors = {name: _narrow(column[by_cell]) for name, column in factors.items()}

    both = cell * len(STATUSES) + own.pop("status")
    [present] = np.nonzero(np.bincount(both, minlength=len(cells) * len(STATUSES)))
    distinct = {name: column[present // len(STATUSES)] for name, column in factors.items()}
    distinct["status"] = np.array(STATUSES, dtype=object)[present % len(STATUSES)]
    chance = 1.0 / distinct["classes"].astype(np.float64)
    place = np.searchsorted(present, both)
    scored = np.where((distinct["status"] == "diverged")[place], chance[place], own.pop("test_accuracy"))
    return Repeating(distinct, place, own | {"scored_accuracy": scored})


def curves(connection: Connection, keys: Sequence[str], columns: Sequence[str]) -> Columns:
    """The validation curves of these trials: trial_key, step and the columns asked for, of each point."""
    known = _read(connection, IDS, _parts(keys), {"id": np.int64, "key": object})
    order = np.argsort(known["id"])
    ids = known["id"][order]
    kinds: Kinds = {"trial_id": np.int64, "step": np.int64, **dict.fromkeys(columns, np.float64)}
    query = text(f"select {', '.join(kinds)} from curves where trial_id in :these")
    points = _read(connection, query.bindparams(bindparam("these", expanding=True)), _parts(ids), kinds)
    place = np.searchsorted(ids, points.pop("trial_id"))
    return Repeating({"trial_key": known["key"][order]}, place, points)


def _parts(these: npt.NDArray[Any] | Sequence[str]) -> list[dict[str, Any]]:
    """Parameters for as many queries as it takes."""
    listed = these.tolist() if isinstance(these, np.ndarray) else list(these)
    return [{"these": listed[start : start + PARAMETERS]} for start in range(0, len(listed), PARAMETERS)]


def _read(
    connection: Connection, query: TextClause, parameters: Sequence[Mapping[str, Any]], kinds: Kinds
) -> dict[str, npt.NDArray[Any]]:
    """The rows of a query, made once for each of the `parameters`; NULL in a column of numbers becomes NaN."""
    parts: list[list[npt.NDArray[Any]]] = [[np.empty(0, kind)] for kind in kinds.values()]
    for values in parameters:
        cursor = connection.execute(query, values).cursor
        assert cursor is not None
        while rows := cursor.fetchmany(PART):
            for part, kind, column in zip(parts, kinds.values(), zip(*rows, strict=True), strict=True):
                part.append(np.array(column, kind))
    return {name: np.concatenate(part) for name, part in zip(kinds, parts, strict=True)}


def _narrow(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Numbers as numbers, None among them as NaN; what else there is as it is."""
    kinds = {type(value) for value in column}
    if kinds <= {int, float, bool, type(None)} and kinds != {type(None)}:
        return np.array([np.nan if value is None else value for value in column])
    return column
