"""The runner between a store and workers that die at bad moments."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ground import still_there
from bnexp import runner
from bnexp.artifacts import folder_for
from bnexp.config import TrialConfig
from bnexp.db.leases import Lease
from bnexp.db.retrying import PassingError, repeated
from bnexp.db.store import Store
from bnexp.engine.cohort import group
from bnexp.errors import BnexpError
from bnexp.executors import Event, Failed, Idle, Lost, Told
from bnexp.executors import local as local_module
from bnexp.executors.local import LocalExecutor
from bnexp.provenance import _machine
from bnexp.records import Checkpoint, Final, Outcome, Progress, Record, Resumed, Saved, Tally, Working
from bnexp.reports.progress import Progress as Screen
from bnexp.runner import Run
from bnexp.stopping import Stopped
from tests.test_db import GOOD, ONE, STARTED, TWO, expire, instance, wanted


class Scripted:
    """An executor whose events are written down beforehand, and which notes what it is given."""

    def __init__(self, *polls: list[Event]) -> None:
        self.polls = list(polls)
        self.given: list[tuple[int, list[TrialConfig]]] = []
        self.dropped: list[int] = []

    def has_room(self) -> bool:
        return True

    def submit(
        self,
        worker: int,
        trials: Sequence[TrialConfig],
        checkpoint: Checkpoint | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.given.append((worker, list(trials)))

    def poll(self, seconds: float) -> list[Event]:
        assert self.polls, f"the run waits for more than was written; given so far: {self.given}"
        return self.polls.pop(0)

    def drop(self, worker: int) -> None:
        self.dropped.append(worker)

    def close(self) -> None:
        pass


def outcome(slot: int, loss: float) -> Told:
    final = Final(loss, loss, loss, loss, loss, loss)
    return Told(0, Outcome(slot, "finished", (), final))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "bnexp.db"))


def go(store: Store, number: int, *polls: list[Event]) -> tuple[Scripted, Tally]:
    executor = Scripted(*polls)
    return executor, Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)


def losses(store: Store) -> dict[int, float]:
    with store.engine.connect() as connection:
        query = "select seed, train_loss from trial_results where status = 'finished'"
        return {int(seed): float(loss) for seed, loss in connection.exec_driver_sql(query)}


def test_cohorts_are_as_large_as_the_workers_can_take(store: Store) -> None:
    number = store.register(instance(*(wanted(seed=seed) for seed in range(4))))
    began = [Told(0, STARTED)]
    executor, tally = go(
        store,
        number,
        [Idle(0, capacity=3)],
        [*began, *(outcome(slot, 0.5) for slot in range(3)), Idle(0, capacity=3)],
        [*began, outcome(0, 0.25), Idle(0, capacity=3)],
    )
    assert [len(trials) for _, trials in executor.given] == [3, 1]
    assert (tally.finished, len(losses(store))) == (4, 4)


def test_a_worker_that_dies_idle_gets_nothing_before_it_is_ready_again(store: Store) -> None:
    """Else its being ready would be taken for the end of a cohort, and the next one's results for that one's."""
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    executor, _ = go(
        store,
        number,
        [Idle(0, capacity=1), Failed(0, "killed")],
        [],
        [Idle(0, capacity=1)],
        [Told(0, STARTED), outcome(0, 0.25), Idle(0, capacity=1)],
        [Told(0, STARTED), outcome(0, 0.5), Idle(0, capacity=1)],
    )
    expected = dict(zip((trials[0].seed for _, trials in executor.given), (0.25, 0.5), strict=True))
    assert losses(store) == expected


def test_what_ended_before_its_worker_died_stays_and_the_rest_is_tried_three_times(store: Store) -> None:
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    began, killed, idle = Told(0, STARTED), Failed(0, "killed"), Idle(0, capacity=2)
    executor, tally = go(
        store, number, [idle], [began, outcome(1, 0.25), killed], [idle], [began, killed], [idle], [killed], [idle]
    )
    assert [[trial.seed for trial in trials] for _, trials in executor.given] == [[1, 2], [1], [1]]
    assert (tally.finished, tally.failed, tally.errors) == (1, 1, ["killed"])
    assert tally.notes == ["1 trial to be tried again: killed"] * 2
    assert losses(store) == {2: 0.25} and store.failed([number]) == 1


def test_a_worker_that_is_ready_without_all_results_has_failed(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    idle = Idle(0, capacity=2)
    _, tally = go(store, number, [idle], [Told(0, STARTED), idle], [idle], [idle], [])
    assert tally.errors == ["the worker ended without a result"] and store.failed([number]) == 1


def test_a_worker_that_dies_after_its_last_result_has_failed_nothing(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    idle = Idle(0, capacity=1)
    _, tally = go(store, number, [idle], [Told(0, STARTED), outcome(0, 0.5), Failed(0, "killed")], [idle])
    assert (tally.finished, tally.failed, tally.errors, tally.notes) == (1, 0, [], [])


def test_a_failure_whose_answer_was_lost_counts_as_a_failure(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as a trial that another run has trained."""
    number = store.register(instance(wanted(seed=1)))
    with store.engine.begin() as connection:
        connection.exec_driver_sql("update trials set failures = 2")
    whole, lost = Store.fail, []

    def lose_once(*arguments: Any) -> list[int]:
        found = whole(*arguments)
        if not lost:
            lost.append(True)
            raise PassingError("the connection was lost", "lost")
        return found

    monkeypatch.setattr(Store, "fail", repeated(lose_once))
    idle = Idle(0, capacity=1)
    _, tally = go(store, number, [idle], [Told(0, STARTED), Failed(0, "killed")], [idle])
    assert lost and (tally.failed, tally.elsewhere, tally.errors, tally.notes) == (1, 0, ["killed"], [])


def test_a_lost_lease_frees_its_worker_for_other_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run takes the cohort over and ends it; what is still told of it is stored by nobody twice."""
    monkeypatch.setattr(runner, "LEASE_SECONDS", 0.0)  # renewed at every turn
    number = store.register(instance(wanted(seed=1), wanted(norm="batch", seed=1)))
    rival = Store(store.database)

    class Overtaken(Scripted):
        def poll(self, seconds: float) -> list[Event]:
            if len(self.given) == 1 and not self.dropped:
                expire(rival, number)
                job = rival.take([number], TWO)
                assert job is not None
                rival.store(job, TWO, [Outcome(0, "finished", (), GOOD)], STARTED, 1.0)
            return super().poll(seconds)

    idle = Idle(0, capacity=2)
    theirs, ours = [Told(0, STARTED), outcome(0, 0.5)], [Told(0, STARTED), outcome(0, 0.25), idle]
    executor = Overtaken([idle], theirs, [idle], ours)
    tally = Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    assert executor.dropped == [0] and len(executor.given) == 2
    assert (tally.finished, tally.elsewhere, tally.failed) == (1, 1, 0)
    assert tally.notes == ["another run has taken over 1 trial"]
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql("select train_loss from trials order by 1").scalars().all()
    assert rows == [GOOD.train_loss, 0.25]


GONE = "here:" + ":".join([_machine(), "99999999", "1", "x"])
"""A worker whose process is no more."""


@pytest.mark.parametrize("reason", ["gone", "frozen", "clock set back"])
def test_abandoned_work_is_taken_over_while_others_still_train(
    store: Store, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Three workers of other runs hold a cohort each: one is abandoned, the others are alive."""
    number = store.register(instance(*(wanted(norm=norm, seed=1) for norm in ("none", "batch", "group"))))
    store.plan(number, group)
    abandoned = replace(ONE, name=GONE) if reason == "gone" else ONE
    _, *alive = (store.take([number], worker) for worker in (abandoned, TWO, TWO))
    if reason == "frozen":
        store.expire(store.held([number])[0])
    if reason == "clock set back":
        monkeypatch.setattr(runner, "LEASE_SECONDS", 0.2)
        with store.engine.begin() as connection:
            connection.exec_driver_sql("update cohorts set lease_until = lease_until + 86400 where id = 1")

    class Patient(Scripted):
        def poll(self, seconds: float) -> list[Event]:
            for job in alive:
                assert job is not None
                store.renew(job, TWO, 1)
            if len(self.polls) == 1 and not self.given:
                time.sleep(0.05)
                return []
            return super().poll(seconds)

    executor = Patient([Idle(0, capacity=2)], [Told(0, STARTED), outcome(0, 0.5), Idle(0, capacity=2)])
    began = time.monotonic()
    with pytest.raises(AssertionError, match="waits for more"):  # for the two that are alive
        Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    assert len(executor.given) == 1 and losses(store) == {1: 0.5}
    assert time.monotonic() - began < 5
    with store.engine.connect() as connection:
        held = connection.exec_driver_sql("select status from cohorts order by id").scalars().all()
    assert held == ["done", "running", "running"]


@pytest.mark.parametrize("how", ["given back", "taken out of its cohort"])
def test_nothing_is_left_behind_that_somebody_lets_go_of_just_now(
    store: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Another run held it when this one looked for work, and no longer does when this one looks at whom to wait for."""
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    theirs = store.take([number], TWO)
    held = store.held

    def late(experiment_ids: Sequence[int]) -> list[Lease]:
        if theirs and held([number]) and losses(store) == {}:
            store.release(theirs, TWO)
            if how != "given back":
                with store.engine.begin() as connection:
                    connection.exec_driver_sql("update trials set cohort_id = null")
                    connection.exec_driver_sql("update cohorts set status = 'done'")
        return held(experiment_ids)

    monkeypatch.setattr(store, "held", late)
    idle = Idle(0, capacity=2)
    executor, tally = go(store, number, [idle], [], [Told(0, STARTED), outcome(0, 0.5), idle])
    assert (len(executor.given), tally.finished, losses(store)) == (1, 1, {1: 0.5})


def test_only_what_was_wanted_counts(store: Store) -> None:
    """The cohort was planned for a larger experiment."""
    large = store.register(instance(*(wanted(seed=seed) for seed in range(4))))
    store.plan(large, group)
    small = store.register(instance(wanted(seed=2), name="small"))
    ended = [Told(0, STARTED), *(outcome(slot, 0.5) for slot in range(4)), Idle(0, capacity=4)]
    _, tally = go(store, small, [Idle(0, capacity=4)], ended)
    assert (tally.total, tally.finished, tally.elsewhere) == (1, 1, 0)
    assert len(losses(store)) == 4


def _dies(*_: object) -> None:
    raise SystemExit(3)


def test_a_worker_that_cannot_start_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not started again and again."""
    monkeypatch.setattr(local_module, "_serve", _dies)
    executor = LocalExecutor("cpu", 1, None)
    try:
        with pytest.raises(BnexpError, match=r"could not start \(exit code 3\)"):
            for _ in range(60):
                executor.poll(1.0)
    finally:
        executor.close()


def test_a_stop_does_not_tear_a_transaction(store: Store, heard: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it came between the last statement and the commit, the frames of its exception would keep the lock."""
    number = store.register(instance(wanted()))
    executor = Scripted([Idle(0, capacity=2)], [Told(0, STARTED)])
    run = Run(store, lambda: executor, [number], folder_for(store.database))
    leave = contextlib._GeneratorContextManager.__exit__
    stops = ["once"]

    def stopped(self: Any, *details: Any) -> Any:
        if stops and self.gen.gi_code.co_name == "writing" and sys._getframe(1).f_code.co_name == "begin":
            stops.pop()
            signal.raise_signal(signal.SIGTERM)
        return leave(self, *details)

    monkeypatch.setattr(contextlib._GeneratorContextManager, "__exit__", stopped)
    with pytest.raises(Stopped):
        run.go(lambda tally: None)
    assert not stops and run.tally.notes == [] and store.held([number]) == []


def test_a_cohort_that_was_taken_in_the_instant_of_a_stop_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = store.register(instance(wanted()))
    take = store.take

    def taken(*arguments: Any) -> None:
        assert take(*arguments) is not None and store.held([number]) != []
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "take", taken)
    run = Run(store, lambda: Scripted([Idle(0, capacity=2)]), [number], folder_for(store.database))
    with pytest.raises(KeyboardInterrupt):
        run.go(lambda tally: None)
    assert run.tally.notes == [] and store.held([number]) == []


def test_what_is_given_back_is_given_back_also_where_the_executor_does_not_end_well(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = store.register(instance(wanted()))
    executor = Scripted([Idle(0, capacity=2)])

    def close() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executor, "close", close)
    monkeypatch.setattr(executor, "submit", lambda *_: close())
    with pytest.raises(KeyboardInterrupt):
        Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    assert store.held([number]) == []


def test_a_signal_to_all_processes_of_a_run_is_no_failure_of_what_they_train() -> None:
    """As SLURM sends it; the parent hears it too, and ends them."""
    executor = LocalExecutor("cpu", 1, None)
    try:
        while not (events := executor.poll(1.0)):
            pass
        assert events == [Idle(0, capacity=48)]
        process = executor._processes[0]
        assert process.pid is not None
        for number in local_module.STOPPING:
            os.kill(process.pid, number)
        assert executor.poll(0.5) == [] and process.is_alive()
    finally:
        executor.close()


@pytest.mark.skipif("torch" in sys.modules and sys.modules["torch"].cuda.is_available(), reason="has a GPU")
def test_one_worker_a_gpu_is_started_and_the_others_where_it_turns_out_to_be_no_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(local_module, "DEVICES", tmp_path)
    executor = LocalExecutor("auto", 2, None)
    try:
        assert list(executor._processes) == [0]
        events: list[Event] = []
        while len(events) < 2:
            events += executor.poll(1.0)
        assert {event.worker for event in events} == {0, 1} == set(executor._processes)
    finally:
        executor.close()


def test_a_worker_that_is_killed_while_it_starts_is_started_again_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = LocalExecutor("cpu", 1, None)
    try:
        started = []
        for _ in range(2):
            started.append(executor._processes[0])
            executor._processes[0].kill()
            assert executor.poll(10.0) == [Failed(0, "the worker process died (exit code -9)")]
        assert executor._processes[0] not in started
        executor._processes[0].kill()
        with pytest.raises(BnexpError, match=r"could not start \(exit code -9\)"):
            executor.poll(10.0)
    finally:
        executor.close()


def test_a_worker_that_died_before_it_was_given_its_cohort_has_failed() -> None:
    executor = LocalExecutor("cpu", 1, None)
    try:
        events: list[Event] = []
        while not events:
            events = executor.poll(1.0)
        [idle] = events
        assert idle == Idle(0, capacity=48)
        executor._processes[0].kill()
        executor._processes[0].join()
        executor.submit(0, [TrialConfig()])
        assert executor.poll(1.0) == [Failed(0, "the worker process died (exit code -9)")]
    finally:
        executor.close()


def test_trial_steps_are_counted_once_more_where_they_are_trained_again(store: Store) -> None:
    number = store.register(instance(*(wanted(seed=seed) for seed in range(2))))
    idle, began = Idle(0, capacity=2), Told(0, STARTED)
    resumed = [began, Told(0, Resumed(300, 2)), Told(0, Progress(1000, 2, 2 * 700))]
    _, tally = go(
        store,
        number,
        [idle],
        [began, Told(0, Progress(500, 2, 2 * 500)), Failed(0, "killed")],
        [idle],
        [*resumed, outcome(0, 0.5), outcome(1, 0.5), idle],
    )
    assert tally.steps == 2 * 500 + 2 * 700 == tally.total_steps and tally.finished == 2


class ByHand(Scripted):
    """ByHand by hand when what was written down has come to its end."""

    def poll(self, seconds: float) -> list[Event]:
        if not self.polls:
            raise KeyboardInterrupt
        return super().poll(seconds)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "trains the 3 left."),
        ([Saved("cohort-1.safetensors")], "trains the 3 left, 2 of them from the last checkpoint on."),
        ([Resumed(500, 2)], "trains the 3 left, 2 of them from the last checkpoint on."),
    ],
)
def test_a_run_that_is_stopped_speaks_of_the_checkpoints_that_there_are(
    store: Store, capsys: pytest.CaptureFixture[str], told: list[Record], said: str
) -> None:
    """Of two cohorts of two trials, one trial has ended, in the cohort that tells of no checkpoint."""
    number = store.register(instance(*(wanted(seed=seed) for seed in range(4))))
    idle = [Idle(worker, capacity=2) for worker in (0, 1)]
    began = [Told(worker, STARTED) for worker in (0, 1)]
    executor = ByHand(idle, [*began, *(Told(1, record) for record in told), outcome(0, 0.5)])
    run = Run(store, lambda: executor, [number], folder_for(store.database))
    progress = Screen(["it"])
    progress.begin(run.tally, tuning=0)
    with pytest.raises(KeyboardInterrupt):
        run.go(progress.show)
    progress.interrupted("bnexp run it")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"Stopped; 1 trial of this run kept. `bnexp run it` again {said}"


def test_whoever_watches_sees_each_cohort(store: Store) -> None:
    number = store.register(instance(*(wanted(seed=seed) for seed in range(3))))
    idle, began = Idle(0, capacity=3), Told(0, STARTED)
    diverged = Told(0, Outcome(1, "diverged", (), None, 7, "nan"))
    polls = [[idle], [began, Told(0, Resumed(300, 3))], [Told(0, Progress(400, 3, 300)), diverged]]
    executor, seen = Scripted(*polls, [outcome(0, 0.5), outcome(2, 0.5), idle]), list[list[Working]]()
    run = Run(store, lambda: executor, [number], folder_for(store.database))
    run.go(lambda tally: seen.append(tally.cohorts))
    assert seen == [[], [Working(1, 300, 1000, 3, 3, 0)], [Working(1, 400, 1000, 3, 2, 1)], []]


def test_a_message_that_is_cut_off_is_a_worker_that_died() -> None:
    """Killed while it was telling something large."""
    executor = LocalExecutor("cpu", 1, None)
    try:
        while executor.poll(1.0) != [Idle(0, capacity=48)]:
            pass
        executor._processes[0].kill()
        executor._processes[0].join()
        reader, writer = os.pipe()
        os.write(writer, (1000).to_bytes(4, "big") + b"some of it")
        os.close(writer)
        executor._pipes[0] = connection.Connection(reader)
        assert executor.poll(1.0) == [Failed(0, "the worker process died (exit code -9)")]
    finally:
        executor.close()


PARENT = """
import time
from bnexp.config import TrialConfig
from bnexp.executors.local import LocalExecutor

if __name__ == "__main__":
    executor = LocalExecutor("cpu", 1, None)
    while not executor.poll(1.0):
        pass
    executor.submit(0, [TrialConfig(steps=10**8, eval_every=10**8)])
    executor.poll(60.0)
    print(executor._processes[0].pid, flush=True)
    time.sleep(600)
"""


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """At once, not when they next have something to tell."""
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(1.5)  # it is far from the next evaluation then
    parent.kill()
    parent.communicate()
    assert still_there([worker], 1.0) == 0


def test_leases_are_renewed_with_the_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LEASE_SECONDS", 0.0)
    number = store.register(instance(wanted(seed=1)))
    seen = []

    class Watching(Scripted):
        def poll(self, seconds: float) -> list[Event]:
            with store.engine.connect() as opened:
                seen.append(opened.exec_driver_sql("select lease_until, step from cohorts").all())
            return super().poll(seconds)

    idle, began = Idle(0, capacity=2), Told(0, STARTED)
    executor = Watching([idle], [began, Told(0, Progress(5, 1, 5))], [outcome(0, 0.5), idle])
    Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    [[], [(taken, _)], [(renewed, step)]] = seen
    assert renewed > taken and step == 5


def test_a_cohort_that_comes_back_is_trained_once(store: Store) -> None:
    """Another run took it over and gave it back; a worker of ours takes it while another still trains it, as it was."""
    number = store.register(instance(wanted(seed=1)))
    rival = Store(store.database)

    class Overtaken(Scripted):
        def poll(self, seconds: float) -> list[Event]:
            if len(self.given) == 1 and not self.dropped:
                expire(rival, number)
                job = rival.take([number], TWO)
                assert job is not None
                rival.release(job, TWO)
            return super().poll(seconds)

    ended = [Told(1, STARTED), replace(outcome(0, 0.25), worker=1), Idle(1, capacity=1)]
    executor = Overtaken([Idle(0, capacity=1)], [Idle(1, capacity=1)], ended)
    Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    assert executor.dropped == [0] and [worker for worker, _ in executor.given] == [0, 1]
    assert losses(store) == {1: 0.25}


def test_a_stage_that_another_run_adds_counts_as_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LEASE_SECONDS", 0.0)
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, partial(group, limit=1))
    theirs = store.take([number], TWO)
    assert theirs is not None

    class Meanwhile(Scripted):
        def poll(self, seconds: float) -> list[Event]:
            if len(self.polls) == 4:
                store.store(theirs, TWO, [Outcome(0, "finished", (), GOOD)], STARTED, 1.0)
                store.confirm(number, [wanted(seed=3)])
            return super().poll(seconds)

    idle, began = Idle(0, capacity=1), Told(0, STARTED)
    executor = Meanwhile([idle], [began], [outcome(0, 0.5), idle], [], [began, outcome(0, 0.5), idle])
    tally = Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    assert (tally.total, tally.finished, tally.elsewhere) == (3, 2, 1)


@pytest.mark.parametrize("at", ["in the loop", "at the end"])
def test_what_stops_a_run_while_it_stores_loses_no_result(
    store: Store, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    number = store.register(instance(wanted(seed=1)))
    whole, stopped = Store.store, []

    def stop_once(*arguments: Any) -> None:
        if not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        whole(*arguments)

    monkeypatch.setattr(Store, "store", stop_once)
    idle = Idle(0, capacity=1)
    told: list[Event] = [Told(0, STARTED), outcome(0, 0.25)] + ([idle] if at == "at the end" else [])
    with pytest.raises(KeyboardInterrupt):
        go(store, number, [idle], told)
    assert stopped and losses(store) == {1: 0.25}
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("select status, worker from cohorts").all() == [("done", None)]


def test_where_no_worker_is_left_it_ends_when_others_have_trained_the_rest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ALONE_SECONDS", 0.0)
    number = store.register(instance(wanted(seed=1), wanted(norm="batch", seed=1)))
    rival = Store(store.database)

    class Lonely(Scripted):
        def poll(self, seconds: float) -> list[Event]:
            if not self.polls:  # nobody is left here
                job = rival.take([number], TWO)
                if job is not None:
                    rival.store(job, TWO, [Outcome(slot, "finished", (), GOOD) for slot in (0,)], STARTED, 1.0)
                return []
            return super().poll(seconds)

    executor = Lonely([Idle(0, capacity=1)], [Lost(0, "its node is gone")])
    tally = Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    assert runner.NO_WORKER in tally.notes and (tally.finished, tally.elsewhere) == (0, 2)
    assert store.left([number])[0] == 0


def test_time_in_a_queue_is_not_a_trials(store: Store) -> None:
    class Queued(Scripted):
        def poll(self, seconds: float) -> list[Event]:
            time.sleep(0.3)
            return super().poll(seconds)

    number = store.register(instance(wanted(seed=1)))
    idle = Idle(0, capacity=1)
    executor = Queued([idle], [], [], [Told(0, STARTED), outcome(0, 0.25), idle])
    Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("select seconds from trials").scalar_one() < 0.3


def test_cohorts_that_would_only_wait_are_left_to_others(store: Store) -> None:
    """Two workers are idle, and the first one's cohort finds no room before the third look."""
    number = store.register(instance(*(wanted(seed=seed) for seed in range(2))))
    held = []

    class Full(Scripted):
        def has_room(self) -> bool:
            return not self.given or len(self.polls) < 3

        def poll(self, seconds: float) -> list[Event]:
            held.append(len(store.held([number])))
            return super().poll(seconds)

    def ends(worker: int) -> list[Event]:
        return [replace(told, worker=worker) for told in (Told(0, STARTED), outcome(0, 0.5), Idle(0, capacity=1))]

    executor = Full([Idle(0, capacity=1), Idle(1, capacity=1)], [], [], ends(1), ends(0))
    Run(store, lambda: executor, [number], folder_for(store.database)).go(lambda tally: None)
    assert held == [0, 1, 1, 2, 1] and len(losses(store)) == 2
