"""Copying trials, curves and probes from one database into another, many rows at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text, update

from bnexp.db import rows
from bnexp.db.inserts import ids_by_key, insert_rows
from bnexp.db.tables import Base, TrialRow
from bnexp.db.upkeep.merging.matching import Matched
from bnexp.db.upkeep.writing import parts, take_away
from bnexp.db.wishes import END_EMPTY_COHORTS

ROWS = 5_000
"""Rows of curves and probes in memory at once."""


def copy_trials(source: Connection, target: Connection, matched: Matched) -> None:
    """Write down the trials that are new, and the results of those taken over, with everything that they were measured
    with. Adds the numbers of the new ones to `matched.here`. None is in a cohort yet."""
    for part in parts(matched.new):
        found = _trials(source, part)
        target.execute(insert(TrialRow), [_waiting(row) for row in found])
        ids = ids_by_key(target, [row["key"] for row in found])
        matched.here |= {row["id"]: ids[row["key"]] for row in found}
    if matched.taken:
        take_away(target, set(matched.leased.values()))
        for part in parts(matched.taken):
            _overwrite(target, [{**row, "id": matched.here[row["id"]]} for row in _trials(source, part)])
        target.execute(END_EMPTY_COHORTS)


def _trials(source: Connection, numbers: Sequence[int]) -> list[dict[str, Any]]:
    query = select(TrialRow.__table__).where(TrialRow.id.in_(numbers))
    return [{**row, "cohort_id": None} for row in source.execute(query).mappings()]


def _waiting(row: Mapping[str, Any]) -> dict[str, Any]:
    """A new trial's row. What a worker trains there, nobody trains here."""
    status = "pending" if row["status"] == "running" else row["status"]
    return {**{name: value for name, value in row.items() if name != "id"}, "status": status}


def _overwrite(target: Connection, changed: Sequence[Mapping[str, Any]]) -> None:
    """Give the trials these columns. The recorded ones (evaluation steps, probes) are among them: they must tell what
    the result was measured with, whatever was wished for here."""
    columns = TrialRow.__table__.c
    values = {name: bindparam(f"new_{name}", type_=columns[name].type) for name in changed[0] if name != "id"}
    statement = update(Base.metadata.tables["trials"]).where(TrialRow.id == bindparam("new_id")).values(values)
    target.execute(statement, [{f"new_{name}": value for name, value in row.items()} for row in changed])


def copy_measurements(source: Connection, target: Connection, matched: Matched) -> tuple[int, int]:
    """Copy the curves and probes of the trials whose results come; how many rows of each."""
    curves, probes = (
        sum(_copy(source, target, table, columns, part, matched.here) for part in parts(matched.ended))
        for table, columns in (("curves", rows.POINT), ("probes", rows.PROBE))
    )
    return curves, probes


def _copy(
    source: Connection,
    target: Connection,
    table: str,
    columns: Sequence[str],
    numbers: Sequence[int],
    here: Mapping[int, int],
) -> int:
    """Copy the rows of some trials; the first column is the trial's number."""
    query = text(f"select {', '.join(columns)} from {table} where trial_id in :ids")
    query = query.bindparams(bindparam("ids", expanding=True))
    found = source.execute(query, {"ids": list(numbers)}, execution_options={"yield_per": ROWS})
    copied = 0
    for part in found.partitions(ROWS):
        insert_rows(target, table, columns, [(here[trial_id], *rest) for trial_id, *rest in part])
        copied += len(part)
    return copied
