"""The trials that a claim compares, and what estimators make of them. Pure functions of tidy columns."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bnexp.claims.model import Estimator, Unit
from bnexp.claims.rules import Test
from bnexp.claims.statistics import Bounded, Values, sign_flip
from bnexp.columns import in_both, length, levels, means, take, unfolded
from bnexp.config import columns_by_name, recorded_columns
from bnexp.db.kept import Predictions
from bnexp.errors import MissingFileError
from bnexp.records import Columns


class NotEstimableError(Exception):
    """The data do not allow this estimate; the message says why."""


CurveColumns = Sequence[str]
Curves = Callable[[Sequence[str], CurveColumns], Columns]
"""The curve points of trials, by key: trial_key, step and the columns asked for."""

Probes = Callable[[Sequence[str], str], Columns]
"""A probe's measurements in trials, by key: trial_key, step, layer, value, and units (a list of numbers or None)."""


Predicted = Callable[[Sequence[str]], Iterator[Predictions]]
"""What was kept of the predictions of trials, by key, one after the other. Raises MissingFileError where something is
gone."""


def no_predictions(keys: Sequence[str]) -> Iterator[Predictions]:
    """Of an instance that has none."""
    if keys:
        raise MissingFileError("no predictions were kept of its trials")
    return iter(())


@dataclass(frozen=True)
class Arm:
    """The trials of one arm, and what to call it."""

    name: str
    trials: Columns
    curves: Curves
    probes: Probes
    tuning: Columns | None = None
    """The trials that its rate was chosen by, at the chosen rate; None where it has none."""
    predicted: Predicted = no_predictions


@dataclass(frozen=True)
class Estimate:
    """One number a seed and arm, and their contrast."""

    treatment: Values
    control: Values
    """Empty where nothing is compared."""
    effect: Values
    """[seeds] The contrast; where it is known as bounds only, the lower one."""
    unit: Unit
    notes: list[str] = field(default_factory=list)
    undecidable: str = ""
    """Why no verdict may follow from this, if so."""
    above: Values | None = None
    """[seeds] The upper bounds, where they are not the lower ones."""
    alone: Values | None = None
    """[seeds] What the treatment has by itself, where the effect is a gain over a part of it."""
    test_of: Test | None = None
    """Its own test, where it is not the sign-flip test of the effects."""

    def test(self) -> Test:
        """What the effects say, taken together."""
        if self.test_of is not None:
            return self.test_of
        lowest = sign_flip(self.effect)
        return lowest if self.above is None else Bounded(lowest, sign_flip(self.above))


Measured = Callable[[Arm, Arm | None, Estimator, float], Estimate]
"""An estimator: of a treatment, a control, its options, and the dataset's margin in points."""


def choose(columns: Columns, wanted: Mapping[str, Sequence[Any]]) -> Columns:
    """The rows whose every `wanted` column has one of its values."""
    keep = np.ones(length(columns), dtype=bool)
    for name, values in wanted.items():
        few, place = unfolded(columns, [name])
        column = few[name]
        fits = np.zeros(len(column), dtype=bool)
        for value in values:
            fits |= column != column if value is None or value != value else column == value
        keep &= fits[place]
    return take(columns, keep)


def exactly(columns: Columns, wanted: Mapping[str, Any]) -> Columns:
    """The rows that have all the `wanted` values."""
    return choose(columns, {name: (value,) for name, value in wanted.items()})


def outcome(trials: Columns, of: str) -> Values:
    """An outcome in percentage points: scored accuracy (chance where diverged) or whether the trial trained."""
    return 100 * trials[of].astype(np.float64)


def scored(trials: Columns) -> Values:
    """[trials] Validation accuracy, 0 to 1; chance where the trial diverged, or ended with a number that is not
    finite."""
    chance = 1 / trials["classes"].astype(np.float64)
    few, place = unfolded(trials, ["status"])
    accuracy = trials["validation_accuracy"].astype(np.float64)
    return np.where((few["status"] == "diverged")[place] | ~np.isfinite(accuracy), chance, accuracy)


def matched(treatment: Columns, control: Columns, free: Collection[str]) -> tuple[Columns, Columns, int]:
    """The trials of each arm that have a counterpart in the other, equal in every factor but the `free` ones and the
    seed; and how many had none. What is only recorded of a trial is no factor: another experiment may have asked for
    it."""
    factors = set(columns_by_name().values()) - recorded_columns() - set(free) - {"seed"}
    names = [name for name in sorted(factors) if name in treatment]
    if not names:
        return treatment, control, 0
    kept = [take(arm, keep) for arm, keep in zip((treatment, control), in_both(treatment, control, names), strict=True)]
    return kept[0], kept[1], length(treatment) + length(control) - length(kept[0]) - length(kept[1])


def constant_columns(*arms: Columns) -> set[str]:
    """The factors that do not vary within any of the arms."""
    names = [name for name in set(columns_by_name().values()) if all(name in arm for arm in arms)]
    return {name for name in names if all(len(levels(arm, name)) <= 1 for arm in arms)}


@dataclass(frozen=True)
class BySeed:
    """A number for each seed."""

    seeds: npt.NDArray[np.int64]
    """[seeds] In order."""
    values: Values
    """[seeds]"""


def by_seed(trials: Columns, values: Values) -> BySeed:
    """The mean of `values` [trials] over each seed's trials."""
    seeds, place = np.unique(trials["seed"], return_inverse=True)
    return BySeed(seeds, means(values, place, len(seeds)))


def paired(treatment: BySeed, control: BySeed) -> tuple[Values, Values]:
    """The seeds that both arms have, in order."""
    seeds, first, second = np.intersect1d(treatment.seeds, control.seeds, assume_unique=True, return_indices=True)
    if not len(seeds):
        raise NotEstimableError("no trials of both arms share a seed")
    return treatment.values[first], control.values[second]


def one_a_seed(arm: Arm, what: str) -> npt.NDArray[np.int64]:
    """The seeds of an arm's trials. Raises NotEstimableError where a seed has several."""
    seeds = arm.trials["seed"].astype(np.int64)
    if len(np.unique(seeds)) < len(seeds):
        raise NotEstimableError(f"{what} one trial a seed in each arm; narrow `where`")
    return seeds
