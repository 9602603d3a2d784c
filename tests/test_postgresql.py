"""The store and whole runs on a real PostgreSQL, where several write at the same time."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from bnexp.db.leases import LeaseLostError
from bnexp.db.results import Results
from bnexp.db.rows import Job, Worker
from bnexp.db.store import Store
from bnexp.db.summaries import count_trials
from bnexp.engine.cohort import group
from bnexp.records import Outcome, Point, Probe
from tests.conftest import TINY, environment
from tests.test_db import GOOD, ONE, STARTED, TWO, expire, instance, wanted
from tests.test_live import tells_of_runs
from tests.test_results import rows_of

CURVE = (Point(1, 1.0, 0.5, 1.0, 0.5),)


def test_a_trial_goes_its_way(postgresql: str) -> None:
    store = Store(postgresql)
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None and len(job.configs) == 2
    store.renew(job, ONE, 7)
    store.keep(job, ONE, "cohort-1.safetensors")
    measured = ((Point(1, 1.0, 0.5, 1.0, 0.5),), (Probe(1, "hidden 0", "moments mean", 0.5, (0.25, 0.75)),))
    ended = [Outcome(slot, "finished", measured[0], GOOD, probes=measured[1]) for slot in (0, 1)]
    store.store(job, ONE, ended, STARTED, 1.0)
    store.store(job, ONE, ended, STARTED, 1.0)  # what has ended stays
    assert store.take([number], ONE) is None
    results = Results(postgresql)
    assert count_trials(results, [number]).statuses == {"finished": 2}
    assert len(results.curves(results.trials(number)["trial_key"])["step"]) == 2
    results.close()
    store.close()


def test_trials_are_read_as_from_a_file(postgresql: str, tmp_path: Path) -> None:
    """A server puts those together that have their cell, status, variant and arm in common."""
    trials = [wanted("BN", norm="batch", seed=seed) for seed in range(5)] + [wanted("x5", lr_multiplier=5.0, seed=1)]
    trials.append(replace(trials[0], variant="again"))
    found = []
    for database in (postgresql, str(tmp_path / "bnexp.db")):
        store = Store(database)
        number = store.register(instance(*trials))
        store.plan(number, group)
        jobs = [store.take([number], ONE) for _ in range(2)]
        [job] = [job for job in jobs if job is not None and len(job.configs) == 5]
        good = [replace(GOOD, test_accuracy=accuracy) for accuracy in (0.8, 0.5, 0.7)]
        ends = [Outcome(slot, "finished", (), final) for slot, final in enumerate(good)]
        ends.append(Outcome(3, "diverged", (), None, 7, "nan"))
        store.store(job, ONE, ends, STARTED, 1.0)
        results = Results(database)
        read = results.trials(number)
        assert set(read) > {"trial_key", "seed", "variant", "status", "norm", "scored_accuracy"}
        found.append({name: read[name] for name in read})
        assert not len(results.trials(number, "tune")["trial_key"])
        results.close()
        store.close()
    assert set(found[0]) == set(found[1])
    for name, column in found[0].items():
        np.testing.assert_array_equal(column, found[1][name], name)
    assert sorted(found[0]["status"]) == ["diverged", *["finished"] * 4, *["running"] * 2]


def test_leases_are_told_apart_and_failures_counted(postgresql: str) -> None:
    store = Store(postgresql)
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    lost = store.take([number], ONE)
    expire(store, number)
    kept = store.take([number], TWO)
    assert lost is not None and kept is not None and kept.taken == lost.taken + 1
    with pytest.raises(LeaseLostError):
        store.store(lost, ONE, [Outcome(0, "finished", (), GOOD)], STARTED, 1.0)
    assert store.fail(kept, TWO, "killed") == []
    for given_up in ([], [0]):
        again = store.take([number], ONE)
        assert again is not None and store.fail(again, ONE, "killed") == given_up
    assert store.failed([number]) == 1
    store.close()


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` gives in so many threads that begin together."""
    barrier, found = threading.Barrier(count), list[Any]([None] * count)

    raised: list[Exception] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            found[number] = work(number)
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in raised:
        raise error
    return found


def test_no_cohort_is_taken_twice_and_none_left(postgresql: str) -> None:
    """Eight workers register, plan and take at the same time, each on connections of its own."""
    trials = [wanted(steps=steps, seed=seed) for steps in range(100, 140) for seed in range(2)]
    whole = instance(*trials)

    def work(number: int) -> list[Job]:
        store, worker = Store(postgresql), Worker(f"host:{number}", "host", "0", None, "3")
        experiment = store.register(whole)
        store.plan(experiment, group)
        jobs = []
        while job := store.take([experiment], worker):
            store.store(job, worker, [Outcome(slot, "finished", (), GOOD) for slot in (0, 1)], STARTED, 1.0)
            jobs.append(job)
        store.close()
        return jobs

    jobs = [job for found in at_once(8, work) for job in found]
    assert sorted(trial for job in jobs for trial in job.trial_ids) == list(range(1, 81))
    assert len({job.cohort_id for job in jobs}) == len(jobs) == 40
    store = Store(postgresql)
    with store.engine.connect() as connection:
        cohorts = connection.execute(text("select count(*), count(distinct status) from cohorts")).one()
        attempts = connection.execute(text("select count(*), count(distinct trial_id) from attempts")).one()
    assert tuple(cohorts) == (40, 1) and tuple(attempts) == (80, 80)
    store.close()


def test_what_is_watched_is_told(postgresql: str) -> None:
    tells_of_runs(postgresql)


def test_the_clock_is_the_servers(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(postgresql)
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    job = store.take([number], ONE)
    monkeypatch.undo()
    [lease] = store.held([number])
    assert job is not None and abs(lease.until - time.time() - 60) < 30
    store.close()


@pytest.mark.slow
def test_two_runs_share_the_work_and_one_that_is_killed_loses_nothing(
    postgresql: str, tmp_path: Path, tiny: Path
) -> None:
    (tmp_path / "experiments.yaml").write_text(TINY.replace("eval_every: 20", "eval_every: 20  # as elsewhere"))
    command = [sys.executable, "-m", "bnexp", "run", "tiny", "--workers", "1", "--db", postgresql]
    given: dict[str, Any] = {"cwd": tmp_path, "env": environment(), "stderr": subprocess.PIPE, "text": True}
    first, second = (subprocess.Popen(command, start_new_session=True, **given) for _ in range(2))
    time.sleep(4)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert second.wait(timeout=120) == 0, second.stderr and second.stderr.read()
    results, here = Results(postgresql), Results(str(tiny / "bnexp.db"))
    query = "select trial_key, status, train_loss, test_accuracy from trial_results order by 1"
    assert rows_of(results, query) == rows_of(here, query)
    assert rows_of(results, "select count(*) from attempts where outcome is null") == [(0,)]
    for opened in (first, second):
        assert opened.stderr is not None
        opened.stderr.close()
    results.close()
    here.close()


def test_many_that_do_everything_at_once_meet_no_deadlock_and_do_nothing_twice(postgresql: str) -> None:
    """Threads take, store, fail, give back and let leases run out, while others write down wider wishes, plan, forgive
    what failed and count."""
    trials = [wanted(steps=steps, seed=seed) for steps in range(100, 130) for seed in range(3)]
    store = Store(postgresql)
    number = store.register(instance(*trials))
    store.plan(number, group)
    over = threading.Event()

    def train(which: int) -> list[int]:
        own, worker, random, stored = Store(postgresql), Worker(f"h:{which}", "h", "0", None, "3"), Random(which), []
        while not over.is_set():
            job = own.take([number], worker)
            if job is None:
                own.plan(number, group)
                over.wait(0.01)
                if own.left([number]) == (0, 0):
                    over.set()
                continue
            try:
                own.renew(job, worker, 1)
                ends = random.choice(["finish", "finish", "finish", "fail", "release", "expire"])
                slots = range(len(job.configs) if ends == "finish" else 1)
                own.store(job, worker, [Outcome(slot, "finished", CURVE, GOOD) for slot in slots], STARTED, 1.0)
                stored += [job.trial_ids[slot] for slot in slots]
                if ends == "expire":
                    for lease in own.held([number]):
                        if lease.cohort_id == job.cohort_id:
                            own.expire(lease)
                elif ends == "fail":
                    own.fail(job, worker, "killed")
                elif ends == "release":
                    own.release(job, worker)
            except LeaseLostError:
                continue
        own.close()
        return stored

    def disturb(which: int) -> list[int]:
        own, random = Store(postgresql), Random(which)
        while not over.is_set():
            every = random.choice([50, 25, 10, 5])
            own.widen(
                number, [wanted(steps=one.config.steps, seed=one.config.seed, eval_every=every) for one in trials]
            )
            own.retry(number)
            own.plan(number, group)
            own.ended([number])
        own.close()
        return []

    stored = [trial for found in at_once(8, lambda which: (disturb if which < 2 else train)(which)) for trial in found]
    assert len(stored) == len(set(stored)) == len(trials)
    with store.engine.connect() as connection:
        ended = "select count(*), count(distinct trial_id) from attempts where outcome = 'finished'"
        assert tuple(connection.execute(text(ended)).one()) == (len(trials), len(trials))
        assert connection.execute(text("select count(*) from attempts where outcome is null")).scalar() == 0
        assert connection.execute(text("select count(*) from curves")).scalar() == len(trials)
    store.close()


@pytest.mark.slow
def test_runs_that_begin_together_on_an_empty_database_share_the_grid(
    postgresql: str, tmp_path: Path, tiny: Path
) -> None:
    """As the tasks of an array of jobs do."""
    (tmp_path / "experiments.yaml").write_text(TINY)
    command = [sys.executable, "-m", "bnexp", "run", "tiny", "--workers", "1", "--db", postgresql]
    given: dict[str, Any] = {"cwd": tmp_path, "env": environment(), "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(command, **given) for _ in range(4)]
    said = [run.communicate(timeout=240)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, said
    results, here = Results(postgresql), Results(str(tiny / "bnexp.db"))
    query = "select trial_key, status, train_loss, test_accuracy from trial_results order by 1"
    assert rows_of(results, query) == rows_of(here, query)
    ended = "select count(*), count(distinct trial_id) from attempts where outcome in ('finished', 'diverged')"
    assert rows_of(results, ended) == [(24, 24)]
    results.close()
    here.close()


def test_a_server_knows_how_many_cohorts_there_are_once_they_are_planned(postgresql: str) -> None:
    """Else it reads all trials for each cohort that is taken, until it counts them by itself."""
    store = Store(postgresql)
    number = store.register(instance(*(wanted(seed=seed) for seed in range(30))))
    store.plan(number, partial(group, limit=1))
    with store.engine.connect() as connection:
        counted = text("select relname, reltuples from pg_class where relname in ('cohorts', 'trials') order by 1")
        assert connection.execute(counted).all() == [("cohorts", 30.0), ("trials", 30.0)]
    store.close()
