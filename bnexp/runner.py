"""Running: from what is missing to cohorts, to workers, to stored results."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from bnexp.artifacts import Folder
from bnexp.budget import Budget
from bnexp.db.hurrying import within
from bnexp.db.leases import LEASE_SECONDS, Lease, LeaseLostError
from bnexp.db.store import Store
from bnexp.engine.cohort import group
from bnexp.errors import DatabaseError
from bnexp.executors import Event, Executor, Failed, Idle, Lost, Told
from bnexp.provenance import is_gone, this_worker
from bnexp.records import Note, Outcome, Progress, Record, Resumed, Saved, Started, Tally
from bnexp.text import counted, last_line
from bnexp.training import Training

POLL_SECONDS = 0.5
ENDING_SECONDS = 10.0
"""For writing what is left to write, where a run is stopped."""
ALONE_SECONDS = 10.0
NO_WORKER = "there is no worker any more; waiting for one"
NOT_GIVEN_BACK = f"could not be given back to the database; leases end by themselves within {LEASE_SECONDS:.0f} s"

COUNTING_SHARE = 0.002
"""Of a run's time at most, for counting what others have trained: of a million trials it takes a server a second, and
hundreds of runs may ask."""


class Run:
    """One `bnexp run`: keeps an executor's workers supplied until nothing is left of some instances."""

    def __init__(
        self, store: Store, make_executor: Callable[[], Executor], experiment_ids: Sequence[int], folder: Folder
    ) -> None:
        """Checkpoints are kept in `folder`."""
        self.store, self.experiment_ids, self.folder = store, list(experiment_ids), folder
        self._make_executor = make_executor
        self.worker = this_worker()
        total, steps = store.left(self.experiment_ids)
        self.tally = Tally(total, total_steps=steps)
        self._before = store.ended(self.experiment_ids)
        self._training: dict[int, Training] = {}
        self._idle: set[int] = set()
        self._capacity = 0
        """The most trials in a cohort; 0 before a worker has told."""
        self._renewed = time.monotonic()
        self._counting = Budget(COUNTING_SHARE)
        self._alone = time.monotonic()
        """When there last was a worker, or was no need of one."""
        self._seen: dict[Lease, float] = {}
        """The leases of others, and since when each has not moved, by our own clock that nobody sets."""

    def go(self, watch: Callable[[Tally], None]) -> Tally:
        """Train everything; `watch` is called whenever something may have changed. On an exception, Ctrl-C included,
        what had ended is stored and what was begun is given back."""
        if self.tally.total == 0:
            return self.tally
        self.folder.tidy(self.store.unfinished())
        executor = self._make_executor()
        try:
            while self._supply(executor):
                for event in executor.poll(POLL_SECONDS):
                    self._handle(event)
                for worker, training in list(self._training.items()):
                    self._under_lease(executor, worker, partial(self._store, worker, training))
                self._renew(executor)
                self.tally.cohorts = [training.seen for training in self._training.values()]
                watch(self.tally)
            self._count()
            self.folder.tidy(self.store.unfinished())
        except BaseException:
            try:
                executor.close()
            finally:
                self._leave()
            raise
        executor.close()
        return self.tally

    def _leave(self) -> None:
        """Store what has ended of what was begun, and give the rest back: each is tried once, all of it for a while."""
        self.tally.saved = sum(len(training.left) for training in self._training.values() if training.kept)
        self.store.hurry(ENDING_SECONDS)
        within(ENDING_SECONDS, self._give_all_back)
        if self._training:
            self.tally.notes.append(f"{counted(len(self._training), 'cohort')} {NOT_GIVEN_BACK}")

    def _give_all_back(self) -> None:
        for worker, training in list(self._training.items()):
            with suppress(DatabaseError):
                self._hand_in(worker, training)
        with suppress(DatabaseError):
            self._end_abandoned()  # we may have been stopped in the instant of taking one

    def _hand_in(self, worker: int, training: Training) -> None:
        """Store what has ended of a cohort, and give the rest back, unless somebody has taken it over."""
        with suppress(LeaseLostError):
            self._store(worker, training)
            if training.left:
                self.store.release(training.job, self.worker)
        self._training.pop(worker, None)

    def _supply(self, executor: Executor) -> bool:
        """Give every idle worker a cohort that there is room for; whether there is anything left to wait for."""
        while self._idle and executor.has_room():
            job = self.store.take(self.experiment_ids, self.worker)
            if job is None:
                if not self._end_abandoned():
                    return bool(self._training or self._seen) or self._plan_again()
                continue
            for worker, lost in list(self._training.items()):
                if lost.job.cohort_id == job.cohort_id:  # whoever took it over has given it back, or forgotten it
                    self._lose(executor, worker)
            number = self._idle.pop()
            self._training[number] = Training(job)
            checkpoint = self.folder.checkpoint(job, self.worker.program)
            executor.submit(number, job.configs, checkpoint, job.fingerprint)
        if self._training or not self._capacity:
            self._alone = time.monotonic()
        return time.monotonic() - self._alone < ALONE_SECONDS or self._worth_waiting()

    def _worth_waiting(self) -> bool:
        """Whether anything is left, where there is no worker any more and others may have trained it. Asked now and
        then."""
        self._alone = time.monotonic()
        left, _ = self.store.left(self.experiment_ids)
        if left and NO_WORKER not in self.tally.notes:
            self.tally.notes.append(NO_WORKER)
        return left > 0

    def _end_abandoned(self) -> bool:
        """End the leases of others, on what we want, under which nobody trains any more; whether there are any. Their
        process is gone, or they were not renewed for as long as a lease lasts, whatever the clock by which they were
        written says; or they are our own, of a cohort that we do not have: its taking was answered to nobody."""
        ours = {(training.job.cohort_id, training.job.taken) for training in self._training.values()}
        others = [lease for lease in self.store.held(self.experiment_ids) if (lease.cohort_id, lease.taken) not in ours]
        now = time.monotonic()
        self._seen = {lease: self._seen.get(lease, now) for lease in others}
        abandoned = [
            lease
            for lease in others
            if lease.worker == self.worker.name or is_gone(lease.worker) or now - self._seen[lease] > LEASE_SECONDS
        ]
        for lease in abandoned:
            self.store.expire(lease)
        return bool(abandoned)

    def _plan_again(self) -> bool:
        """Put what is left into cohorts, where somebody took it out of its own and did not come to that, or has just
        given it back; whether anything is left."""
        left, _ = self.store.left(self.experiment_ids)
        if left:
            self._plan()
        return left > 0

    def _handle(self, event: Event) -> None:
        training = self._training.get(event.worker)
        match event:
            case Idle(worker, capacity):
                if not self._capacity:
                    self._capacity = capacity
                    self._plan()
                self._idle.add(worker)
                if training:
                    self._end(worker, training, "the worker ended without a result")
            case Failed(worker, error):
                self._idle.discard(worker)
                if training:
                    self._end(worker, training, error)
            case Lost(worker, why):
                self._idle.discard(worker)
                if training:
                    self._give_back(worker, training, why)
            case Told(record=record) if training:
                self._hear(training, record)

    def _hear(self, training: Training, record: Record) -> None:
        """What a worker tells of its cohort."""
        match record:
            case Started():
                training.started, self.tally.device = record, record.device
                training.began = time.monotonic()  # it may have waited for room
                with suppress(LeaseLostError):
                    self.store.begin(training.job, self.worker, record)
            case Resumed(step, trials):
                training.step, training.done, training.kept = step, training.done + step * trials, True
                self.tally.notes.append(f"{counted(trials, 'trial')} to go on from step {step:,}")
            case Progress(step, _, steps):
                training.step = step
                training.done += steps
                self.tally.steps += steps
            case Saved(name) if not training.kept:
                training.kept = True
                with suppress(LeaseLostError):
                    self.store.keep(training.job, self.worker, name)
            case Note(sentence=sentence):
                self.tally.notes.append(sentence)
            case Outcome():
                training.end(record)

    def _plan(self) -> None:
        """Put what is missing into cohorts that fit the workers."""
        for experiment_id in self.experiment_ids:
            self.store.plan(experiment_id, partial(group, limit=self._capacity))

    def _end(self, worker: int, training: Training, error: str) -> None:
        """A worker has ended its cohort, with `error` if not all of it. Until that is written down the cohort is ours:
        whatever stops us in between, `go` stores it and gives it back."""
        try:
            self._store(worker, training)
            if training.left:
                self._fail(training, error)
        except LeaseLostError:
            if training.left:
                self.tally.notes.append(f"a cohort that is no longer ours: {last_line(error)}")
        self._training.pop(worker, None)

    def _give_back(self, worker: int, training: Training, why: str) -> None:
        """A cohort's worker is no more. What has ended of it stays, and the rest has not failed: it is taken again, on
        from its checkpoint."""
        if not training.left:
            return self._end(worker, training, why)
        self._hand_in(worker, training)
        self.tally.notes.append(f"{counted(len(training.left), 'trial')} given back: {why}")
        return None

    def _fail(self, training: Training, error: str) -> None:
        given_up = self.store.fail(training.job, self.worker, error)
        self.tally.failed += sum(training.job.wanted[slot] for slot in given_up)
        again = len(training.left) - len(given_up)
        if given_up:
            self.tally.errors.append(error)
        if again:
            self.tally.notes.append(f"{counted(again, 'trial')} to be tried again: {last_line(error)}")

    def _store(self, worker: int, training: Training) -> None:
        """Store what has ended of a cohort. With the last of it the cohort is done, and its worker has none."""
        if not training.unstored or training.started is None:
            return
        outcomes = training.unstored
        seconds = (time.monotonic() - training.began) / len(training.job.configs)
        self.store.store(training.job, self.worker, outcomes, training.started, seconds)
        training.unstored = []  # not before: whatever stops us, they are stored once more, which changes nothing
        for outcome in outcomes:
            if training.job.wanted[outcome.slot]:
                self.tally.end(outcome, training.job.configs[outcome.slot].steps)
        if not training.left:
            del self._training[worker]
            self.folder.remove(training.job)

    def _renew(self, executor: Executor) -> None:
        if time.monotonic() - self._renewed > LEASE_SECONDS / 6:
            self._renewed = time.monotonic()
            for worker, training in list(self._training.items()):
                renew = partial(self.store.renew, training.job, self.worker, training.step)
                self._under_lease(executor, worker, renew)
            if self._counting.allows():
                self._count()

    def _under_lease(self, executor: Executor, worker: int, write: Callable[[], None]) -> None:
        """Write for the cohort of `worker`; where its lease is lost, whoever has it now trains it, and the worker is
        free for other work."""
        try:
            write()
        except LeaseLostError:
            self._lose(executor, worker)

    def _lose(self, executor: Executor, worker: int) -> None:
        training = self._training.pop(worker)
        self.tally.notes.append(f"another run has taken over {counted(len(training.job.configs), 'trial')}")
        executor.drop(worker)

    def _count(self) -> None:
        """See what is left by now: other runs train too, and may add a stage; what is trained again counts again."""
        with self._counting.spending():
            left, steps = self.store.left(self.experiment_ids)
            ended = self.store.ended(self.experiment_ids)
        self.tally.elsewhere = max(0, ended - self._before - self.tally.ended)
        self.tally.total = self.tally.ended + self.tally.elsewhere + left
        self.tally.total_steps = self.tally.steps + steps - sum(training.done for training in self._training.values())
