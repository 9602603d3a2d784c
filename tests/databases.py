"""Databases with known contents, for the tests of what is done to whole databases."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from bnexp.config import TrialConfig
from bnexp.db.connection import make_engine
from bnexp.db.rows import Instance, Job, Judged, WantedTrial, Worker
from bnexp.db.store import Store
from bnexp.db.url import parse_url
from bnexp.engine.cohort import group
from bnexp.records import Choice, Final, Outcome, Point, Probe
from tests.conftest import empty_database
from tests.test_db import ONE, STARTED, wanted

CURVE = (Point(1, 2.0, 0.1, 2.0, 0.1), Point(10, 1.0, 0.5, float("inf"), 0.5))
PROBES = (Probe(0, "hidden 1", "moments", 0.5, (0.25, 0.75)), Probe(10, "hidden 1", "moments", 0.5))

End = Callable[[int, TrialConfig], Outcome | None]
"""How the trial in a slot ends; None: it does not."""


def good(slot: int, config: TrialConfig) -> Outcome:
    """It finishes, each seed with its own accuracy; those at the highest rate diverge."""
    if config.lr_multiplier > 100:
        return Outcome(slot, "diverged", CURVE[:1], None, 7, "nan")
    accuracy = 0.5 + 0.01 * config.seed
    final = Final(0.1, accuracy, 0.2, accuracy, 0.3, accuracy, test_top5_accuracy=accuracy)
    return Outcome(slot, "finished", CURVE, final, probes=PROBES)


def better(slot: int, config: TrialConfig) -> Outcome:
    """It finishes with other numbers."""
    return Outcome(slot, "finished", CURVE[:1], Final(0.1, 1.0, 0.2, 1.0, 0.3, 1.0))


def never(slot: int, config: TrialConfig) -> None:
    """It goes on."""


def seeds(*numbers: int, **fields: Any) -> list[WantedTrial]:
    return [wanted(seed=number, **fields) for number in numbers]


def of(name: str, trials: Sequence[WantedTrial], **parts: Any) -> Instance:
    return Instance(name, "about", parts.pop("overrides", ""), 1.0, list(trials), **parts)


def register(database: str, *instances: Instance) -> list[int]:
    store = Store(database)
    numbers = [store.register(instance) for instance in instances]
    store.close()
    return numbers


def train(database: str, numbers: Sequence[int], end: End = good, worker: Worker = ONE, leave: str = "finish") -> None:
    """Train what is wanted by the instances: every trial ends as `end` says, then the worker leaves its cohort: by
    its end (`finish`), `release`, `fail`, or not at all (`stay`)."""
    with closing(Store(database)) as store:
        for number in numbers:
            store.plan(number, group)
        while job := store.take(numbers, worker):
            _work(store, job, end, worker)
            if leave == "fail":
                store.fail(job, worker, "no memory")
            if leave == "release":
                store.release(job, worker)
                break


def _work(store: Store, job: Job, end: End, worker: Worker) -> None:
    outcomes = [outcome for slot, config in enumerate(job.configs) if (outcome := end(slot, config))]
    if outcomes:
        store.store(job, worker, outcomes, STARTED, 1.0)


def judge(database: str, number: int, claim: str = "better") -> None:
    """Lock a claim and judge it."""
    store = Store(database)
    store.lock_claims([(f"key of {claim}", claim, {"quote": "q"})])
    verdict = Judged(f"key of {claim}", "supported", 1.0, 0.5, None, "pt", 3, 0.01, 0.02, "It is.", measures=[{"n": 3}])
    store.store_verdicts(number, [verdict])
    store.close()


def everything(database: str) -> None:
    """Three instances with results of every kind, a verdict, a choice, and an attempt that failed."""
    numbers = register(
        database,
        of("e", [*seeds(1, 2), *seeds(1, 2, lr_multiplier=1e38)]),
        of("tuned", seeds(1, norm="batch"), tuning=seeds(1, 8, norm="batch"), tune="lr"),
    )
    doomed = register(database, of("doomed", seeds(1, batch_size=7)))
    train(database, doomed, never, leave="fail")
    train(database, numbers)
    store = Store(database)
    store.choose(numbers[1], [Choice("norm batch", "lr_multiplier", 1.0, 0.5, True)])
    store.close()
    judge(database, numbers[0])


@contextmanager
def copied(database: str, path: Path) -> Iterator[str]:
    """A copy of a database that nobody uses: at `path`, or on the same server, where it goes in the end."""
    url = parse_url(database)
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
        yield str(path)
    else:
        with empty_database(database, template=str(url.database)) as copy_url:
            yield copy_url


def rows(database: str, query: str, **values: Any) -> list[tuple[Any, ...]]:
    engine = make_engine(parse_url(database))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query), values)]
    engine.dispose()
    return found


def change(database: str, *statements: str, autocommit: bool = False, patience: float = 60) -> None:
    """Change it behind the program's back, waiting for a lock so many seconds."""
    url = parse_url(database)
    sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(url, connect_args={"timeout": patience} if sqlite else {})
    try:
        with engine.connect() as connection:
            if autocommit:
                connection.execution_options(isolation_level="AUTOCOMMIT")
            for statement in statements:
                connection.execute(text(statement))
            connection.commit()
    finally:
        engine.dispose()


CONTENTS: Mapping[str, str] = {
    "experiments": "select name, about, overrides, expansion, margin, created_at, last_run_at from experiments",
    "trials": "select * from trial_results",
    "curves": "select * from learning_curves",
    "points": "select t.key, c.step, c.nonfinite from curves c join trials t on t.id = c.trial_id",
    "probes": "select * from probe_values",
    "links": "select e.name, e.overrides, t.key, l.variant, l.stage, l.arm from experiment_trials l "
    "join experiments e on e.id = l.experiment_id join trials t on t.id = l.trial_id",
    "attempts": "select t.key, a.slot, a.worker, a.host, a.device, a.threads, a.precision, a.bnexp_version, "
    "a.started_at, a.ended_at, a.outcome, a.resumed_at_step, a.error, c.size, c.status from attempts a "
    "join trials t on t.id = a.trial_id join cohorts c on c.id = a.cohort_id",
    "claims": "select key, name, locked_at from claims",
    "verdicts": "select experiment, claim, verdict, effect, low, high, n, judged_at from claim_verdicts",
    "choices": "select experiment, arm, factor, level, score, at_edge from tuning_choices",
}


def contents(database: str) -> dict[str, list[str]]:
    """What is in a database, without its own numbers, in words that are alike on every kind of database."""
    found = {name: [" ".join(map(_word, row)) for row in rows(database, query)] for name, query in CONTENTS.items()}
    return {name: sorted(listed) for name, listed in found.items()}


def _word(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value).removesuffix(".000000")
