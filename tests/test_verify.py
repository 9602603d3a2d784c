"""Training stored trials again: what is compared, which trials, and what is said of each."""

import hashlib
import math
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bnexp import registry
from bnexp.comparison import Comparison, Verified, compare, difference
from bnexp.config import TrialConfig
from bnexp.data.dataset import source
from bnexp.db.results import Results
from bnexp.db.store import Store
from bnexp.db.stored import Stored
from bnexp.engine.cohort import group
from bnexp.errors import UsageError
from bnexp.executors import Event, Failed, Idle, Lost, Told
from bnexp.identity import trial_key
from bnexp.records import Checkpoint, Outcome, Point, Progress, Started, Tally
from bnexp.reports.verification import summary
from bnexp.verify import Verification, choose
from tests.conftest import Bnexp, environment
from tests.test_db import GOOD, ONE, STARTED, instance, wanted

CURVE = (Point(1, 2.0, 0.1, 2.5, 0.25), Point(50, 0.5, 0.9, math.inf, 0.75))
FINISHED = Outcome(
    0, "finished", CURVE, replace(GOOD, test_loss=0.5, validation_top5_accuracy=1.0, test_top5_accuracy=0.9)
)
DIVERGED = Outcome(0, "diverged", CURVE[:1], None, 7, "nan")
UP = math.nextafter(0.5, 1)


def final(**numbers: float | None) -> Outcome:
    """FINISHED with other final numbers."""
    assert FINISHED.final is not None
    return replace(FINISHED, final=replace(FINISHED.final, **numbers))


def point(index: int = 1, **numbers: Any) -> Outcome:
    """FINISHED with another point in that place."""
    curve = [replace(point, **numbers) if place == index else point for place, point in enumerate(CURVE)]
    return replace(FINISHED, curve=tuple(curve))


@pytest.mark.parametrize("outcome", [FINISHED, DIVERGED, point(train_loss=math.nan), final(test_loss=-math.inf)])
def test_an_outcome_equals_itself_whatever_its_slot(outcome: Outcome) -> None:
    copy = replace(outcome, slot=5)
    assert compare(outcome, copy, tolerance=0) == Comparison("bitwise equal", 0.0)


APART: dict[str, tuple[Outcome, Outcome, str]] = {
    "diverged now": (FINISHED, DIVERGED, "finished then, diverged at step 7 (nan) now"),
    "another step": (DIVERGED, replace(DIVERGED, diverged_at_step=8), "at step 7 (nan) then, diverged at step 8 (nan)"),
    "another loss": (DIVERGED, replace(DIVERGED, reason="inf"), "at step 7 (nan) then, diverged at step 7 (inf)"),
    "no numbers": (replace(FINISHED, final=None), FINISHED, "finished without numbers then, finished now"),
    "a diverged trial's numbers": (replace(DIVERGED, final=GOOD), DIVERGED, "with final numbers then"),
    "missing point": (FINISHED, replace(FINISHED, curve=CURVE[:1]), "the curve's point at step 50 is missing now"),
    "extra point": (replace(FINISHED, curve=CURVE[1:]), FINISHED, "the curve's point at step 1 is new now"),
    "NaN now": (FINISHED, final(test_loss=math.nan), "test_loss 0.5 then, nan now"),
    "NaN then": (point(train_accuracy=math.nan), FINISHED, "train_accuracy at step 50 nan then, 0.9 now"),
    "infinity and NaN": (FINISHED, point(validation_loss=math.nan), "validation_loss at step 50 inf then, nan now"),
    "not measured now": (FINISHED, final(test_top5_accuracy=None), "test_top5_accuracy is missing now"),
    "other infinity": (FINISHED, point(validation_loss=-math.inf), "validation_loss at step 50 inf then, -inf now"),
}  # fmt: skip


@pytest.mark.parametrize("case", APART)
def test_what_no_tolerance_mends(case: str) -> None:
    then, now, where = APART[case]
    compared = compare(then, now, tolerance=1)
    assert (compared.answer, compared.difference) == ("drifted", None)
    assert where in compared.where


@pytest.mark.parametrize("name", [*vars(GOOD), "step 1", "step 50"])
def test_every_number_is_compared(name: str) -> None:
    """The last bit of any of them shows."""
    assert FINISHED.final is not None
    if name.startswith("step"):
        index = ["step 1", "step 50"].index(name)
        changed = [
            (f"{field} at {name} ", point(index, **{field: math.nextafter(value, 9)}))
            for field, value in vars(CURVE[index]).items()
            if field != "step" and math.isfinite(value)
        ]
    else:
        changed = [(f"{name} ", final(**{name: math.nextafter(vars(FINISHED.final)[name], 9)}))]
    for where, outcome in changed:
        for then, now in ((FINISHED, outcome), (outcome, FINISHED)):
            compared = compare(then, now, tolerance=1e-15)
            assert compared.answer == "within tolerance" and compared.where.startswith(where)
            assert compared.difference and compared.difference < 1e-15
            assert compare(then, now, tolerance=0).answer == "drifted"


def test_what_was_not_measured_then_is_no_difference() -> None:
    """As of trials older than top-5 accuracy."""
    old = final(validation_top5_accuracy=None, test_top5_accuracy=None)
    assert compare(old, old, 0) == compare(old, FINISHED, 0) == Comparison("bitwise equal", 0.0)
    assert compare(old, final(test_loss=0.4), 0).answer == "drifted"


def test_the_tolerance_is_of_the_largest_relative_difference_itself_included() -> None:
    now = replace(final(test_loss=0.4), curve=(replace(CURVE[0], train_loss=1.9), CURVE[1]))
    assert difference(0.5, 0.4) == difference(0.4, 0.5) == pytest.approx(0.2)
    worst = difference(0.5, 0.4)
    assert compare(FINISHED, now, worst) == Comparison("within tolerance", worst, "test_loss 0.5 then, 0.4 now (2e-1)")
    assert compare(FINISHED, now, math.nextafter(worst, 0)).answer == "drifted"


def test_a_drift_is_told_with_digits_that_tell_it_apart() -> None:
    assert compare(final(test_loss=0.12345), final(test_loss=0.1239), 1e-6).where == (
        "test_loss 0.1235 then, 0.1239 now (4e-3)"
    )
    assert compare(FINISHED, final(test_loss=UP), 0).where == "test_loss 0.5 then, 0.5000000000000001 now (2e-16)"


def stored_in(path: Path, outcomes: Sequence[Outcome]) -> Results:
    """A database with a trial for each outcome, by seed, and one that has failed."""
    store = Store(str(path))
    number = store.register(instance(*(wanted(seed=seed) for seed in range(len(outcomes) + 1))))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    seeds = {config.seed: slot for slot, config in enumerate(job.configs)}
    placed = [replace(outcome, slot=seeds[seed]) for seed, outcome in enumerate(outcomes)]
    if placed:
        store.store(job, ONE, placed, STARTED, 1.0)
    store.fail(job, ONE, "no memory")
    store.register(instance(wanted(seed=0), wanted(seed=99), name="other"))
    store.close()
    return Results(str(path))


def test_what_was_stored_is_read_back(tmp_path: Path) -> None:
    outcomes = [FINISHED, DIVERGED, replace(DIVERGED, reason="-inf", curve=()), point(train_loss=math.nan),
                final(test_loss=math.inf, validation_loss=math.nan), final(test_top5_accuracy=math.nan),
                final(validation_top5_accuracy=None)]  # fmt: skip
    found = stored_in(tmp_path / "bnexp.db", outcomes).ended(99, seed=0)
    assert len(found) == len(outcomes)
    for trial in found:
        outcome = outcomes[trial.config["seed"]]
        # NaN is not equal to itself, but is written like itself.
        assert repr(trial.outcome) == repr(outcome)
        assert (trial.torch_version, trial.device, trial.fingerprint) == ("2", "cpu", "data")
        assert trial.key == trial_key(TrialConfig.model_validate(trial.config), "data")


def test_the_machine_is_that_of_the_attempt_that_ended_the_trial(tmp_path: Path) -> None:
    results = stored_in(tmp_path / "bnexp.db", [FINISHED])
    with sqlite3.connect(tmp_path / "bnexp.db") as connection:
        names = [row[1] for row in connection.execute("pragma table_info(attempts)") if row[1] != "id"]
        values = ", ".join({"outcome": "'interrupted'", "device": "'another'"}.get(name, name) for name in names)
        for number in (0, 9):
            connection.execute(
                f"insert into attempts (id, {', '.join(names)}) select {number}, {values} from attempts where id = 1"
            )
    [trial] = results.ended(1, 0)
    assert (trial.device, trial.torch_version) == ("cpu", "2")


def test_a_sample_is_random_and_the_same_again(tmp_path: Path) -> None:
    results = stored_in(tmp_path / "bnexp.db", [FINISHED] * 40)
    keys = {(size, seed): [t.key for t in results.ended(size, seed)] for size in (5, 20, 99) for seed in range(20)}
    assert keys[5, 0] == [trial.key for trial in results.ended(5, 0)] == sorted(keys[5, 0])
    assert [len(keys[size, 0]) for size in (5, 20, 99)] == [5, 20, 40]
    assert set(keys[5, 0]) < set(keys[20, 0])
    assert len({tuple(keys[5, seed]) for seed in range(20)}) == 20
    together = {key for seed in range(20) for key in keys[20, seed]}
    assert len(together) == 40, "any of them can be chosen"


def test_an_experiments_trials_are_those_of_its_latest_instance(tmp_path: Path) -> None:
    results = stored_in(tmp_path / "bnexp.db", [FINISHED] * 4)
    assert len(choose(results, "e", 99, 0)) == len(choose(results, None, 99, 0)) == 4
    assert [trial.config["seed"] for trial in choose(results, "other", 99, 0)] == [0]
    with pytest.raises(UsageError, match="'no' has not been run into this database"):
        choose(results, "no", 99, 0)
    empty = stored_in(tmp_path / "empty.db", [])
    with pytest.raises(UsageError, match="no trial of e has ended yet"):
        choose(empty, "e", 8, 0)


class Fake:
    """An executor of one worker that "trains" by looking outcomes up by seed."""

    def __init__(self, outcomes: dict[int, Outcome], capacity: int = 48, dies_after: int = 99) -> None:
        self.outcomes, self.capacity, self.dies_after = outcomes, capacity, dies_after
        self.given: list[list[int]] = []
        self.closed = False
        self.events: list[Event] = [Idle(0, capacity)]

    def has_room(self) -> bool:
        return True

    def submit(
        self,
        worker: int,
        trials: Sequence[TrialConfig],
        checkpoint: Checkpoint | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.given.append([trial.seed for trial in trials])
        told: list[Event] = [Told(0, replace(self.outcomes[t.seed], slot=i)) for i, t in enumerate(trials)]
        told.reverse()
        if len(told) > self.dies_after:
            told[self.dies_after :] = [Failed(0, "Traceback\nKilled: no memory\n")]
        self.events += [
            Told(0, STARTED),
            Told(0, Progress(50, len(trials), 50 * len(trials))),
            *told,
            Idle(0, self.capacity),
        ]

    def poll(self, seconds: float) -> list[Event]:
        assert self.events, "it waits for nothing"
        events, self.events = self.events[:2], self.events[2:]
        return events

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def fingerprint() -> str:
    return source("digits").fingerprint()


@pytest.fixture
def trial(fingerprint: str) -> Callable[..., Stored]:
    """A stored trial, by its fields."""

    def make(outcome: Outcome = FINISHED, **fields: object) -> Stored:
        config = TrialConfig.model_validate(fields)
        key = trial_key(config, fingerprint)
        return Stored(key, config.model_dump(mode="json"), fingerprint, outcome, "2", "cpu")

    return make


def go(work: Verification, executor: Fake) -> dict[int, Comparison]:
    verified = work.go(lambda: executor, 1e-6, lambda tally: None)
    assert [one.trial for one in verified] == list(work.trials)
    return {one.trial.config["seed"]: one.comparison for one in verified}


def test_each_trial_is_compared_with_itself_in_cohorts_that_fit(trial: Callable[..., Stored]) -> None:
    outcomes = {seed: final(test_loss=1.0 + seed) for seed in range(5)} | {5: DIVERGED}
    trials = [trial(outcome, seed=seed, norm="batch" if seed == 4 else "none") for seed, outcome in outcomes.items()]
    executor = Fake({**outcomes, 3: final(test_loss=9.0)}, capacity=2)
    work = Verification(trials, None)
    compared = go(work, executor)
    assert {seed for seed, one in compared.items() if one.answer == "bitwise equal"} == {0, 1, 2, 4, 5}
    assert compared[3].where.startswith("test_loss 4 then, 9 now")
    assert sorted(map(len, executor.given)) == [1, 1, 2, 2] and [4] in executor.given
    assert executor.closed and work.machine == STARTED
    assert (work.tally.finished, work.tally.diverged, work.tally.failed) == (5, 1, 0)
    assert work.tally.total_steps == 5 * 1000 + 7 and work.tally.steps == 50 * 6


def test_what_a_worker_could_not_end_has_failed(trial: Callable[..., Stored]) -> None:
    work = Verification([trial(seed=seed) for seed in range(4)], None)
    compared = go(work, Fake(dict.fromkeys(range(4), FINISHED), capacity=3, dies_after=2))
    answers = [one.answer for one in compared.values()]
    assert (answers.count("bitwise equal"), answers.count("failed")) == (3, 1)
    [failed] = [one for one in compared.values() if one.answer == "failed"]
    assert failed.where == "Killed: no memory" and work.tally.failed == 1


def test_a_worker_that_dies_idle_gets_nothing_before_it_is_ready_again(trial: Callable[..., Stored]) -> None:
    """Else its being ready would be taken for the end of a cohort."""
    executor = Fake({0: FINISHED})
    executor.events += [Failed(0, "killed"), Idle(0, 48)]
    assert go(Verification([trial(seed=0)], None), executor)[0].answer == "bitwise equal"
    assert executor.given == [[0]]


def test_what_a_lost_worker_had_is_trained_by_another(trial: Callable[..., Stored]) -> None:
    class Losing(Fake):
        def submit(
            self,
            worker: int,
            trials: Sequence[TrialConfig],
            checkpoint: Checkpoint | None = None,
            fingerprint: str | None = None,
        ) -> None:
            super().submit(worker, trials)
            if len(self.given) == 1:
                self.events[-2:] = [Lost(0, "gone"), Idle(0, 48)]

    work = Verification([trial(seed=seed) for seed in range(3)], None)
    executor = Losing(dict.fromkeys(range(3), FINISHED))
    assert [one.answer for one in go(work, executor).values()] == ["bitwise equal"] * 3
    assert len(executor.given[0]) == 3 and len(executor.given[1]) == 1
    assert (work.tally.finished, work.tally.failed) == (3, 0)


def test_workers_are_stopped_whatever_happens(trial: Callable[..., Stored]) -> None:
    def interrupt(_: Tally) -> None:
        raise KeyboardInterrupt

    executor = Fake({0: FINISHED})
    with pytest.raises(KeyboardInterrupt):
        Verification([trial(seed=0)], None).go(lambda: executor, 0, interrupt)
    assert executor.closed


def why(trial: Stored) -> str:
    """Why a trial is not trained again."""

    def none_wanted() -> Fake:
        pytest.fail("it is trained")

    [one] = Verification([trial], None).go(none_wanted, 1, lambda tally: None)
    assert one.comparison.answer == "not comparable"
    return one.comparison.where


def test_what_is_not_the_same_trial_today_is_not_trained(
    trial: Callable[..., Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the dataset differs" in why(replace(trial(), fingerprint="other"))
    unknown = trial().config | {"norm": {"name": "later"}}
    assert "this bnexp does not know its configuration (norm" in why(replace(trial(), config=unknown))
    assert "bnexp has changed how it tells trials apart" in why(replace(trial(), config=trial().config | {"seed": 9}))
    batch, none = trial(norm="batch"), trial()
    monkeypatch.setitem(registry.REVISIONS, "batch", 2)
    assert why(batch) == "bnexp has changed how it computes batch"
    assert go(Verification([none], None), Fake({0: FINISHED}))[0].answer == "bitwise equal", "BN is no part of it"
    assert go(Verification([trial(norm="batch")], None), Fake({0: FINISHED}))[0].answer == "bitwise equal"


def test_the_summary_counts_and_names_both_machines_where_they_differ(trial: Callable[..., Stored]) -> None:
    now = Started("cpu", 1, "2")
    equal = Verified(trial(), Comparison("bitwise equal", 0.0))
    drifted = Verified(trial(), Comparison("drifted", 0.1, "x"))
    other = Verified(replace(trial(), torch_version="1"), Comparison("not comparable", None, "x"))
    assert summary([equal] * 8, now) == "8 of 8 bitwise equal (torch 2, cpu)"
    assert summary([equal, drifted, drifted, other], now) == (
        "1 of 4 bitwise equal, 2 drifted, 1 not comparable (torch 2, cpu)"
    )
    assert summary([other], None) == "0 of 1 bitwise equal, 1 not comparable"
    elsewhere = replace(drifted, trial=replace(trial(), device="NVIDIA H100"))
    assert summary([elsewhere], now).endswith("(stored: torch 2 on NVIDIA H100; now: torch 2 on cpu)")
    assert summary([elsewhere, equal, equal], now).endswith(
        "(stored: torch 2 on cpu for 2, torch 2 on NVIDIA H100 for 1; now: torch 2 on cpu)"
    )


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the folder in which `tiny` has been run."""
    return shutil.copytree(tiny, tmp_path / "copy")


def content(folder: Path) -> tuple[str, list[str]]:
    """The database file's bytes, hashed, and all that it says."""
    with sqlite3.connect(f"file:{folder / 'bnexp.db'}?mode=ro", uri=True) as connection:
        dump = list(connection.iterdump())
    return hashlib.sha256((folder / "bnexp.db").read_bytes()).hexdigest(), dump


def test_what_was_stored_comes_out_again_and_nothing_is_written(copy: Path, bnexp: Bnexp) -> None:
    before = content(copy)
    ended = bnexp("verify", "--workers", "1", cwd=copy)
    assert ended.code == 0, ended.err
    assert ended.out.count("bitwise equal") == 9 and "8 of 8 bitwise equal (torch " in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "8 trials to train" in ended.err and "trials to train" not in ended.out
    assert content(copy) == before


@pytest.mark.slow
def test_what_was_changed_has_drifted_and_is_named(copy: Path, bnexp: Bnexp) -> None:
    """In a sample that holds every trial."""
    with sqlite3.connect(copy / "bnexp.db") as connection:
        listed = connection.execute("select id, key, test_loss from trials where status = 'finished' order by key")
        (one, *last), (two, *curve), (three, *data) = listed.fetchall()[:3]
        connection.execute("update trials set test_loss = ? where id = ?", (math.nextafter(last[1], 9), one))
        connection.execute(
            "update curves set validation_loss = validation_loss * 1.01 where trial_id = ? and step = 20", (two,)
        )
        connection.execute("update trials set fingerprint = 'other' where id = ?", (three,))
        connection.execute("update attempts set torch_version = '1.0'")
    ended = bnexp("verify", "--experiment", "tiny", "--sample", "99", cwd=copy)
    assert ended.code == 1, ended.err
    assert max(map(len, ended.out.splitlines())) <= 80
    said = " ".join(ended.out.split())
    assert "21 of 24 bitwise equal, 1 within tolerance, 1 drifted, 1 not comparable (stored: torch 1.0 on cpu" in said
    assert f"{last[0][:12]} within tolerance: test_loss" in said and "e-16)" in said
    assert f"{curve[0][:12]} drifted: validation_loss at step 20" in said and "now (1e-2)" in said
    assert f"{data[0][:12]} not comparable: the dataset differs" in said
    with sqlite3.connect(copy / "bnexp.db") as connection:
        connection.execute("delete from experiment_trials where trial_id = ?", (two,))
    again = bnexp("verify", "--experiment", "tiny", "--sample", "99", cwd=copy)
    assert again.code == 0 and "21 of 23 bitwise equal" in again.out, "only what drifted or failed is wrong"


REFUSALS = {
    "verify --experiment overlap": (2, "experiment 'overlap' has not been run into this database (known: tiny)"),
    "verify --sample 0": (2, "0 is not in the range x>=1"),
    "verify --tolerance -1": (2, "-1.0 is not in the range 0<=x<=1"),
    "verify --db none.db": (2, "no database at none.db"),
    "verify --sample 1 --device cuda": (2, "--device cuda: not available here"),
}


@pytest.mark.parametrize("command", REFUSALS)
def test_what_cannot_be_done_is_refused(tiny: Path, bnexp: Bnexp, command: str) -> None:
    import torch

    if "cuda" in command and torch.cuda.is_available():
        pytest.skip("it is available here")
    ended = bnexp(*command.split(), cwd=tiny)
    code, message = REFUSALS[command]
    assert (ended.code, ended.out) == (code, "") and message in ended.err


def test_a_trial_whose_dataset_is_missing_is_not_comparable(copy: Path, bnexp: Bnexp) -> None:
    with sqlite3.connect(copy / "bnexp.db") as connection:
        connection.execute("update trials set config = json_set(config, '$.dataset', 'mnist') where id > 1")
    ended = bnexp("verify", "--data-dir", ".", "--sample", "1000", cwd=copy)
    assert ended.code == 0 and "mnist: not found (looked in" in " ".join(ended.out.split())
    assert "1 of " in ended.out and "not comparable" in ended.out


@pytest.mark.parametrize("seconds", [0, 0.01, 0.02, 0.04])
def test_it_can_be_stopped(copy: Path, seconds: float) -> None:
    """While its worker's process is made, too."""
    command = [sys.executable, "-m", "bnexp", "verify", "--workers", "1"]
    with subprocess.Popen(command, cwd=copy, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "8 trials to train" in process.stderr.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert "Traceback" not in process.stderr.read()
