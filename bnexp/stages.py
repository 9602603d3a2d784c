"""A run from beginning to end: the tune stage of the experiments that have one, the choice of a level for each arm, and
the trials that confirm. Each step looks at what is stored first, so a run that stopped anywhere goes on from there, and
several at once agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from bnexp.artifacts import Folder
from bnexp.claims.about import about
from bnexp.claims.expectations import expectations
from bnexp.claims.model import Claim
from bnexp.claims.own import refuse_unfit
from bnexp.claims.stored import known_effects
from bnexp.claims.tuning import choose, unfinished
from bnexp.db.results import Results
from bnexp.db.rows import Instance, WantedTrial
from bnexp.db.store import Store
from bnexp.design import Experiment
from bnexp.enrolling import Identifier, close_books, enroll, instantiate, rehearse
from bnexp.executors import Executor
from bnexp.judging import Judging
from bnexp.provenance import is_gone
from bnexp.records import Choice, Columns, Tally
from bnexp.reports.plan import Outlook
from bnexp.runner import Run
from bnexp.text import counted


@dataclass(frozen=True)
class Wish:
    """An experiment that is to be run here, and the instance that it then is."""

    experiment: Experiment
    instance: Instance
    data_dir: Path | None

    @classmethod
    def of(cls, experiment: Experiment, overrides: str, data_dir: Path | None) -> "Wish":
        """Raises DatasetError where a dataset is missing."""
        return cls(experiment, instantiate(experiment, overrides, data_dir), data_dir)

    def find(self, results: Results | None) -> int | None:
        """The instance's number; None where it has not been run."""
        ours = self.instance
        return results.find(ours.name, ours.overrides, ours.expansion) if results else None

    def confirming(self, choices: Sequence[Choice]) -> list[WantedTrial]:
        """The confirming trials at the levels chosen."""
        if not self.instance.tune:
            return self.instance.trials
        levels = {choice.arm: choice.level for choice in choices}
        return Identifier(self.data_dir)(self.experiment.expand(levels))


def refuse_unjudgeable(wishes: Sequence[Wish], claims: Mapping[str, Claim]) -> None:
    """Raise UsageError where a claim about one could not be judged."""
    for wish in wishes:
        refuse_unfit(about(claims, wish.instance))


def refuse_impossible(wishes: Sequence[Wish], results: Results | None) -> None:
    """Raise UsageError where a trial could not train of an instance that has not been run before."""
    for wish in wishes:
        if wish.find(results) is None:
            rehearse(wish.instance, wish.data_dir)


def outlook(wish: Wish, results: Results | None, claims: Mapping[str, Claim]) -> Outlook:
    """What `wish` comes to, given what is stored. Raises UsageError where a trial of it could not train."""
    instance = wish.instance
    refuse_unjudgeable([wish], claims)
    refuse_impossible([wish], results)
    found = wish.find(results)
    choices = results.choices(found) if results and found is not None else []
    known = known_effects(results.effects(instance.name)) if results else {}
    expected = expectations(about(claims, instance), len(wish.experiment.seeds), instance.margin, known)
    return Outlook(wish.experiment, replace(instance, trials=wish.confirming(choices)), choices, expected)


class Watch(Protocol):
    """Whoever is told how a run goes."""

    def say(self, line: str) -> None:
        """A sentence for the person."""

    def begin(self, tally: Tally, tuning: int) -> None:
        """Trials begin to train, of which `tuning` are for choosing levels."""

    def show(self, tally: Tally) -> None:
        """Something may have changed."""

    def end(self, tally: Tally) -> None:
        """They have all ended."""


class Course:
    """The course of one run of some experiments."""

    def __init__(
        self,
        store: Store,
        wishes: Sequence[Wish],
        make_executor: Callable[[], Executor],
        folder: Folder,
        watch: Watch,
    ) -> None:
        """Checkpoints are kept in `folder`."""
        self.store, self.wishes, self.folder, self.watch = store, list(wishes), folder, watch
        self._make_executor = make_executor
        self._retry_failed = False
        self._judging: Judging | None = None
        store.patience.say = watch.say
        self.ids: list[int] = []

    def go(self, claims: Mapping[str, Claim], retry_failed: bool = False) -> int:
        """Run everything and judge it; the number of trials that have failed, now or before. On an exception, Ctrl-C
        included, what had ended is stored."""
        self._retry_failed = retry_failed
        self.ids = enroll(self.store, [wish.instance for wish in self.wishes], claims, retry_failed)
        self._judging = Judging(self.store, self.ids, claims, self.folder.files)
        self._judging.written |= {n for n, wish in zip(self.ids, self.wishes, strict=True) if not wish.instance.tune}
        self._end_abandoned()
        for experiment_id, wish in zip(self.ids, self.wishes, strict=True):
            self._widen(experiment_id, wish, wish.instance.tuning or wish.instance.trials)
        tuned = [(number, wish) for number, wish in zip(self.ids, self.wishes, strict=True) if wish.instance.tune]
        waiting = [(number, wish) for number, wish in tuned if not self._settle(number, wish)]
        self._train([number for number, _ in waiting])
        confirming = [self._choose(number, wish) and self._settle(number, wish) for number, wish in waiting]
        if any(confirming):
            self._train([])
        close_books(self.store, self.ids, claims, self.folder.files)
        return self.store.failed(self.ids)

    def _end_abandoned(self) -> None:
        """Give back what runs that are gone had begun, so that it may be trained otherwise."""
        for lease in self.store.held(self.ids):
            if is_gone(lease.worker):
                self.store.expire(lease)

    def _settle(self, experiment_id: int, wish: Wish) -> bool:
        """Want the confirming trials, if the levels are chosen; whether they are."""
        choices = self.store.choose(experiment_id, [])
        if not choices:
            return False
        confirming = wish.confirming(choices)
        self.store.confirm(experiment_id, confirming)
        if self._judging:
            self._judging.written.add(experiment_id)
        if self._retry_failed:
            self.store.retry(experiment_id)
        self._widen(experiment_id, wish, confirming)
        return True

    def _train(self, tuning_ids: Sequence[int]) -> None:
        """Train what is wanted by now; `tuning_ids` are the instances whose levels are still to be chosen."""
        run = Run(self.store, self._make_executor, self.ids, self.folder)
        if run.tally.total:
            self.watch.begin(run.tally, self.store.left(tuning_ids)[0] if tuning_ids else 0)
            self.watch.end(run.go(self._show))

    def _show(self, tally: Tally) -> None:
        if self._judging:
            tally.standings = self._judging.look()
        self.watch.show(tally)

    def _choose(self, experiment_id: int, wish: Wish) -> bool:
        """Choose the level of each arm and write them down; whether it could be done."""
        tune = wish.experiment.tune
        assert tune
        trials = self.store.patience(partial(_tuning, self.store.database, experiment_id))
        name, missing = wish.instance.name, unfinished(trials)
        if missing:
            self.watch.say(
                f"{name}: {counted(missing, 'tuning trial')} failed, so no level of {tune.factor} is chosen and no "
                "trial confirms"
            )
            return False
        choices = self.store.choose(experiment_id, choose(trials, tune.factor))
        edges = sum(choice.at_edge for choice in choices)
        at_edge = f", {edges:,} of them at an edge of the levels tried" if edges else ""
        self.watch.say(f"{name}: chose the level of {tune.factor} for {counted(len(choices), 'arm')}{at_edge}")
        return True

    def _widen(self, experiment_id: int, wish: Wish, trials: Sequence[WantedTrial]) -> None:
        """Let what is still to be trained record what this experiment wants; say what was trained without."""
        for lack, count in self.store.widen(experiment_id, trials).items():
            self.watch.say(f"{wish.instance.name}: {counted(count, 'trial')} trained before {lack}")


def _tuning(database: str, experiment_id: int) -> Columns:
    """The trials of the instance's tune stage."""
    results = Results(database)
    try:
        return results.trials(experiment_id, "tune")
    finally:
        results.close()
