"""The runner between a store and workers that die at bad moments."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bnexp.config import TrialConfig
from bnexp.db.store import Store
from bnexp.errors import BnexpError
from bnexp.executors import Event, Failed, Idle, Told
from bnexp.executors import local as local_module
from bnexp.executors.local import LocalExecutor
from bnexp.records import Final, Outcome, Progress, Tally
from bnexp.runner import Run
from tests.test_db import STARTED, instance, wanted


class Scripted:
    """An executor whose events are written down beforehand, and which notes what it is given."""

    def __init__(self, *polls: list[Event]) -> None:
        self.polls = list(polls)
        self.given: list[tuple[int, list[TrialConfig]]] = []

    def submit(self, worker: int, trials: Sequence[TrialConfig]) -> None:
        self.given.append((worker, list(trials)))

    def poll(self, seconds: float) -> list[Event]:
        assert self.polls, f"the run waits for more than was written; given so far: {self.given}"
        return self.polls.pop(0)

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
    return executor, Run(store, lambda: executor, [number]).go(lambda tally: None)


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


def test_a_trial_that_ended_before_its_worker_died_has_not_failed(store: Store) -> None:
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    told = [Told(0, STARTED), outcome(1, 0.25), Failed(0, "killed")]
    _, tally = go(store, number, [Idle(0, capacity=2)], told, [Idle(0, capacity=2)])
    assert (tally.finished, tally.failed, tally.errors) == (1, 1, ["killed"])
    assert losses(store) == {2: 0.25} and store.failed([number]) == 1


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


def test_a_cohort_that_begins_again_in_halves_adds_to_what_was_trained(store: Store) -> None:
    number = store.register(instance(*(wanted(seed=seed) for seed in range(2))))
    steps = [Told(0, Progress(100, 2)), Told(0, Progress(40, 1)), Told(0, Progress(1000, 1)), outcome(0, 0.5)]
    again = [Told(0, Progress(1000, 1)), outcome(1, 0.5), Idle(0, capacity=2)]
    _, tally = go(store, number, [Idle(0, capacity=2)], [Told(0, STARTED), *steps, *again])
    assert tally.steps == 2 * 100 + 1000 + 1000 and tally.finished == 2
