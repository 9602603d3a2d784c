"""The database: schema, views, leases, and that a result is written once and whole."""

import math
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, event, text

from bnexp.config import TrialConfig, columns_by_name
from bnexp.db import connection, leases, planning
from bnexp.db import store as store_module
from bnexp.db.leases import LeaseLostError
from bnexp.db.results import Results
from bnexp.db.rows import Instance, WantedTrial, Worker
from bnexp.db.schema import REVISION
from bnexp.db.store import Store
from bnexp.db.tables import Base, TrialRow
from bnexp.db.upkeep.checking import check
from bnexp.engine.cohort import group
from bnexp.enrolling import instantiate
from bnexp.errors import DatabaseError, UsageError
from bnexp.experiments import load
from bnexp.identity import trial_key
from bnexp.records import Final, Outcome, Point, Started
from tests.conftest import TINY

ONE, TWO = (Worker(f"here:{number}:x", "here", "0", None, "3") for number in (1, 2))
STARTED = Started("cpu", 1, "2")
GOOD = Final(0.1, 1.0, 0.2, 0.9, 0.3, 0.8)

VIEWS = {
    "trial_results": "trial_key dataset model norm nonlinearity lr lr_multiplier dropout init_scale seed status steps "
    "train_loss train_accuracy validation_accuracy test_accuracy best_validation_accuracy diverged_at_step trained "
    "scored_accuracy seconds binarize norm_groups norm_stop_gradient norm_shift norm_scale probes "
    "channels model_width norm_per_activation augment crops keep member test_top5_accuracy",
    "experiment_results": "experiment variant trial_key dataset norm scored_accuracy stage arm probes binarize",
    "learning_curves": "trial_key step train_loss train_accuracy validation_loss validation_accuracy",
    "claim_verdicts": "experiment claim verdict effect low high n p p_adjusted look alpha measures trials",
    "probe_values": "trial_key step layer name value units nonfinite",
    "tuning_choices": "experiment experiment_id arm factor level score at_edge",
    "kept_files": "trial_key kind sha256 bytes",
}


def wanted(variant: str = "", **fields: object) -> WantedTrial:
    config = TrialConfig.model_validate(fields)
    return WantedTrial(trial_key(config, "data"), config, "data", 10, variant)


def instance(*trials: WantedTrial, name: str = "e") -> Instance:
    return Instance(name, "about", "", 1.0, list(trials))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "bnexp.db"))
    yield opened
    opened.close()


def scalar(store: Store, query: str) -> object:
    with store.engine.connect() as connection:
        return connection.execute(text(query)).scalar()


def expire(store: Store, number: int) -> None:
    """End every lease on work of the instance."""
    for lease in store.held([number]):
        store.expire(lease)


def test_migrations_make_the_schema_of_the_tables(store: Store) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.execute(text("pragma journal_mode")).scalar() == "wal"
        assert connection.execute(text("pragma foreign_keys")).scalar() == 1


def test_every_field_has_a_column() -> None:
    assert set(columns_by_name().values()) <= {column.name for column in TrialRow.__table__.columns}


@pytest.mark.parametrize("view", VIEWS)
def test_views_are_a_contract(store: Store, view: str) -> None:
    with store.engine.connect() as connection:
        assert set(VIEWS[view].split()) <= set(connection.execute(text(f"select * from {view}")).keys())


def test_a_trial_that_two_experiments_want_is_one(store: Store) -> None:
    first = store.register(instance(wanted(seed=1), wanted(seed=2)))
    second = store.register(instance(wanted(seed=2), wanted(seed=3), name="f"))
    assert first != second
    assert scalar(store, "select count(*) from trials") == 3
    assert scalar(store, "select count(*) from experiment_results") == 4
    assert store.register(instance(wanted(seed=1), wanted(seed=2))) == first


def test_cohorts_are_planned_once(store: Store) -> None:
    trials = [wanted(norm=norm, seed=seed) for norm in ("none", "batch") for seed in range(3)]
    number = store.register(instance(*trials))
    store.plan(number, group)
    store.plan(number, group)
    assert scalar(store, "select count(*) from cohorts") == 2
    taken = [store.take([number], worker) for worker in (ONE, TWO)]
    assert sorted(config.norm.name for job in taken if job for config in job.configs) == ["batch"] * 3 + ["none"] * 3
    assert store.take([number], ONE) is None


def test_trials_of_one_seed_and_member_stand_together(store: Store) -> None:
    """They share their random numbers, and the engine draws them once for those that are side by side."""
    trials = [wanted(seed=1, member=member, lr_multiplier=rate) for rate in (1.0, 2.0) for member in (2, 1)]
    number = store.register(instance(*trials))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None and [config.member for config in job.configs] == [1, 1, 2, 2]
    slots = ",".join(map(str, job.trial_ids))
    assert scalar(store, "select group_concat(trial_id) from (select * from attempts order by slot)") == slots


def test_results_are_stored_whole_and_only_under_the_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.01)
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    lost = store.take([number], ONE)
    time.sleep(0.02)
    kept = store.take([number], TWO)
    assert lost is not None and kept is not None and lost.trial_ids == kept.trial_ids
    curve = (Point(1, 2.0, 0.1, 2.0, 0.1), Point(50, 0.5, 0.9, math.inf, 0.8))
    outcomes = [Outcome(0, "finished", curve, GOOD), Outcome(1, "diverged", curve[:1], None, 7, "nan")]
    with pytest.raises(LeaseLostError):
        store.store(lost, ONE, outcomes, STARTED, 1.0)
    assert scalar(store, "select count(*) from curves") == 0
    store.store(kept, TWO, outcomes, STARTED, 1.0)
    assert scalar(store, "select count(*) from curves") == 3
    assert scalar(store, "select nonfinite from curves where step = 50") == "validation_loss=inf"
    assert scalar(store, "select count(*) from attempts where outcome in ('finished', 'diverged')") == 2
    with store.engine.connect() as connection:
        rows = connection.execute(
            text(
                "select seed, status, scored_accuracy, trained, diverged_at_step, nonfinite "
                "from trial_results order by seed"
            )
        ).all()
    assert [tuple(row) for row in rows] == [(1, "finished", 0.8, 1, None, None), (2, "diverged", 0.1, 0, 7, "loss=nan")]


def test_what_has_ended_is_never_written_again(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    store.store(job, ONE, [Outcome(0, "finished", (), GOOD)], STARTED, 1.0)
    store.store(job, ONE, [Outcome(0, "finished", (), replace(GOOD, test_accuracy=0.0))], STARTED, 1.0)
    assert scalar(store, "select test_accuracy from trials") == 0.8


def test_a_cohort_is_done_with_its_last_result(store: Store) -> None:
    """Whoever stores it again, since he was not told, has lost nothing."""
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    for slot, status in ((1, "running"), (0, "done"), (0, "done")):
        store.store(job, ONE, [Outcome(slot, "finished", (), GOOD)], STARTED, 1.0)
        assert scalar(store, "select status from cohorts") == status
    assert scalar(store, "select worker is null and lease_until is null from cohorts") == 1
    with pytest.raises(LeaseLostError):
        store.release(job, ONE)


def test_a_released_cohort_goes_on_with_what_is_left(store: Store) -> None:
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    store.store(job, ONE, [Outcome(1, "diverged", (), None, 3, "inf")], STARTED, 1.0)
    store.release(job, ONE)
    again = store.take([number], TWO)
    assert again is not None and [config.seed for config in again.configs] == [1]
    assert scalar(store, "select group_concat(outcome) from attempts where cohort_id = 1") == "interrupted,diverged"


def test_a_trial_that_fails_three_times_has_failed_and_takes_no_other_with_it(store: Store) -> None:
    """The second time its cohort is as it was; the third time each trial has one of its own."""
    number = store.register(instance(wanted(seed=1), wanted(seed=2), wanted(seed=3)))
    store.plan(number, group)
    seen = []
    while job := store.take([number], ONE):
        seeds = [config.seed for config in job.configs]
        seen.append((job.cohort_id, seeds))
        if 2 in seeds:
            assert store.fail(job, ONE, "killed") == ([0] if len(seeds) == 1 else [])
        else:
            store.store(job, ONE, [Outcome(slot, "finished", (), GOOD) for slot in range(len(seeds))], STARTED, 1.0)
    assert seen == [(1, [1, 2, 3]), (1, [1, 2, 3]), (2, [1]), (3, [2]), (4, [3])]
    assert store.left([number]) == (0, 0) and store.failed([number]) == 1
    assert scalar(store, "select group_concat(outcome) from attempts order by id") == ",".join(
        ["failed"] * 6 + ["finished", "failed", "finished"]
    )
    assert scalar(store, "select error from attempts order by id desc limit 1 offset 1") == "killed"
    assert scalar(store, "select scored_accuracy is null from trial_results where seed = 2") == 1
    store.retry(number)
    store.plan(number, group)
    again = store.take([number], ONE)
    assert again is not None and store.fail(again, ONE, "killed") == [], "it may fail as often as at first"


def test_whoever_lost_a_lease_writes_nothing_under_the_one_it_has_now(store: Store) -> None:
    """A worker was frozen, another took its cohort over and gave it back, and the first one took it again."""
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    lost = store.take([number], ONE)
    expire(store, number)
    others = store.take([number], TWO)
    assert lost is not None and others is not None
    store.release(others, TWO)
    kept = store.take([number], ONE)
    assert kept is not None and (lost.cohort_id, lost.trial_ids) == (kept.cohort_id, kept.trial_ids)
    outcome = [Outcome(0, "finished", (), GOOD)]
    for write in (
        lambda: store.store(lost, ONE, outcome, STARTED, 1.0),
        lambda: store.renew(lost, ONE, 9),
        lambda: store.keep(lost, ONE, "file"),
        lambda: store.release(lost, ONE),
        lambda: store.fail(lost, ONE, "no"),
    ):
        with pytest.raises(LeaseLostError):
            write()
    assert (
        scalar(store, "select group_concat(coalesce(outcome, 'runs')) from attempts") == "interrupted,interrupted,runs"
    )
    assert scalar(store, "select status from trials") == "running" and scalar(store, "select step from cohorts") == 0
    store.store(kept, ONE, outcome, STARTED, 1.0)


def test_whoever_makes_a_transaction_again_knows_what_it_has_written(store: Store) -> None:
    """The answer to its first commit was lost, and by now another worker has what is left."""
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    half, whole = ([Outcome(slot, "finished", (), GOOD) for slot in range(size)] for size in (1, 2))
    store.store(job, ONE, half, STARTED, 1.0)
    expire(store, number)
    others = store.take([number], TWO)
    assert others is not None
    store.store(job, ONE, half, STARTED, 1.0)
    with pytest.raises(LeaseLostError):
        store.store(job, ONE, whole, STARTED, 1.0)
    ended = [Outcome(0, "finished", (), GOOD)]
    for _ in range(2):
        store.store(others, TWO, ended, STARTED, 1.0)
    assert scalar(store, "select group_concat(outcome) from attempts") == "finished,interrupted,finished"


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_failure_that_is_written_down_again_is_the_same_failure(store: Store, failures: int) -> None:
    """Tried again as it was, alone, or not at all."""
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    with store.engine.begin() as connection:
        connection.execute(text(f"update trials set failures = {failures} where seed = 2"))
    given_up = [1] if failures == 2 else []
    assert store.fail(job, ONE, "killed") == store.fail(job, ONE, "killed") == given_up
    assert scalar(store, "select group_concat(failures) from trials") == f"1,{failures + 1}"
    with pytest.raises(LeaseLostError):
        store.fail(job, ONE, "another reason")
    again = store.take([number], TWO)
    assert again is not None and store.fail(job, ONE, "killed") == given_up, "whoever has them now"
    store.retry(number)
    store.plan(number, group)
    with store.engine.begin() as connection:
        connection.execute(text("update trials set failures = 2"))
    while theirs := store.take([number], TWO):
        store.fail(theirs, TWO, "killed")
    assert store.failed([number]) == min(failures, 1) and store.fail(job, ONE, "killed") == [], "that one is theirs"


def test_a_failure_of_an_earlier_lease_is_another(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    earlier = store.take([number], ONE)
    assert earlier is not None
    store.fail(earlier, ONE, "killed")
    job = store.take([number], ONE)
    assert job is not None
    expire(store, number)
    with pytest.raises(LeaseLostError):
        store.fail(job, ONE, "killed")
    assert scalar(store, "select group_concat(outcome) from attempts") == "failed,interrupted"


def test_many_trials_are_written_down_and_planned_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others must renew their leases meanwhile."""
    monkeypatch.setattr(store_module, "PART", 3)
    monkeypatch.setattr(planning, "MOST_PLANNED", 4)
    began: list[object] = []
    event.listen(store.engine, "begin", began.append)
    number = store.register(instance(*(wanted(seed=seed) for seed in range(10))))
    assert len(began) == 1 + 1 + 4, "with a look at what is there"
    store.plan(number, partial(group, limit=3))
    assert len(began) == 2 + 4 + 5, "a look, and parts of four, four, two and none"
    assert scalar(store, "select count(*) from trials where cohort_id is not null") == 10
    assert scalar(store, "select sum(size) from cohorts") == 10
    before = len(began)
    assert store.register(instance(*(wanted(seed=seed) for seed in range(10)))) == number
    store.plan(number, partial(group, limit=3))
    assert len(began) == before + 3, "whoever comes later only looks"


def test_a_last_try_is_alone_also_where_it_is_planned_anew(store: Store) -> None:
    number = store.register(instance(wanted(seed=1), wanted(seed=2), wanted(seed=3)))
    with store.engine.begin() as connection:
        connection.execute(text("update trials set failures = 2 where seed = 2"))
    store.plan(number, group)
    seeds = []
    while job := store.take([number], ONE):
        seeds.append([config.seed for config in job.configs])
    assert seeds == [[1, 3], [2]]


def test_retrying_is_of_ones_own(store: Store) -> None:
    ours, theirs = store.register(instance(wanted(seed=1))), store.register(instance(wanted(seed=2), name="f"))
    with store.engine.begin() as connection:
        connection.execute(text("update trials set status = 'failed'"))
    store.retry(ours)
    assert (store.failed([ours]), store.failed([theirs])) == (0, 1)


def test_a_cohort_that_is_done_has_no_checkpoint(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    store.keep(job, ONE, "cohort-1.safetensors")
    store.release(job, ONE)
    again = store.take([number], ONE)
    assert again is not None and again.checkpoint == "cohort-1.safetensors"
    store.store(again, ONE, [Outcome(0, "finished", (), GOOD)], STARTED, 1.0)
    assert scalar(store, "select checkpoint from cohorts") is None


@pytest.mark.parametrize("spoil", ["status = 'pending'", "worker = 'another'"])
def test_a_lease_is_its_workers_while_it_runs(store: Store, spoil: str) -> None:
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    with store.engine.begin() as connection:
        connection.execute(text(f"update cohorts set {spoil}"))
    with pytest.raises(LeaseLostError):
        store.store(job, ONE, [Outcome(0, "finished", (), GOOD)], STARTED, 1.0)


def test_a_lease_that_was_renewed_meanwhile_is_not_ended(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    job = store.take([number], ONE)
    [seen] = store.held([number])
    assert job is not None
    store.renew(job, ONE, 1)
    store.expire(seen)
    assert store.take([number], TWO) is None


def test_many_processes_may_create_the_database_together(tmp_path: Path) -> None:
    script = "import sys; from bnexp.db.store import Store; Store(sys.argv[1]).close()"
    path = tmp_path / "bnexp.db"
    processes = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(8)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 8
    assert Results(str(path)).instances() == []


def test_refusals_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist; make it first"):
        Store(str(tmp_path / "missing" / "bnexp.db"))
    with pytest.raises(UsageError, match="is a folder"):
        Store(str(tmp_path))
    with pytest.raises(UsageError, match="bnexp run grid"):
        Results(str(tmp_path / "none.db"))
    with pytest.raises(UsageError, match="no driver"):
        Store("oracle://user:secret@host/name")
    (tmp_path / "foreign.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        Results(str(tmp_path / "foreign.db"))
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("create table mine (x)")
    for open_ in (Results, Store):
        with pytest.raises(DatabaseError, match="not a bnexp database"):
            open_(str(tmp_path / "other.db"))


def test_a_newer_schema_is_refused(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(DatabaseError, match=r"written by a newer bnexp \(schema 9999; .* pip install --upgrade bnexp"):
        Store(store.database)


def test_reading_cannot_write(store: Store) -> None:
    store.register(instance(wanted(seed=1)))
    results = Results(store.database)
    evil = Path(store.database).with_name("evil.db")
    for statement in ("delete from trials", f"attach '{evil}' as evil", "create temp table t (x)"):
        with pytest.raises(UsageError, match="not authorized"), results.query(statement):
            pass
    assert not evil.exists()
    assert scalar(store, "select count(*) from trials") == 1


def test_a_database_that_another_process_makes_meanwhile_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking for a revision, which is not there yet, and looking for tables, which then are."""
    look, made = connection.revision, []

    def late(engine: Engine) -> str | None:
        found = look(engine)
        if not made:
            made.append(found)
            Store(str(tmp_path / "bnexp.db")).close()
        return found

    monkeypatch.setattr(connection, "revision", late)
    Store(str(tmp_path / "bnexp.db")).close()
    assert made == [None]


TABLES = ["experiments", "trials", "experiment_trials", "cohorts", "attempts", "curves", "claims", "verdicts"]


def columns_of(path: Path) -> dict[str, list[str]]:
    """The columns of the tables and views that every schema had, but for `cell`, which each schema fills anew."""
    names = [*TABLES, "trial_results", "experiment_results", "learning_curves", "claim_verdicts"]
    with sqlite3.connect(path) as opened:
        found = {name: [row[1] for row in opened.execute(f"pragma table_info({name})")] for name in names}
    return {name: [column for column in columns if column != "cell"] for name, columns in found.items()}


def rows_of(path: Path, columns: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(path) as opened:
        return {
            name: sorted(opened.execute(f"select {', '.join(own)} from {name}").fetchall(), key=str)
            for name, own in columns.items()
        }


@pytest.mark.parametrize(
    ("revision", "trials"),
    [
        ("0001", {"tiny": 24}),
        ("0002", {"tiny": 24, "overlap": 6}),
        ("0003", {"tiny": 24, "overlap": 6, "tuned": 4, "doomed": 4}),
        ("0005", {"tiny": 24, "overlap": 6, "tuned": 4, "doomed": 4}),
        ("0006", {"tiny": 24, "overlap": 6, "tuned": 4, "adam": 4, "own": 2}),
    ],
)
def test_an_old_database_is_upgraded_without_loss(revision: str, trials: dict[str, int], tmp_path: Path) -> None:
    """Files that the program of each schema's time has written, with results, verdicts and all."""
    path = tmp_path / "bnexp.db"
    shutil.copy(Path(__file__).parent / "databases" / f"{revision}.db", path)
    columns = columns_of(path)
    before = rows_of(path, columns)
    assert all(before.values())
    with pytest.raises(
        DatabaseError,
        match=rf"revision {revision}, this bnexp reads .*; `bnexp db upgrade --db .*bnexp.db` upgrades it",
    ):
        Results(str(path))
    store = Store(str(path))
    assert rows_of(path, columns) == before
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.execute(text("pragma foreign_key_check")).all() == []
    results = Results(str(path))
    found = {info.name: info for info in results.instances() if not info.overrides}
    for name, count in trials.items():
        table = results.trials(found[name].id)
        assert len(table["seed"]) == count, name
    assert set(results.trials(found["tiny"].id)["norm"]) == {"none", "batch"}
    with sqlite3.connect(path) as opened:
        query = "select cell, norm, lr_multiplier, batch_size, count(*) from trials group by 1, 2, 3, 4"
        cells = opened.execute(query).fetchall()
        failures = opened.execute("select distinct failures from trials").fetchall()
    assert len({cell for cell, *_ in cells}) >= len({cell[1:] for cell in cells})
    assert sum(count for *_, count in cells) == len(before["trials"])
    assert "failures" in columns["trials"] or failures == [(0,)]


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_what_older_trials_are_told_of_fields_that_came_later(revision: str, tmp_path: Path) -> None:
    path = tmp_path / "bnexp.db"
    shutil.copy(Path(__file__).parent / "databases" / f"{revision}.db", path)
    Store(str(path)).close()
    with sqlite3.connect(path) as opened:
        new = opened.execute(
            "select distinct norm, binarize, probes, norm_stop_gradient, norm_groups, norm_shift from trials order by 1"
        ).fetchall()
        links = opened.execute("select distinct stage, arm from experiment_trials").fetchall()
    assert new == [("batch", 0, "[]", 0, None, None), ("none", 0, "[]", None, None, None)]
    assert links == [("confirm", "")]


def test_the_present_schema_has_a_file_too(tmp_path: Path) -> None:
    """With attempts that failed, were interrupted and went on from a checkpoint: what the next schema will have to
    keep."""
    path = tmp_path / "bnexp.db"
    shutil.copy(Path(__file__).parent / "databases" / f"{REVISION}.db", path)
    results = Results(str(path))
    assert {info.name for info in results.instances()} == {
        "tiny",
        "overlap",
        "tuned",
        "long",
        "doomed",
        "maps",
        "adam",
        "own",
        "network",
    }
    with sqlite3.connect(path) as opened:
        query = "select outcome, count(*), count(resumed_at_step) from attempts group by 1"
        attempts = opened.execute(query).fetchall()
    assert attempts == [("diverged", 12, 0), ("failed", 6, 0), ("finished", 41, 2), ("interrupted", 2, 0)]


@pytest.mark.parametrize("revision", sorted(path.stem for path in (Path(__file__).parent / "databases").glob("*.db")))
def test_a_file_of_each_schema_passes_every_check(revision: str, tmp_path: Path) -> None:
    path = tmp_path / "bnexp.db"
    shutil.copy(Path(__file__).parent / "databases" / f"{revision}.db", path)
    Store(str(path)).close()
    assert [(title, found.named) for title, found in check(str(path)) if found.wrong] == []


def test_each_schema_has_its_file() -> None:
    kept = {path.stem for path in (Path(__file__).parent / "databases").glob("*.db")}
    migrations = Path(connection.__file__).parent / "migrations" / "versions"
    assert kept == {path.name[:4] for path in migrations.glob("[0-9]*.py")}


def test_an_old_databases_instance_is_found_again_and_its_trials_learn_their_arms(tmp_path: Path) -> None:
    path = tmp_path / "bnexp.db"
    shutil.copy(Path(__file__).parent / "databases" / "0002.db", path)
    (tmp_path / "experiments.yaml").write_text(TINY)
    tiny = instantiate(load(tmp_path / "experiments.yaml").experiments["tiny"], "", None)
    store = Store(str(path))
    known = {info.id for info in Results(str(path)).instances() if info.name == "tiny"}
    assert {store.register(tiny)} == known
    arms = Results(str(path)).trials(*known)["arm"]
    assert sorted(set(arms)) == [
        f"lr_multiplier {rate}, norm {norm}" for rate in ("1", "1e+38") for norm in ("batch", "none")
    ]
    assert store.left(list(known)) == (0, 0)
