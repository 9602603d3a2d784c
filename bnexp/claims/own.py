"""Estimators of a person's own: a function that makes one number of an arm's trials of one seed, named by import path.

Its source is in the claim's definition: edited, it measures another claim, post hoc where the data are older."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from bnexp import own, registry
from bnexp.claims.arms import Arm, BySeed, Estimate, Measured, NotEstimableError, paired
from bnexp.claims.model import Claim, Estimator
from bnexp.columns import take
from bnexp.errors import UsageError
from bnexp.records import Columns

Function = Callable[..., Any]
"""Of the trials of one seed, as columns by name, and the options."""


def estimator(how: Estimator) -> Measured:
    """What the estimator's name stands for. Raises UsageError where it is a person's own and cannot be used."""
    if not how.own:
        shipped: Measured = registry.load(registry.ESTIMATORS[how.name])
        return shipped
    if own.source_hash(how.name) != how.source:
        raise UsageError(f"{how.name}: its source has changed since the claim was read; ask for the report again")
    found = own.found(how.name)
    if not callable(found):
        raise UsageError(f"estimator: {how.name} is no function")
    with suppress(ValueError):  # of some built-in ones it is not known
        signature = inspect.signature(found)
        try:
            signature.bind(None, **dict(how.options))
        except TypeError as error:
            raise UsageError(f"estimator: {how.name} cannot be called with trials and its options: {error}") from error
    return partial(_measured, found)


def refuse_unfit(claims: Mapping[str, Claim]) -> None:
    """Raise UsageError where one has an estimator that cannot be used, before anything trains."""
    for claim in claims.values():
        hows = [part.estimator for part in claim.parts().values()]
        if claim.table and claim.table.estimator:
            hows.append(claim.table.estimator)
        for how in hows:
            estimator(how)


def _measured(function: Function, treatment: Arm, control: Arm | None, how: Estimator, margin: float) -> Estimate:
    """Treatment minus control, or the treatment by itself; of ratios, the logarithm."""
    ours = _by_seed(function, treatment, how)
    if control is None:
        alone = np.log2(ours.values) if how.unit == "log2" else ours.values
        return Estimate(ours.values, np.empty(0), alone, how.unit)
    first, second = paired(ours, _by_seed(function, control, how))
    effect = np.log2(first) - np.log2(second) if how.unit == "log2" else first - second
    return Estimate(first, second, effect, how.unit)


def _by_seed(function: Function, arm: Arm, how: Estimator) -> BySeed:
    seeds = np.unique(arm.trials["seed"].astype(np.int64))
    values = [_number(function, arm.name, take(arm.trials, arm.trials["seed"] == seed), how) for seed in seeds]
    return BySeed(seeds, np.array(values, dtype=np.float64))


def _number(function: Function, arm: str, trials: Columns, how: Estimator) -> float:
    """What it makes of one seed's trials. Raises NotEstimableError where that is no number, so that a verdict is left
    open, and the others stand."""
    where = f"{arm}, seed {trials['seed'][0]}: {how.name}"
    try:
        value = float(function(trials, **dict(how.options)))
    except (Exception, SystemExit) as error:
        raise NotEstimableError(f"{where}: {own.said(error, how.name)}") from error
    if not np.isfinite(value) or (how.unit == "log2" and value <= 0):
        wanted = "a number above 0, for a ratio," if how.unit == "log2" else "a finite number"
        raise NotEstimableError(f"{where}: {wanted} is wanted, not {value:g}")
    return value
