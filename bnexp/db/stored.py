"""Trials that have ended, and choices, read back as the records that were stored."""

import hashlib
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from sqlalchemy import JSON, Boolean, Connection, text

from bnexp.db.rows import notes
from bnexp.records import Choice, Final, Outcome, Point

FINAL = [field.name for field in fields(Final) if field.default is MISSING]
PERHAPS = [field.name for field in fields(Final) if field.default is None]
"""What is not measured of every trial."""
MEASURED = [field.name for field in fields(Point) if field.name != "step"]

KEYS = text(
    "select key from trials where status in ('finished', 'diverged') and (:everything or id in "
    "(select trial_id from experiment_trials where experiment_id = :experiment))"
)
TRIAL = text("select * from trials where key = :key").columns(config=JSON)
CURVE = text("select c.* from curves c join trials t on t.id = c.trial_id where t.key = :key order by c.step")
ATTEMPT = text(
    "select a.torch_version, a.device from attempts a join trials t on t.id = a.trial_id "
    "where t.key = :key and a.outcome in ('finished', 'diverged') order by a.id desc limit 1"
)

CHOICES = text(
    "select arm, factor, level, score, at_edge from choices where experiment_id = :experiment order by arm"
).columns(at_edge=Boolean)


@dataclass(frozen=True)
class Stored:
    """A trial that has ended, as it stands in the database."""

    key: str
    config: dict[str, Any]
    """As it was written; it may name what this bnexp does not know."""
    fingerprint: str
    """Of the dataset that it was trained on."""
    outcome: Outcome
    """Its slot means nothing."""
    torch_version: str | None
    """Of the attempt that ended it, as is the device."""
    device: str | None


def sample(connection: Connection, size: int, seed: int, experiment_id: int | None) -> list[Stored]:
    """`size` trials at random of those that have finished or diverged, or all if they are fewer, in order of their
    keys: of one instance if told, else of the whole database. Which they are depends on `seed` and the keys alone, and
    a larger sample holds the smaller ones."""
    known = connection.execute(KEYS, {"everything": experiment_id is None, "experiment": experiment_id}).scalars()
    chosen = heapq.nsmallest(size, known, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    return [_read(connection, key) for key in sorted(chosen)]


def _read(connection: Connection, key: str) -> Stored:
    trial = dict(connection.execute(TRIAL, {"key": key}).mappings().one())
    curve = [dict(row) for row in connection.execute(CURVE, {"key": key}).mappings()]
    attempt = connection.execute(ATTEMPT, {"key": key}).one_or_none()
    torch_version, device = attempt or (None, None)
    return Stored(key, trial["config"], trial["fingerprint"], outcome(trial, curve), torch_version, device)


def choices(connection: Connection, experiment_id: int) -> list[Choice]:
    """The levels chosen for the instance's arms, in order of the arms."""
    return [Choice(**row) for row in connection.execute(CHOICES, {"experiment": experiment_id}).mappings()]


def outcome(trial: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> Outcome:
    """What `bnexp.db.rows.result` and `points` made columns of, from a row of `trials` and its rows of `curves` in
    order of their steps. A NULL is what `nonfinite` says of it, else NaN, or None of what may be missing."""
    final, noted = [_number(trial, name) for name in FINAL], notes(trial["nonfinite"])
    perhaps = [None if trial[name] is None and name not in noted else _number(trial, name) for name in PERHAPS]
    return Outcome(
        slot=0,
        status=trial["status"],
        curve=tuple(Point(point["step"], *(_number(point, name) for name in MEASURED)) for point in curve),
        final=None if trial["status"] == "diverged" and all(map(math.isnan, final)) else Final(*final, *perhaps),
        diverged_at_step=trial["diverged_at_step"],
        reason=noted.get("loss"),
    )


def _number(row: Mapping[str, Any], name: str) -> float:
    return float(notes(row["nonfinite"]).get(name, "nan") if row[name] is None else row[name])
