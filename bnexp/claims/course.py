"""How the trials beside a row of the paper's table trained: their best accuracy, and their steps to the control's.

Accuracies are those of the trials that did not diverge; how many did is said beside them. Nothing is said of trials
that have not all ended, since those that end first are no fair sample. Pure functions.
"""

import math
from dataclasses import dataclass

import numpy as np

from bnexp.claims.arms import Arm
from bnexp.claims.curves import Curves
from bnexp.claims.data import ENDED, Data
from bnexp.claims.statistics import Interval, Values, sign_flip
from bnexp.columns import combinations, counts, length, take
from bnexp.records import Columns

NEAR = 1e-9
"""Percentage points that summation may take from a mean."""


@dataclass(frozen=True)
class Counts:
    """How many trials there are, and what became of them."""

    trials: int
    ended: int
    failed: int
    diverged: int


@dataclass(frozen=True)
class Course:
    """How the trials of one variant trained. Numbers are of those that did not diverge; None where there are none."""

    best: Interval | None
    """The largest validation accuracy on a trial's curve, in percent: mean over the seeds, and its 95% interval."""
    median_steps: float | None
    """At which half of all seeds, those that diverged too, have come to the control's best; None where fewer do."""
    mean_steps: float | None
    """At which the mean curve first is there; None where it never is, and where most seeds diverged."""
    reached: int
    """How many seeds come to it."""
    ratio: float | None = None
    """The control's steps over its own: how many times fewer they are."""

    @property
    def steps(self) -> float | None:
        """By which half of the seeds have come to the control's best; where fewer do, by which their mean has, as the
        control's always has. None where neither does."""
        return self.mean_steps if self.median_steps is None else self.median_steps


def counted(trials: Columns) -> tuple[Counts, str]:
    """How many there are, and why nothing can be said of them, if so."""
    statuses = counts(trials, "status") if length(trials) else {}
    ended = sum(statuses.get(status, 0) for status in ENDED)
    found = Counts(length(trials), ended, statuses.get("failed", 0), statuses.get("diverged", 0))
    if not found.trials:
        return found, "no trials here"
    if ended < found.trials:
        remedy = f"; {found.failed} failed; run again with --retry-failed" if found.failed else ""
        return found, f"{ended} of {found.trials} trials have ended{remedy}"
    return found, ""


def rates(trials: Columns) -> tuple[float, ...]:
    """Their initial learning rates, each once, the smallest first."""
    if not length(trials):
        return ()
    pairs, _ = combinations(trials, ("lr", "lr_multiplier"))
    return tuple(sorted({float(f"{lr * multiplier:.12g}") for lr, multiplier in pairs}))


def mean_of(values: Values) -> Interval:
    """The mean over seeds, and the interval that claims are judged by."""
    return sign_flip(values).interval()


class Seen:
    """The curves beside one row."""

    def __init__(self, name: str, trials: Columns, data: Data) -> None:
        self.name = name
        self.counts, self.doubt = counted(trials)
        if not self.doubt and len(np.unique(trials["seed"])) < self.counts.trials:
            self.doubt = "several trials have one seed; narrow `where`"
        self.rates = rates(trials)
        self.steps, self.accuracy = np.empty(0), np.empty((0, 0))
        if not self.doubt:
            whole = take(trials, trials["status"] == "finished")
            if length(whole):
                curves = Curves.of(Arm(name, whole, data.curves, data.probes), whole, "validation_accuracy")
                self.steps, self.accuracy = curves.steps, curves.accuracy(whole)
                if not len(self.steps):
                    self.doubt = "its trials were evaluated at no step that all of them share"
        self.mean = self.accuracy.mean(axis=0) if self.accuracy.size else np.empty(0)

    @property
    def peak(self) -> float | None:
        """The largest of the mean curve, in percent."""
        return float(self.mean.max()) if len(self.mean) else None

    def course(self, target: float | None) -> Course | None:
        """How they trained; None where nothing can be said of them."""
        if self.doubt:
            return None
        if not self.accuracy.size:
            return Course(None, None, None, 0)
        best = mean_of(self.accuracy.max(axis=1))
        if target is None:
            return Course(best, None, None, 0)
        first = np.full(self.counts.trials, math.inf)
        first[: len(self.accuracy)] = self._first(self.accuracy, target)
        half, mean = np.sort(first)[(len(first) - 1) // 2], self._first(self.mean[None], target)[0]
        if 2 * self.counts.diverged > self.counts.trials:
            mean = math.inf  # a curve of the few that are left is not the variant's
        return Course(best, _known(half), _known(mean), int(np.isfinite(first).sum()))

    def _first(self, accuracy: Values, target: float) -> Values:
        """[curves] The first step at which each of `accuracy` [curves, points] is at the target; infinite where none
        is."""
        first: Values = np.where(accuracy >= target - NEAR, self.steps, math.inf).min(axis=1)
        return first


def _known(steps: float) -> float | None:
    return float(steps) if math.isfinite(steps) else None
