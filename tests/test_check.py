"""`bnexp db check`: what is whole passes, and each kind of damage is found and named."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bnexp.db.store import Store
from bnexp.db.upkeep.checking import check
from tests.conftest import Bnexp, empty_database
from tests.databases import change, copied, everything, never, of, register, rows, seeds, train

LINE_OF = {"sqlite": 16, "postgresql": 15}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with results of every kind, one of its trials being trained; tests change copies of it."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            database = str(tmp_path_factory.mktemp("original") / "bnexp.db")
        else:
            database = stack.enter_context(empty_database(request.getfixturevalue("postgresql_server")))
        everything(database)
        train(database, register(database, of("busy", seeds(20, 21))), never, leave="stay")
        yield database


@pytest.fixture
def database(original: str, tmp_path: Path) -> Iterator[str]:
    with copied(original, tmp_path / "bnexp.db") as copy:
        yield copy


def wrong(database: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """What checks have found: how many, and some by name."""
    return {title: (found.wrong, tuple(found.named)) for title, found in check(database) if found.wrong}


def trial(database: str, which: str) -> str:
    [(key,)] = rows(database, f"select min(key) from trials where {which}")
    return f"trial {key[:12]}"


def test_what_is_whole_passes(database: str) -> None:
    checked = dict(check(database))
    assert {found.wrong for found in checked.values()} == {0}
    assert len(checked) == LINE_OF["postgresql" if "://" in database else "sqlite"]
    looked_at = {title: found.looked_at for title, found in checked.items()}
    assert looked_at["every view has its columns"] == 7
    assert looked_at["finished trials have their numbers"] == 4
    assert looked_at["running trials are in running cohorts"] == 2
    assert looked_at["foreign keys hold"] > 50


DAMAGE = {
    "finished trials have their numbers": (
        "update trials set test_loss = null, nonfinite = 'train_loss=inf' where status = 'finished' and seed = 2",
        "status = 'finished' and seed = 2",
    ),
    "diverged trials have their step": (
        "update trials set diverged_at_step = null where status = 'diverged' and seed = 1",
        "status = 'diverged' and seed = 1",
    ),
    "trials that have not ended have no results": (
        "insert into curves (trial_id, step) select id, 5 from trials where status = 'failed'",
        "status = 'failed'",
    ),
    "one attempt ended each trial that has ended": (
        "update attempts set outcome = 'interrupted' where trial_id in "
        "(select id from trials where status = 'diverged' and seed = 1)",
        "status = 'diverged' and seed = 1",
    ),
    "running trials are in running cohorts": (
        "update trials set cohort_id = null where status = 'running' and seed = 21",
        "status = 'running' and seed = 21",
    ),
    "no trial that has ended is being trained": (
        "update trials set status = 'diverged', diverged_at_step = 3 where seed = 20",
        "seed = 20",
    ),
    "curves and probes end within the steps": (
        "update curves set step = 100000 where step = 10 and trial_id in (select id from trials where seed = 8)",
        "seed = 8",
    ),
    "every trial is wanted by an experiment": (
        "delete from experiment_trials where trial_id in (select id from trials where seed = 8)",
        "seed = 8",
    ),
}


@pytest.mark.parametrize("title", DAMAGE)
def test_damage_is_found_and_named(database: str, title: str) -> None:
    statement, which = DAMAGE[title]
    change(database, statement)
    found = wrong(database)
    assert found[title] == (1, (trial(database, which),))
    assert found.keys() - {title} <= {"one attempt ended each trial that has ended"}


def test_two_attempts_cannot_both_have_ended_a_trial(database: str) -> None:
    change(database, "update attempts set outcome = 'finished' where outcome = 'failed'")
    change(database, "update attempts set trial_id = (select id from trials where seed = 8) where error is not null")
    assert wrong(database) == {"one attempt ended each trial that has ended": (1, (trial(database, "seed = 8"),))}


def test_a_trial_cannot_diverge_after_its_end(database: str) -> None:
    change(database, "update trials set diverged_at_step = steps + 1 where status = 'diverged' and seed = 1")
    assert wrong(database).keys() == {"diverged trials have their step"}


def test_a_number_that_is_not_finite_is_no_damage(database: str) -> None:
    change(database, "update trials set test_loss = null, nonfinite = 'test_loss=inf' where status = 'finished'")
    assert wrong(database) == {}


def test_a_lease_without_a_worker(database: str) -> None:
    change(database, "update cohorts set worker = null where status = 'running'")
    [(number,)] = rows(database, "select id from cohorts where status = 'running'")
    assert wrong(database) == {"running cohorts have a worker and a lease": (1, (f"cohort {number}",))}


def test_views_are_a_contract(database: str) -> None:
    change(database, "drop view learning_curves", "drop view tuning_choices")
    change(database, "create view tuning_choices as select experiment_id, arm from choices")
    found = wrong(database)["every view has its columns"]
    assert found[0] == 6 and found[1][0] == "learning_curves is missing"
    assert found[1][1] == "tuning_choices has no column experiment"


def test_foreign_keys(database: str) -> None:
    if "://" in database:
        change(database, "alter table verdicts drop constraint fk_verdicts_claim_id")
        assert wrong(database)["foreign keys are declared"] == (1, ("verdicts.claim_id to claims",))
        change(database, "update verdicts set claim_id = 99")
    else:
        with sqlite3.connect(database) as opened:  # where nothing minds them
            opened.execute("update verdicts set claim_id = 99")
    count, [named] = wrong(database)["foreign keys hold"]
    assert count == 1 and named.endswith("claim_id 99: no claim_id 99")


def test_more_than_a_few_are_counted(tmp_path: Path, bnexp: Bnexp) -> None:
    database = str(tmp_path / "bnexp.db")
    train(database, register(database, of("e", seeds(*range(6)))))
    change(database, "delete from experiment_trials")
    ended = bnexp("db", "check", cwd=tmp_path)
    assert ended.code == 1 and ended.err == ""
    lines = ended.out.splitlines()
    [at] = [number for number, line in enumerate(lines) if "6 wrong" in line]
    assert lines[at].startswith("every trial is wanted by an experiment")
    assert lines[at + 1].startswith("  trial ") and lines[at + 4] == "  and 3 more"
    assert lines[-1] == "1 of 16 checks found something wrong"
    assert max(map(len, lines)) <= 80


def test_the_command_passes_what_a_run_has_made(tiny: Path, bnexp: Bnexp) -> None:
    before = (tiny / "bnexp.db").read_bytes()
    ended = bnexp("db", "check", cwd=tiny)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "all 16 checks passed")
    assert max(map(len, ended.out.splitlines())) <= 80
    assert (tiny / "bnexp.db").read_bytes() == before


def test_a_damaged_file_is_a_finding(tmp_path: Path, bnexp: Bnexp) -> None:
    database = tmp_path / "bnexp.db"
    train(str(database), register(str(database), of("e", seeds(*range(200)))))
    with sqlite3.connect(database) as opened:
        opened.execute("pragma journal_mode = delete")
        [page] = opened.execute("select rootpage from sqlite_master where name = 'curves'").fetchone()
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 2])
    ended = bnexp("db", "check", cwd=tmp_path)
    assert ended.code == 1 and "malformed" in ended.err + ended.out
    size = 4096
    database.write_bytes(whole[: (page - 1) * size] + b"\xff" * size + whole[page * size :])
    ended = bnexp("db", "check", cwd=tmp_path)
    assert ended.code == 1 and "malformed" in ended.out and "checks found something wrong" in ended.out
    database.write_bytes(b"")
    ended = bnexp("db", "check", cwd=tmp_path)
    assert ended.code == 1 and "not a bnexp database" in ended.err
    assert bnexp("db", "check", "--db", "none.db", cwd=tmp_path).code == 2


def test_a_store_under_work_is_whole_between_its_writes(tmp_path: Path) -> None:
    database = str(tmp_path / "bnexp.db")
    numbers = register(database, of("e", seeds(1, 2)))
    assert wrong(database) == {}
    train(database, numbers, never, leave="release")
    assert wrong(database) == {}
    store = Store(database)
    assert wrong(database) == {}
    store.close()
