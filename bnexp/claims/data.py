"""What the trials of an experiment instance say about a measure. Pure functions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from bnexp.claims.arms import (
    Arm,
    Curves,
    Estimate,
    NotEstimableError,
    Predicted,
    Probes,
    choose,
    constant_columns,
    exactly,
    matched,
    no_predictions,
)
from bnexp.claims.model import Arms, Estimator, Measure, free_columns
from bnexp.claims.own import estimator
from bnexp.claims.partial import Partial, as_column, called, columns_of, described
from bnexp.columns import counts, length, levels, take
from bnexp.errors import UsageError
from bnexp.records import Choice, Columns

ENDED = ("finished", "diverged")

MOST_NAMED = 6
"""Arms whose chosen levels are told one by one."""

HOPELESS = 0.05
"""Where no rate comes to so much more accuracy than chance, none is the best, and none at the edge."""


@dataclass(frozen=True)
class Data:
    """What an instance knows."""

    experiment: str
    trials: Columns
    """Those that answer, not those by which rates were chosen."""
    curves: Curves
    margin: float
    """Of accuracy, in percentage points."""
    probes: Probes
    tuning: Columns | None = None
    """The trials by which rates were chosen."""
    choices: Sequence[Choice] = ()
    overrides: str = ""
    predicted: Predicted = no_predictions

    @cached_property
    def chosen(self) -> dict[str, Choice]:
        """The chosen level of each arm."""
        return {choice.arm: choice for choice in self.choices}

    def select(self, measure: Measure) -> Columns:
        """The trials that a measure is about."""
        return choose(self.trials, columns_of(measure.where) | columns_of(measure.estimator.at))

    def sides(self, measure: Measure) -> list[tuple[Partial, Columns]]:
        """The arms of a measure and their trials."""
        about = self.select(measure)
        partials = [p for p in (measure.arms.treatment, measure.arms.control) if p is not None]
        return [(partial, choose(about, columns_of(partial))) for partial in partials]

    def estimate(self, arms: Arms, how: Estimator, trials: Columns) -> Estimate:
        """The effect among `trials`. Raises NotEstimableError where an arm is empty or has not ended."""
        partials = [arms.treatment] if arms.control is None else [arms.treatment, arms.control]
        sides, dropped = [choose(trials, columns_of(partial)) for partial in partials], 0
        if len(sides) == 2:
            free = free_columns(arms, how) | {as_column(choice.factor) for choice in self.choices}
            if any("variant" in partial for partial in partials):
                free |= constant_columns(*sides) if all(map(length, sides)) else set()
            first, second, dropped = matched(sides[0], sides[1], free)
            sides = [first, second]
            if not any(map(self._borrowing, sides)):  # an arm may come to the level that another lends it
                _check_different(first, second)
        for side in sides:
            _check_ended(side)
        treated, *others = (self._arm(described(p), side) for p, side in zip(partials, sides, strict=True))
        try:
            measure = estimator(how)
        except UsageError as error:  # edited while its trials were trained: the others are judged all the same
            raise NotEstimableError(str(error)) from error
        estimate = measure(treated, others[0] if others else None, how, self.margin)
        notes = list(estimate.notes)
        if dropped:
            notes.append(f"{dropped} trials without a counterpart in the other arm are left out")
        open_ = "; ".join(filter(None, [estimate.undecidable, self._edges(sides)]))
        return replace(estimate, notes=notes, undecidable=open_)

    def _arm(self, name: str, trials: Columns) -> Arm:
        return Arm(name or "all trials", trials, self.curves, self.probes, self._tuned_by(trials), self.predicted)

    def _tuned_by(self, trials: Columns) -> Columns | None:
        """The tuning trials of these trials' arms, at the chosen level."""
        if self.tuning is None or not self.choices:
            return None
        keep = np.zeros(length(self.tuning), dtype=bool)
        arms = self.tuning["arm"]
        for arm in counts(trials, "arm"):
            choice = self.chosen.get(arm)
            if choice:
                keep |= (arms == arm) & (self.tuning[as_column(choice.factor)] == choice.level)
        return take(self.tuning, keep)

    def choices_of(self, sides: Sequence[Columns]) -> list[Choice]:
        """What was chosen for the arms of these trials, in their order."""
        arms = [arm for side in sides for arm in counts(side, "arm")] if self.choices else []
        return [self.chosen[arm] for arm in dict.fromkeys(arms) if arm in self.chosen]

    def rates(self, arms: Collection[str]) -> str:
        """What was chosen beforehand for these arms, in a line; empty where nothing was."""
        choices = [choice for choice in self.choices if choice.arm in arms]
        if not choices:
            return ""
        tuned = f"tuned {choices[0].factor.replace('_', ' ')}"
        if len(choices) > MOST_NAMED:
            chosen = [choice.level for choice in choices]
            return f"{tuned} for {len(choices)} arms: {min(chosen):g} to {max(chosen):g}"
        told = [f"{choice.level:g} ({called(choice.arm) or 'every trial'})" for choice in choices]
        return f"{tuned}: {', '.join(told)}"

    def _borrowing(self, side: Columns) -> list[str]:
        """The arms of `side` that have the level of another one."""
        return [arm for arm in counts(side, "arm") if arm not in self.chosen] if self.choices else []

    def _edges(self, sides: Sequence[Columns]) -> str:
        chance = [1 / float(np.min(side["classes"].astype(np.float64))) for side in sides]
        edges = [
            called(choice.arm)
            for choice in self.choices_of(sides)
            if choice.at_edge and choice.score > max(chance) + HOPELESS
        ]
        edges += [arm for side in sides for arm in self._borrowed_edges(side)]
        return f"the best rate is at the edge of its grid ({'; '.join(edges)})" if edges else ""

    def _borrowed_edges(self, side: Columns) -> list[str]:
        """The arms of `side` that were not tuned themselves, but took a level that is an edge."""
        if self.tuning is None or not length(self.tuning) or not self.choices:
            return []
        column = as_column(self.choices[0].factor)
        tried = levels(self.tuning, column)
        taken = {arm: levels(exactly(side, {"arm": arm}), column) for arm in self._borrowing(side)}
        return [called(arm) for arm, own in taken.items() if own[0] in (tried[0], tried[-1])]


def _check_different(treatment: Columns, control: Columns) -> None:
    """A trial is no evidence against itself. Variants are the same where what tells them apart was taken away."""
    if not set(treatment["trial_key"].tolist()).isdisjoint(control["trial_key"].tolist()):
        raise NotEstimableError("a trial stands in both arms, so nothing tells them apart")


def _check_ended(side: Columns) -> None:
    count = length(side)
    if count == 0:
        raise NotEstimableError("the experiment has no trials of one of its arms that match the other's")
    statuses = counts(side, "status")
    ended = sum(statuses.get(status, 0) for status in ENDED)
    if ended < count:
        failed = statuses.get("failed", 0)
        how_many = f"only {ended} of {count} trials of an arm have ended"
        remedy = f"{failed} failed; run again with --retry-failed" if failed else "run it to the end"
        raise NotEstimableError(f"{how_many}; {remedy}")


def no_probes(keys: Sequence[str], probe: str) -> Columns:
    """Of an instance that has none."""
    empty: dict[str, Any] = {
        name: np.empty(0, dtype=object) for name in ("trial_key", "step", "layer", "name", "value", "units")
    }
    return empty
