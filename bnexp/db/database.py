"""A results database as Python has it: `bnexp.open`."""

from collections.abc import Iterator, Mapping
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Self

import numpy as np

from bnexp.db import tabulating, views
from bnexp.db.results import QUERY_SECONDS, Results
from bnexp.db.views import What
from bnexp.table import Table, joined


class Database:
    """A results database, open for reading only. Use it as a context manager, or `close` it.

    Without `experiment`, a method gives what is in the whole database. With it, what the instance of that experiment
    that was run last wants, or the one with the number `instance`, as `bnexp status` shows it."""

    def __init__(self, database: str | PathLike[str]) -> None:
        """`database` is a path, or a URL such as postgresql://user@host/name. Raises UsageError where it is not there,
        DatabaseError where it cannot be used."""
        self._results = Results(fspath(database))

    def trials(self, experiment: str | None = None, instance: int | None = None) -> Table:
        """A row for each trial, in order of their keys: the view `trial_results`. With `experiment`, a row for each
        that it wants, those that chose its learning rates (`stage` tune) included: the view `experiment_results`.

        Raises UsageError where the experiment has not been run."""
        return self._table("trials", experiment, instance)

    def curves(self, experiment: str | None = None, instance: int | None = None) -> Table:
        """A row for each point of each trial's curve, in order of trial keys and steps: the view `learning_curves`, and
        `nonfinite`. Raises UsageError where the experiment has not been run."""
        return self._table("curves", experiment, instance)

    def probes(self, experiment: str | None = None, instance: int | None = None) -> Table:
        """A row for each number that was measured inside a network, in order of trial keys, steps, layers and names:
        the view `probe_values`. Raises UsageError where the experiment has not been run."""
        return self._table("probes", experiment, instance)

    def verdicts(self, experiment: str | None = None, instance: int | None = None) -> Table:
        """A row for each claim that was judged, and instance that it was judged by: the view `claim_verdicts`. Raises
        UsageError where the experiment has not been run."""
        return self._table("verdicts", experiment, instance)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None, seconds: float = QUERY_SECONDS) -> Table:
        """The rows of one statement that reads, in which `:name` stands for one of the `parameters`. What SQLite has
        no type for, such as booleans, comes as it has it. The database may take `seconds`.

        Raises UsageError where it is not one statement that reads, or is wrong; DatabaseError where it takes too
        long."""
        plain = {
            name: value.item() if isinstance(value, np.generic) else value for name, value in (parameters or {}).items()
        }
        with self._results.query(sql, seconds, plain) as answer:
            return tabulating.of_statement(answer)

    def batches(self, what: What, experiment: str | None = None, instance: int | None = None) -> Iterator[Table]:
        """What the method called `what` gives, in tables of so many rows that memory does not grow with them; at least
        one, which may be empty. Raises as that method does."""
        number = None
        if experiment is not None or instance is not None:
            number = self._results.latest(experiment, instance).id
        request = views.request(what, number)
        parameters = {} if number is None else {"instance": number}
        with self._results.query(request.sql(number), float("inf"), parameters) as answer:
            yield from tabulating.of_view(answer, request.view)

    def _table(self, what: What, experiment: str | None, instance: int | None) -> Table:
        return joined(list(self.batches(what, experiment, instance)))

    def close(self) -> None:
        """Let go of the database."""
        self._results.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
