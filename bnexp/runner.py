"""Running experiments: from what is wanted to what is missing, to cohorts, to workers, to stored results."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

from bnexp.claims.model import Claim, about
from bnexp.claims.report import make_report
from bnexp.claims.stored import judged
from bnexp.data.dataset import Source, source
from bnexp.db.results import Results
from bnexp.db.rows import Instance, Job, WantedTrial
from bnexp.db.store import LEASE_SECONDS, LeaseLostError, Store
from bnexp.design import Experiment, Trial
from bnexp.engine.cohort import group
from bnexp.executors import Event, Executor, Failed, Idle, Told
from bnexp.identity import trial_keys
from bnexp.provenance import is_gone, this_worker
from bnexp.records import Outcome, Progress, Started, Tally

POLL_SECONDS = 0.5


def instantiate(experiment: Experiment, overrides: str, data_dir: Path | None) -> Instance:
    """Expand `experiment` and find the identity of every trial. Raises DatasetError where a dataset is missing."""
    identify = Identifier(data_dir)
    trials, tuning = identify(experiment.expand()), identify(experiment.tuning_trials())
    tune = str(experiment.tune) if experiment.tune else ""
    return Instance(experiment.name, experiment.about, overrides, identify.margin, trials, tuning, tune)


class Identifier:
    """Finds the identity of trials on this machine's data."""

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self._sources: dict[str, tuple[Source, str]] = {}

    def __call__(self, trials: Iterable[Trial]) -> list[WantedTrial]:
        """The trials with their identities. Raises DatasetError where a dataset is missing."""
        wanted = []
        # Trials of one arm and level differ in their seed only.
        for (variant, arm, _), same in groupby(trials, key=lambda trial: (trial.variant, trial.arm, trial.level)):
            configs = [trial.config for trial in same]
            name = configs[0].dataset
            if name not in self._sources:
                found = source(name, self.data_dir)
                self._sources[name] = found, found.fingerprint()
            dataset, fingerprint = self._sources[name]
            keys = trial_keys(configs[0], fingerprint, (config.seed for config in configs))
            wanted += [
                WantedTrial(key, config, fingerprint, dataset.classes, variant, arm)
                for key, config in zip(keys, configs, strict=True)
            ]
        return wanted

    @property
    def margin(self) -> float:
        """The largest margin of the datasets met."""
        return max(dataset.margin for dataset, _ in self._sources.values())


def enroll(
    store: Store, instances: Sequence[Instance], claims: Mapping[str, Claim], retry_failed: bool = False
) -> list[int]:
    """Lock the claims about these instances and write down what is wanted, with `retry_failed` what failed before
    too."""
    ids = []
    for instance in instances:
        ours = about(claims, instance.name)
        store.lock_claims([(claim.key(name), name, claim.definition()) for name, claim in ours.items()])
        ids.append(store.register(instance))
        if retry_failed:
            store.retry(ids[-1])
    return ids


def close_books(store: Store, experiment_ids: Sequence[int], claims: Mapping[str, Claim]) -> None:
    """Judge the claims about each instance and store the verdicts."""
    results = Results(store.database)
    for instance in results.instances():
        if instance.id in experiment_ids:
            findings = make_report(results, instance, about(claims, instance.name)).findings
            store.store_verdicts(instance.id, [judged(finding) for finding in findings])
    results.close()


@dataclass
class _Training:
    """A cohort that a worker of ours trains."""

    job: Job
    left: int
    """Trials that have not ended."""
    began: float = field(default_factory=time.monotonic)
    started: Started | None = None
    step: int = 0
    unstored: list[Outcome] = field(default_factory=list)


class Run:
    """One `bnexp run`: keeps an executor's workers supplied until nothing is left of some instances."""

    def __init__(self, store: Store, make_executor: Callable[[], Executor], experiment_ids: Sequence[int]) -> None:
        self.store, self.experiment_ids = store, list(experiment_ids)
        self._make_executor = make_executor
        self.worker = this_worker()
        total, steps = store.left(self.experiment_ids)
        self.tally = Tally(total, total_steps=steps)
        self._training: dict[int, _Training] = {}
        self._idle: set[int] = set()
        self._planned = False
        self._renewed = time.monotonic()

    def go(self, watch: Callable[[Tally], None]) -> Tally:
        """Train everything; `watch` is called whenever something may have changed. On an exception, Ctrl-C included,
        what had ended is stored and what was begun is given back."""
        if self.tally.total == 0:
            return self.tally
        executor = self._make_executor()
        try:
            while self._supply(executor):
                for event in executor.poll(POLL_SECONDS):
                    self._handle(event)
                for training in self._training.values():
                    self._store(training)
                self._renew()
                watch(self.tally)
        finally:
            executor.close()
            for training in self._training.values():
                with suppress(LeaseLostError):
                    self._store(training)
                    self.store.release(training.job, self.worker)
        return self.tally

    def _supply(self, executor: Executor) -> bool:
        """Give every idle worker a cohort; whether there is anything left to wait for."""
        while self._idle:
            job = self.store.take(self.experiment_ids, self.worker)
            if job is None:
                return bool(self._training) or self._others_work()
            number = self._idle.pop()
            self._training[number] = _Training(job, len(job.configs))
            executor.submit(number, job.configs)
        return True

    def _others_work(self) -> bool:
        """Whether other processes still train what we want. Those of this machine that are gone lose their leases."""
        workers = set(self.store.running(self.experiment_ids))
        for name in workers:
            if is_gone(name):
                self.store.expire(name)
        return bool(workers)

    def _handle(self, event: Event) -> None:
        training = self._training.get(event.worker)
        match event:
            case Idle(worker, capacity):
                self._plan(capacity)
                self._idle.add(worker)
                if training:
                    self._store(training)
                    self._leave(worker, lambda: self.store.finish(training.job, self.worker))
            case Failed(worker, error):
                self._idle.discard(worker)
                if training:
                    self._store(training)
                    self.tally.failed += training.left
                    self.tally.errors.append(error)
                    self._leave(worker, lambda: self.store.fail(training.job, self.worker, error))
            case Told(record=Started() as started) if training:
                training.started, self.tally.device = started, started.device
            case Told(record=Progress() as progress) if training:
                self.tally.advance(training.step, progress)
                training.step = progress.step
            case Told(record=Outcome() as outcome) if training:
                training.unstored.append(outcome)

    def _plan(self, capacity: int) -> None:
        """Put what is missing into cohorts, once it is known what the workers can take."""
        if not self._planned:
            for experiment_id in self.experiment_ids:
                self.store.plan(experiment_id, partial(group, limit=capacity))
            self._planned = True

    def _leave(self, worker: int, say: Callable[[], None]) -> None:
        with suppress(LeaseLostError):
            say()
        del self._training[worker]

    def _store(self, training: _Training) -> None:
        """Store what has ended of a cohort. Where the lease is lost, another worker stores the same."""
        if not training.unstored or training.started is None:
            return
        seconds = (time.monotonic() - training.began) / len(training.job.configs)
        outcomes, training.unstored = training.unstored, []
        training.left -= len(outcomes)
        for outcome in outcomes:
            self.tally.end(outcome, training.job.configs[outcome.slot].steps)
        with suppress(LeaseLostError):
            self.store.store(training.job, self.worker, outcomes, training.started, seconds)

    def _renew(self) -> None:
        if time.monotonic() - self._renewed > LEASE_SECONDS / 6:
            self._renewed = time.monotonic()
            self.store.renew(self.worker, {t.job.cohort_id: t.step for t in self._training.values()})
