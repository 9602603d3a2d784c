"""Training stored trials again, in memory, and saying of each whether the same comes out. Nothing is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bnexp import own, registry
from bnexp.comparison import Comparison, Verified, compare
from bnexp.config import TrialConfig, leaves
from bnexp.data.dataset import source
from bnexp.db import rows
from bnexp.db.results import Results
from bnexp.db.stored import Stored
from bnexp.engine.cohort import group
from bnexp.errors import DatasetError, UsageError
from bnexp.executors import Event, Executor, Failed, Idle, Lost, Told
from bnexp.executors.local import cores
from bnexp.identity import trial_key
from bnexp.records import Outcome, Progress, Started, Tally
from bnexp.text import last_line

POLL_SECONDS = 0.5


@dataclass
class _Training:
    """A cohort that a worker trains."""

    trials: list[int]
    """By their places among all that are trained, in slot order."""


class Verification:
    """One `bnexp verify`: stored trials on their way through an executor's workers once more."""

    def __init__(self, trials: Sequence[Stored], data_dir: Path | None) -> None:
        """Find out which of `trials` can be trained again."""
        self.trials = trials
        self._compared: dict[str, Comparison] = {}
        """By trial key."""
        self._wanted: list[tuple[Stored, TrialConfig]] = []
        fingerprints: dict[str, str] = {}
        for trial in trials:
            prepared = _prepare(trial, fingerprints, data_dir)
            if isinstance(prepared, str):
                self._compared[trial.key] = Comparison("not comparable", where=prepared)
            else:
                self._wanted.append((trial, prepared))
        self.tally = Tally(len(self._wanted), total_steps=sum(config.steps for _, config in self._wanted))
        self.machine: Started | None = None
        """What it runs on; None before it does."""
        self._waiting: list[list[int]] | None = None
        """Cohorts that no worker has yet; None until it is known what the workers can take."""
        self._training: dict[int, _Training] = {}
        self._idle: set[int] = set()

    @property
    def workers(self) -> int:
        """How many workers it can use on this machine."""
        return min(len(self._cohorts()), cores())

    def go(
        self, make_executor: Callable[[], Executor], tolerance: float, watch: Callable[[Tally], None]
    ) -> list[Verified]:
        """Train everything and compare it with what is stored, to `tolerance` (a relative difference); `watch` is
        called whenever something may have changed. Whatever happens, the workers are stopped."""
        if self._wanted:
            executor = make_executor()
            try:
                while self._supply(executor):
                    for event in executor.poll(POLL_SECONDS):
                        self._handle(event, tolerance)
                    watch(self.tally)
            finally:
                executor.close()
        return [Verified(trial, self._compared[trial.key]) for trial in self.trials]

    def _cohorts(self, **limit: int) -> list[list[int]]:
        return list(group([(config, trial.fingerprint) for trial, config in self._wanted], **limit))

    def _supply(self, executor: Executor) -> bool:
        """Give every idle worker a cohort; whether there is anything left to wait for."""
        while self._idle and self._waiting:
            number, cohort = self._idle.pop(), self._waiting.pop()
            self._training[number] = _Training(cohort)
            again = [self._wanted[place] for place in cohort]
            executor.submit(number, [config for _, config in again], fingerprint=again[0][0].fingerprint)
        return self._waiting is None or bool(self._waiting or self._training)

    def _handle(self, event: Event, tolerance: float) -> None:
        training = self._training.get(event.worker)
        match event:
            case Idle(worker, capacity):
                if self._waiting is None:
                    self._waiting = self._cohorts(limit=capacity)
                self._idle.add(worker)
                self._training.pop(worker, None)
            case Failed(worker, error):
                self._idle.discard(worker)
                if training:
                    self._fail(self._training.pop(worker), error)
            case Lost(worker):
                self._idle.discard(worker)
                if training and (left := self._left(self._training.pop(worker))):
                    self._waiting = [*(self._waiting or []), left]
            case Told(record=Started() as started):
                self.machine, self.tally.device = started, started.device
            case Told(record=Progress() as progress):
                self.tally.steps += progress.steps
            case Told(record=Outcome() as outcome) if training:
                self._end(training.trials[outcome.slot], outcome, tolerance)

    def _end(self, place: int, outcome: Outcome, tolerance: float) -> None:
        trial, config = self._wanted[place]
        self._compared[trial.key] = compare(trial.outcome, outcome, tolerance)
        self.tally.end(outcome, config.steps)

    def _fail(self, training: _Training, error: str) -> None:
        """The trials of a cohort that have not ended have failed."""
        self.tally.errors.append(error)
        for place in self._left(training):
            self._compared[self._wanted[place][0].key] = Comparison("failed", where=last_line(error))
            self.tally.failed += 1

    def _left(self, training: _Training) -> list[int]:
        """The places of those of a cohort's trials that have not ended."""
        return [place for place in training.trials if self._wanted[place][0].key not in self._compared]


def choose(results: Results, experiment: str | None, size: int, seed: int) -> list[Stored]:
    """A random sample of the trials that have ended: of the latest instance of `experiment` that has any, else of all.
    The same `seed` chooses the same. Raises UsageError where there is none."""
    results.latest(experiment)
    numbers = [instance.id for instance in results.instances() if instance.name == experiment] if experiment else [None]
    for number in numbers:
        if trials := results.ended(size, seed, number):
            return trials
    raise UsageError(f"no trial of {experiment or 'any experiment'} has ended yet; `bnexp run` trains them")


def _prepare(trial: Stored, fingerprints: dict[str, str], data_dir: Path | None) -> TrialConfig | str:
    """The trial's configuration, or why training it today would not be training the same. `fingerprints` holds those
    of the datasets seen so far."""
    try:
        config = rows.config(trial.config)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        return f"this bnexp does not know its configuration ({name}: {first['input']!r})"
    if config.dataset not in fingerprints:
        try:
            fingerprints[config.dataset] = source(config.dataset, data_dir).fingerprint()
        except (DatasetError, UsageError) as error:
            return str(error)
    if fingerprints[config.dataset] != trial.fingerprint:
        return f"the dataset differs: {config.dataset} is not what it was trained on"
    if changed := own.changed(config.sources):
        return f"the source of {changed} is not what it was trained by"
    if trial_key(config, trial.fingerprint) == trial.key:
        return config
    used = {leaf.value for leaf in leaves(config) if isinstance(leaf.value, str)}
    revised = sorted(used & {name for name, number in registry.REVISIONS.items() if number != 1})
    return f"bnexp has changed how it {'computes ' + ' and '.join(revised) if revised else 'tells trials apart'}"
