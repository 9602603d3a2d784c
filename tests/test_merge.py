"""Joining databases: what has ended here stays, what ended elsewhere comes whole, and twice is once."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from bnexp.db.planning import MOST_FAILURES
from bnexp.db.store import Store
from bnexp.db.upkeep import merging
from bnexp.db.upkeep.checking import check
from bnexp.db.upkeep.merging import merge
from bnexp.db.upkeep.writing import alone
from bnexp.db.url import parse_url
from bnexp.errors import DatabaseError, UsageError
from bnexp.records import Choice, Outcome
from tests.conftest import TINY, Bnexp
from tests.databases import (
    better,
    change,
    contents,
    everything,
    good,
    judge,
    never,
    of,
    register,
    rows,
    seeds,
    train,
)
from tests.test_db import TWO


@pytest.fixture(params=["sqlite", "postgresql"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database to merge into, of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "here.db")
    url: str = request.getfixturevalue("postgresql")
    return url


@pytest.fixture
def there(tmp_path: Path) -> str:
    return str(tmp_path / "there.db")


@pytest.mark.parametrize("made", [False, True])
def test_all_of_it_comes_and_twice_is_once(here: str, there: str, made: bool) -> None:
    everything(there)
    if made:
        register(here)
    before = contents(there)
    merged = merge(here, there)
    assert (merged.instances, merged.trials, merged.results) == (3, 7, 6)
    assert (merged.curves, merged.probes, merged.conflicts, merged.busy, merged.unjudged) == (10, 8, {}, [], [])
    assert contents(here) == before == contents(there)
    assert not [title for title, found in check(here) if found.wrong]
    assert rows(here, "select count(*) from cohorts") == rows(there, "select count(*) from cohorts")
    again = merge(here, there)
    assert again == replace(merged, instances=0, trials=0, results=0, curves=0, probes=0)
    assert contents(here) == before


def test_between_two_on_one_postgresql(postgresql: str, there: str) -> None:
    everything(there)
    url = parse_url(postgresql)
    name = f"{url.database}_other"
    other = url.set(database=name).render_as_string(hide_password=False)
    change(postgresql, f"create database {name}", autocommit=True)
    merge(other, there)
    assert merge(postgresql, other).trials == 7
    assert contents(postgresql) == contents(there)


def test_nobody_else_writes_meanwhile(here: str) -> None:
    """A worker's statement waits; here it does not wait for long."""
    register(here, of("e", seeds(1)))
    with alone(parse_url(here), create=False), pytest.raises(OperationalError, match="lock"):
        change(here, *["set lock_timeout = 100"] * ("://" in here), "update cohorts set step = 1", patience=0.1)


def test_back_from_postgresql(postgresql: str, there: str, tmp_path: Path) -> None:
    everything(there)
    merge(postgresql, there)
    back = str(tmp_path / "back.db")
    merge(back, postgresql)
    assert contents(back) == contents(there)


def test_a_result_comes_where_none_is_and_stays_where_one_is(here: str, there: str) -> None:
    """Seed 1 ended in both, 2 waits here, 3 failed here, 4 ended only here."""
    instance = of("e", seeds(1, 2, 3, 4))
    for database in (here, there):
        [number] = register(database, instance)
        [one], [three], [four] = (register(database, of(f"only {seed}", seeds(seed))) for seed in (1, 3, 4))
        train(database, [one], better if database == here else good)
        if database == here:
            train(database, [three], never, leave="fail")
            train(database, [four], better)
            judge(here, number)
            kept = contents(here)
        else:
            train(
                database,
                [number],
                lambda slot, config: good(slot, config) if config.seed < 4 else None,
                leave="release",
            )
    judge(there, number)
    merged = merge(here, there)
    key_of_1 = seeds(1)[0].key
    assert (merged.instances, merged.trials, merged.results, merged.conflicts) == (
        0,
        0,
        2,
        {key_of_1: pytest.approx(0.49)},
    )
    assert merged.curves == 4 and merged.unjudged == [("e", ""), ("only 3", "")]
    assert rows(here, "select seed, status, test_accuracy from trials order by 1") == [
        (1, "finished", 1.0),
        (2, "finished", 0.52),
        (3, "finished", 0.53),
        (4, "finished", 1.0),
    ]
    assert rows(here, "select count(*) from claim_verdicts") == [(0,)], "stale ones go"
    outcomes = rows(
        here, "select t.seed, a.outcome from attempts a join trials t on t.id = a.trial_id order by 1, a.id"
    )
    assert outcomes == [
        (1, "finished"),
        (2, "finished"),
        *[(3, "failed")] * MOST_FAILURES,
        (3, "finished"),
        (4, "finished"),
    ]
    assert set(kept["curves"]) <= set(contents(here)["curves"])
    assert rows(here, "select count(*) from cohorts where status <> 'done'") == [(0,)]
    assert merge(here, there).results == 0


def test_a_result_tells_what_it_was_measured_with(here: str, there: str) -> None:
    register(here, of("e", seeds(1, eval_every=10, probes=["moments"])))
    train(there, register(there, of("e", seeds(1, eval_every=20))))
    merge(here, there)
    query = "select eval_every, probes, config, cell from trials"
    assert rows(here, query.replace(", config", "")) == rows(there, query.replace(", config", ""))
    [(every, probes, config, _)] = rows(here, query)
    assert (every, probes) == (20, "[]") and '"eval_every": 20' in str(config).replace("'", '"')


def test_what_runs_there_waits_here(here: str, there: str) -> None:
    """Trials that have not ended come without a cohort; of a cohort that goes on, those that ended come with it."""
    numbers = register(there, of("e", [*seeds(1, 2), *seeds(3, lr_multiplier=1e38)]))
    train(there, numbers, lambda slot, config: good(slot, config) if config.seed == 3 else None, leave="stay")
    assert merge(here, there).results == 1
    query = "select seed, status, cohort_id is null from trials order by 1"
    assert [tuple(map(str, row)) for row in rows(here, query)] in (
        [("1", "pending", "1"), ("2", "pending", "1"), ("3", "diverged", "0")],
        [("1", "pending", "True"), ("2", "pending", "True"), ("3", "diverged", "False")],
    )
    assert rows(here, "select status, worker, lease_until from cohorts") == [("done", None, None)]
    assert rows(here, "select count(*) from attempts") == [(1,)]
    change(there, "update cohorts set lease_until = 0")
    train(there, numbers, worker=TWO)
    assert merge(here, there).results == 2
    assert rows(here, "select count(*) from cohorts") == [(1,)], "company stays together"
    assert sorted(contents(here)["attempts"]) == sorted(contents(there)["attempts"])


def test_attempts_come_once_even_by_two_ways(here: str, there: str) -> None:
    """A trial fails there, comes here, is trained there again, and comes again."""
    numbers = register(there, of("e", seeds(1)))
    train(there, numbers, never, leave="fail")
    merge(here, there)
    assert rows(here, "select status from trials") == [("failed",)]
    store = Store(there)
    store.retry(numbers[0])
    store.close()
    train(there, numbers)
    assert merge(here, there).results == 1
    assert contents(here) == contents(there)


def test_a_retried_trial_brings_the_attempts_that_failed(here: str, there: str) -> None:
    numbers = register(there, of("e", seeds(1)))
    train(there, numbers, never, leave="fail")
    store = Store(there)
    store.retry(numbers[0])
    store.close()
    assert merge(here, there).results == 0
    assert contents(here) == contents(there)
    assert rows(here, "select status, cohort_id from trials") == [("pending", None)]


def test_links_older_than_arms_learn_theirs(here: str, there: str) -> None:
    for database, arm in ((here, ""), (there, "norm batch")):
        register(database, of("e", [replace(trial, arm=arm) for trial in seeds(1, 2)]))
    change(here, "update experiment_trials set arm = 'ours' where trial_id in (select id from trials where seed = 2)")
    merge(here, there)
    query = "select t.seed, e.arm from experiment_trials e join trials t on t.id = e.trial_id order by 1"
    assert rows(here, query) == [(1, "norm batch"), (2, "ours")]


def test_a_worker_keeps_what_it_trains(here: str, there: str) -> None:
    train(there, register(there, of("e", seeds(1))))
    numbers = register(here, of("e", seeds(1)))
    train(here, numbers, never, leave="stay")
    merged = merge(here, there)
    assert (merged.results, merged.busy) == (0, [seeds(1)[0].key])
    assert rows(here, "select status from trials") == [("running",)]
    change(here, "update cohorts set lease_until = 0")
    assert merge(here, there).results == 1
    assert rows(here, "select status, worker from cohorts order by id")[0] == ("done", None), "it wakes up to nothing"


def test_a_cohort_whose_worker_is_gone_keeps_the_rest(here: str, there: str) -> None:
    train(there, register(there, of("e", seeds(1))))
    numbers = register(here, of("f", seeds(1, 2)))
    train(here, numbers, never, leave="stay")
    change(here, "update cohorts set lease_until = 0")
    merge(here, there)
    assert rows(here, "select status, worker from cohorts order by id")[0] == ("pending", None)
    assert rows(here, "select seed, status from trials order by 1") == [(1, "finished"), (2, "pending")]
    assert rows(here, "select outcome from attempts order by id") == [("interrupted",), ("interrupted",), ("finished",)]
    store = Store(here)
    job = store.take(numbers, TWO)
    assert job is not None and [config.seed for config in job.configs] == [2]
    store.close()


def test_instances_and_claims_keep_the_earlier_and_the_later_time(here: str, there: str) -> None:
    for database, day in ((here, 2), (there, 1)):
        [number] = register(database, of("e", seeds(1)))
        judge(database, number)
        change(
            database,
            f"update experiments set created_at = '2026-01-0{day} 00:00:00.000000'",
            f"update experiments set last_run_at = '2026-02-0{3 - day} 00:00:00.000000'",
            f"update claims set locked_at = '2026-01-0{day} 00:00:00.000000'",
        )
    merge(here, there)
    [(created, last)] = rows(here, "select created_at, last_run_at from experiments")
    [(locked,)] = rows(here, "select locked_at from claims")
    assert [str(moment)[:10] for moment in (created, last, locked)] == ["2026-01-01", "2026-02-02", "2026-01-01"]
    assert rows(here, "select count(*) from verdicts") == [(1,)], "no result came, so it stands"


def test_verdicts_do_not_come_without_their_numbers(here: str, there: str) -> None:
    """A new instance there was judged by a trial that ended here otherwise."""
    train(here, register(here, of("mine", seeds(1))), better)
    [one, two] = register(there, of("e", seeds(1)), of("f", seeds(2)))
    train(there, [one, two])
    judge(there, one)
    judge(there, two)
    merged = merge(here, there)
    assert merged.unjudged == [("e", "")] and len(merged.conflicts) == 1
    assert rows(here, "select experiment from claim_verdicts") == [("f",)]


def choose(database: str, level: float) -> None:
    instance = of("tuned it", seeds(1, norm="batch"), tuning=seeds(8, 9, norm="batch"), tune="lr")
    [number] = register(database, instance)
    train(database, [number])
    store = Store(database)
    arms = ("norm batch", "norm none")
    store.choose(number, [Choice(arm, "lr_multiplier", level, 0.5, False) for arm in arms])
    store.close()


def test_other_levels_are_refused_whole(here: str, there: str) -> None:
    register(there, of("first", seeds(5)))
    choose(here, 1.0)
    choose(there, 2.0)
    before = contents(here)
    with pytest.raises(DatabaseError) as refused:
        merge(here, there)
    for word in (
        "lr_multiplier",
        "'norm batch'",
        "1 more",
        "1 here, 2 in OTHER",
        "delete 'tuned it' --instance 2 --db",
    ):
        assert word in str(refused.value), refused.value
    assert contents(here) == before


def test_equal_levels_are_one(here: str, there: str) -> None:
    choose(here, 2.0)
    choose(there, 2.0)
    assert merge(here, there).results == 0
    assert len(contents(here)["choices"]) == 2


def test_it_is_whole_or_absent(here: str, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register(here, of("mine", seeds(3)))
    everything(there)
    before = contents(here)

    def fall(*_: object) -> None:
        raise DatabaseError("the power went")

    monkeypatch.setattr(merging, "copy_verdicts", fall)
    with pytest.raises(DatabaseError, match="the power went"):
        merge(here, there)
    assert contents(here) == before


def test_itself_is_refused(here: str, tmp_path: Path) -> None:
    register(here, of("e", seeds(1)))
    others = [here]
    if "://" not in here:
        (tmp_path / "link.db").symlink_to(here)
        others += [str(tmp_path / "link.db"), f"sqlite:///{here}"]
    for other in others:
        with pytest.raises(UsageError, match="the same database"):
            merge(here, other)


def test_refusals(tmp_path: Path, bnexp: Bnexp) -> None:
    old = Path(__file__).parent / "databases" / "0003.db"
    ended = bnexp("db", "merge", str(old), cwd=tmp_path)
    assert ended.code == 1 and f"`bnexp db upgrade --db {old}` upgrades it" in ended.err
    ended = bnexp("db", "merge", "none.db", cwd=tmp_path)
    assert ended.code == 2 and "no database at none.db" in ended.err
    assert list(tmp_path.iterdir()) == []
    everything(str(tmp_path / "there.db"))
    change(str(tmp_path / "there.db"), "pragma wal_checkpoint(truncate)")
    whole = (tmp_path / "there.db").read_bytes()
    (tmp_path / "there.db").write_bytes(whole[: len(whole) // 2])
    ended = bnexp("db", "merge", "there.db", cwd=tmp_path)
    assert ended.code == 1 and "Error: database there.db: database disk image is malformed" in ended.err


def test_damage_is_told_of_the_database_that_has_it(here: str, there: str) -> None:
    train(there, register(there, of("e", seeds(1))))
    change(there, "pragma wal_checkpoint(truncate)")
    [(page, size)] = rows(
        there, "select rootpage, page_size from sqlite_master, pragma_page_size where name = 'curves'"
    )
    whole = Path(there).read_bytes()
    Path(there).write_bytes(whole[: (page - 1) * size] + b"\xff" * size + whole[page * size :])
    with pytest.raises(DatabaseError, match=r"database .*there\.db: database disk image is malformed"):
        merge(here, there)
    assert rows(here, "select count(*) from trials") == [(0,)]


def test_a_hundred_thousand_curve_rows_take_seconds(here: str, there: str) -> None:
    [number] = register(there, of("e", seeds(*range(1000))))
    train(there, [number])
    change(
        there,
        "insert into curves (trial_id, step, train_loss) select t.id, 100 + 7 * a.id, 0.5 from trials t, "
        "(select id from trials limit 100) a",
    )
    began = time.monotonic()
    merged = merge(here, there)
    assert merged.curves == 102_000
    assert time.monotonic() - began < 30


def test_through_the_command_line(tiny: Path, tmp_path: Path, bnexp: Bnexp) -> None:
    """Half of an experiment was run here, all of it elsewhere; the report is then that of one who ran all of it."""
    (tmp_path / "experiments.yaml").write_text(TINY)
    (tmp_path / "b.db").write_bytes((tiny / "bnexp.db").read_bytes())
    run = ("run", "tiny", "--workers", "1", "--db", "a.db")
    assert bnexp(*run, "--seeds", "3", cwd=tmp_path).code == 0
    first = bnexp("db", "merge", "b.db", "--db", "a.db", cwd=tmp_path)
    assert (first.code, first.err) == (0, "")
    assert first.out == "from b.db: 1 instance, 12 trials, 12 results, 60 curve rows\n"
    again = bnexp("db", "merge", "b.db", "--db", "a.db", cwd=tmp_path)
    assert (again.code, again.out) == (0, "from b.db: nothing that is not here already\n")
    options = (("--db", "a.db", "--instance", "2"), ("--db", "b.db", "--instance", "1"))
    ours, theirs = (bnexp("report", *these, cwd=tmp_path).out for these in options)
    assert "12 finished, 12 diverged" in ours
    assert ours.split("trials on")[0] == theirs.split("trials on")[0]
    nothing = bnexp(*run, cwd=tmp_path)
    assert nothing.code == 0 and "to train" not in nothing.err


DIVERGED = (better, better, better, lambda slot, config: Outcome(slot, "diverged", (), None, 7, "nan"))


def test_what_did_not_come_is_told(tmp_path: Path, bnexp: Bnexp) -> None:
    ours, theirs = str(tmp_path / "bnexp.db"), str(tmp_path / "there.db")
    numbers = register(ours, of("e", seeds(*range(5)), overrides="seeds=5"), of("busy", seeds(7, batch_size=7)))
    train(ours, register(ours, of("part", seeds(*range(4)))), lambda slot, config: DIVERGED[config.seed](slot, config))
    train(ours, numbers[1:], never, leave="stay")
    train(theirs, register(theirs, of("e", seeds(*range(5)), overrides="seeds=5"), of("busy", seeds(7, batch_size=7))))
    ended = bnexp("db", "merge", "there.db", cwd=tmp_path)
    assert ended.code == 0
    told = " ".join(ended.out.split())
    keys = [trial.key[:12] for trial in seeds(*range(4))]
    assert told.startswith(
        "from there.db: 1 result, 2 curve rows, 2 probe rows 4 trials ended in both with different numb"
    )
    listed = f"{keys[3]} (another end), {keys[0]} (by 5e-1 of a number), {keys[1]} (by 5e-1 of a number) and 1 more"
    assert f"those here were kept: {listed}" in told
    assert f"1 trial left to the workers that train them here: {seeds(7, batch_size=7)[0].key[:12]}" in told
    assert "`bnexp run e --seeds 5` judges its claims again" in " ".join(ended.err.split())
    assert max(map(len, (ended.out + ended.err).splitlines())) <= 80
