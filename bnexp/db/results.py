"""Reading a results database: plain columns and rows, nothing that can write."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import JSON, Connection, DateTime, Engine, text

from bnexp.db import stored
from bnexp.db.asking import Answer, ask
from bnexp.db.connection import explained, open_engine
from bnexp.db.folders import folder_of
from bnexp.db.nearby import nearest_keys
from bnexp.db.rows import Stage
from bnexp.db.url import parse_url, shown
from bnexp.errors import DatabaseError, UsageError, did_you_mean
from bnexp.records import Choice, Columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bnexp.db.kept import Predictions

QUERY_SECONDS = 60.0
"""How long `query` waits for an answer unless told."""


@dataclass(frozen=True)
class InstanceInfo:
    """An experiment instance as stored."""

    id: int
    name: str
    about: str
    overrides: str
    margin: float
    created_at: datetime
    last_run_at: datetime
    expansion: str = ""
    """Hash of its trials, as `bnexp.db.rows.Instance` has it."""


class Network(NamedTuple):
    """What a trial-step's time depends on most, as columns of `trials`."""

    dataset: str
    model: str
    hidden: str | None = None
    norm: str = "none"
    channels: str | None = None
    model_width: float | None = None
    modules: str | None = None

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> "Network":
        """The network of a trial with these columns."""
        return cls(**{name: columns[name] for name in cls._fields if name in columns})


INSTANCES = text(
    "select id, name, about, overrides, margin, created_at, last_run_at, expansion from experiments "
    "order by last_run_at desc, id desc"
).columns(created_at=DateTime, last_run_at=DateTime)


class Results:
    """A results database, open for reading. What needs numpy imports it where it is used."""

    def __init__(self, database: str, root: Path | None = None) -> None:
        """What is kept of finished trials is looked for under `root`, the folder after --checkpoints; without one,
        where it is then."""
        self.url = parse_url(database)
        self.files = folder_of(self.url, "files", root)
        self.engine: Engine = open_engine(self.url, create=False)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with explained(self.url), self.engine.connect() as connection:
            try:
                yield connection
            except (ValueError, TypeError, LookupError, OverflowError) as error:  # a date that is none, say
                said = f"holds what bnexp did not write ({type(error).__name__}: {error})"
                raise DatabaseError(f"database {shown(self.url)}: {said}") from error

    def instances(self) -> list[InstanceInfo]:
        """Every experiment instance, the latest run first."""
        with self._read() as connection:
            return [InstanceInfo(**row) for row in connection.execute(INSTANCES).mappings()]

    def latest(self, name: str | None = None, number: int | None = None) -> InstanceInfo:
        """The instance that was run last, of experiment `name` or with `number` if given. Raises UsageError where there
        is none."""
        instances = self.instances()
        named = [instance for instance in instances if name in (None, instance.name)]
        for instance in named:
            if number in (None, instance.id):
                return instance
        if not instances:
            raise UsageError("nothing has been run into this database yet; `bnexp run grid` does")
        if not named:
            hint = did_you_mean(name or "", {instance.name for instance in instances})
            raise UsageError(f"experiment {name!r} has not been run into this database ({hint})")
        of = next((f"{instance.name!r}" for instance in instances if instance.id == number), None)
        if of:
            raise UsageError(f"instance {number} is of experiment {of}, not of {name!r}")
        raise UsageError(f"there is no instance {number}; `bnexp status` shows their numbers")

    def find(self, name: str, overrides: str, expansion: str) -> int | None:
        """The number of the instance with this identity; None where it has not been run."""
        from bnexp.db import registering

        with self._read() as connection:
            return registering.find(connection, name, overrides, expansion)

    def effects(self, experiment: str) -> dict[str, tuple[float, float, float, str, int]]:
        """By claim, what was last measured of it in an instance of the experiment, of several measures the first:
        effect, low, high, unit and n, as `claim_verdicts` has them; ends that are not there are infinite."""
        query = text(
            "select claim, effect, low, high, unit, n, measures from claim_verdicts where experiment = :name "
            "and effect is not null order by judged_at"
        ).columns(measures=JSON)
        with self._read() as connection:
            rows = connection.execute(query, {"name": experiment}).all()
        found = {}
        for row in rows:
            first = {"low": row.low, "high": row.high, "n": row.n} | {"effect": row.effect, "unit": row.unit}
            first |= (row.measures or [{}])[0]
            ends = _ends(first["low"], first["high"])
            found[row.claim] = (float(first["effect"]), *map(float, ends), first["unit"], first["n"])
        return found

    def choices(self, experiment_id: int) -> list[Choice]:
        """The levels that the instance's tune stage chose, in order of the arms; none before it has ended."""
        with self._read() as connection:
            return stored.choices(connection, experiment_id)

    def locked_before_data(self, experiment_id: int) -> set[str]:
        """The keys of the claims that stood in the database before the instance's first trial began."""
        query = text(
            "select key from claims where locked_at <= (select min(a.started_at) from attempts a "
            "join experiment_trials e on e.trial_id = a.trial_id where e.experiment_id = :id)"
        )
        with self._read() as connection:
            return set(connection.execute(query, {"id": experiment_id}).scalars())

    def statuses(self, keys: Sequence[str]) -> dict[str, str]:
        """The status of those of the trials that are known."""
        with self._read() as connection:
            known = {row.key: row.status for row in connection.execute(text("select key, status from trials"))}
        return {key: known[key] for key in keys if key in known}

    def trials(self, experiment_id: int, stage: Stage = "confirm") -> Columns:
        """The instance's trials of a stage, as `bnexp.db.reading.trials` gives them."""
        from bnexp.db import reading

        with self._read() as connection:
            return reading.trials(connection, experiment_id, stage)

    def curves(self, keys: Sequence[str], columns: Sequence[str] = ("validation_accuracy",)) -> Columns:
        """The curves of these trials, as `bnexp.db.reading.curves` gives them."""
        from bnexp.db import reading

        with self._read() as connection:
            return reading.curves(connection, keys, columns)

    def top5(self, keys: Sequence[str]) -> "npt.NDArray[np.float64]":
        """The top-5 accuracy of these trials, as `bnexp.db.reading.top5` gives it."""
        from bnexp.db import reading

        with self._read() as connection:
            return reading.top5(connection, keys)

    def probes(self, keys: Sequence[str], name: str) -> Columns:
        """One probe's values in these trials, as `bnexp.db.reading.probes` gives them."""
        from bnexp.db import reading

        with self._read() as connection:
            return reading.probes(connection, keys, name)

    def predictions(self, keys: Sequence[str]) -> "Iterator[Predictions]":
        """The kept predictions of these trials, as `bnexp.db.kept.predictions` gives them."""
        from bnexp.db import kept

        with self._read() as connection:
            return kept.predictions(connection, self.files, keys)

    def ended(self, size: int, seed: int, experiment_id: int | None = None) -> list[stored.Stored]:
        """Some trials that have ended, chosen at random, with all their numbers, as `bnexp.db.stored.sample` gives
        them."""
        with self._read() as connection:
            return stored.sample(connection, size, seed, experiment_id)

    def paces(self) -> dict[Network, tuple[float, float]]:
        """For each network of which trials have finished, the trial-steps that these took and the seconds of one worker
        that they cost."""
        query = text(
            f"select {', '.join(Network._fields)}, sum(steps) as steps, sum(seconds) as seconds from trials "
            f"where status = 'finished' and seconds > 0 group by {', '.join(Network._fields)}"
        )
        with self._read() as connection:
            return {Network(*row[:-2]): (float(row.steps), float(row.seconds)) for row in connection.execute(query)}

    def keys(self, prefix: str, most: int) -> list[tuple[str, str]]:
        """The first `most` trial keys that begin with `prefix`, in order, each with the trial's status."""
        query = text("select key, status from trials where substr(key, 1, :n) = :prefix order by key limit :most")
        with self._read() as connection:
            found = connection.execute(query, {"prefix": prefix, "n": len(prefix), "most": most})
            return [(key, status) for key, status in found]

    def trial(self, prefix: str) -> dict[str, Any]:
        """Everything about the one trial whose key begins with `prefix`: its row, attempts, curve, probes, kept files,
        experiments.

        Raises UsageError where there is none, or more than one."""
        if not prefix.isascii():
            raise UsageError(f"no trial's key begins with {prefix!r}; keys are hexadecimal digits")
        with self._read() as connection:
            found = connection.execute(
                text("select id, key from trials where substr(key, 1, :n) = :prefix limit 2"),
                {"prefix": prefix, "n": len(prefix)},
            ).all()
            if len(found) != 1:
                many = "more than one trial's key begins" if found else "no trial's key begins"
                raise UsageError(f"{many} with {prefix!r}; {nearest_keys(connection, prefix)}")
            number = {"id": found[0].id}

            def rows(query: str) -> list[dict[str, Any]]:
                return [dict(row) for row in connection.execute(text(query), number).mappings()]

            [row] = rows("select * from trial_results where trial_key = (select key from trials where id = :id)")
            return {
                "trial": row,
                "experiments": rows(
                    "select e.id, e.name, e.overrides, et.variant, et.stage, et.arm from experiment_trials et "
                    "join experiments e on e.id = et.experiment_id where et.trial_id = :id order by e.id"
                ),
                "attempts": rows("select * from attempts where trial_id = :id order by id"),
                "curve": rows("select * from curves where trial_id = :id order by step"),
                "probes": rows("select * from probes where trial_id = :id order by name, layer, step"),
                "files": rows("select kind, sha256, bytes from files where trial_id = :id order by kind"),
                "folder": self.files,
            }

    @contextmanager
    def query(
        self, sql: str, seconds: float = QUERY_SECONDS, parameters: Mapping[str, Any] | None = None
    ) -> Iterator[Answer]:
        """The answer to any one reading statement, which the database may take `seconds` to give: see
        `bnexp.db.asking.ask`."""
        with explained(self.url), ask(self.engine, sql, seconds, parameters) as answer:
            yield answer


def _ends(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high
