"""Estimators of what probes saw inside the networks."""

import math
from collections.abc import Sequence

import numpy as np

from bnexp.claims.arms import Arm, BySeed, Estimate, NotEstimableError, by_seed, paired
from bnexp.claims.model import Estimator
from bnexp.claims.statistics import Exact, Values
from bnexp.records import Columns

PERCENTILES = ("percentiles p15", "percentiles p50", "percentiles p85")
IDENTITIES = ("scale-invariance logits", "scale-invariance input gradient", "scale-invariance weight gradient")
NORMS = "gradient-norms activations"


def percentile_drift(treatment: Arm, control: Arm, how: Estimator, margin: float) -> Estimate:
    """log2 of the ratio, control over treatment, of how far the inputs of the last hidden layer's nonlinearities drift
    (section 4.1, Figure 1): the range that the 15th, 50th and 85th percentile of each unit's input run through in
    training, averaged over the three and over all units, divided by the mean distance of the 85th from the 15th at the
    end. A network that diverged has drifted without bound. Averaged over an arm's cells as logarithms."""
    drifts = []
    for arm in (treatment, control):
        values = np.array([_drift(points) for points in _points(arm, *PERCENTILES)])
        diverged = arm.trials["status"] == "diverged"
        with np.errstate(divide="ignore"):
            drifts.append(by_seed(arm.trials, np.log2(np.where(diverged, math.inf, values))))
    first, second = paired(*drifts)
    with np.errstate(invalid="ignore"):
        effect = second - first
    # Both without bound: nothing is known of their ratio.
    lowest, above = (np.where(np.isnan(effect), bound, effect) for bound in (-math.inf, math.inf))
    return Estimate(2.0**first, 2.0**second, lowest, how.unit, above=above if np.isnan(effect).any() else None)


def _drift(points: Columns) -> float:
    """Of one trial, in units of its final spread."""
    if not len(points["step"]):
        return math.inf
    paths = [_path(points, name) for name in PERCENTILES]
    moved = np.mean([path.max(axis=0) - path.min(axis=0) for path in paths])
    spread = np.mean(paths[-1][-1] - paths[0][-1])
    return float(moved / spread) if spread > 0 else math.inf


def _path(points: Columns, name: str) -> Values:
    """[steps, units] in order of the steps."""
    own = points["name"] == name
    order = np.argsort(points["step"][own], kind="stable")
    units: Values = np.array([points["units"][own][index] for index in order], dtype=np.float64)
    return units


def growth_per_layer(treatment: Arm, control: None, how: Estimator, margin: float) -> Estimate:
    """The factor by which the squared norm of the gradient with respect to a hidden layer's activations grows from each
    layer to the one below it, at initialization: from the slope of a straight line through its logarithms. The
    outermost hidden layers, whose neighbours are no hidden layers, are left out where five or more are there."""
    growth = []
    for points in _points(treatment, NORMS):
        own = (points["step"] == 0) & (points["layer"] != "output")
        layers = np.array([int(str(layer).rpartition(" ")[2]) for layer in points["layer"][own]], dtype=np.float64)
        order = np.argsort(layers)
        with np.errstate(divide="ignore"):
            logs = np.log(points["value"][own][order].astype(np.float64))
        inner = slice(1, -1) if len(layers) >= 5 else slice(None)
        if len(layers) < 2 or not np.isfinite(logs).all():
            raise NotEstimableError("its networks have no positive, finite gradient norms of two hidden layers or more")
        growth.append(math.exp(-float(np.polyfit(layers[order][inner], logs[inner], 1)[0])))
    values = by_seed(treatment.trials, np.array(growth)).values
    return Estimate(values, np.empty(0), values, how.unit)


def largest_error(treatment: Arm, control: None, how: Estimator, margin: float) -> Estimate:
    """The largest relative error that the probe `scale-invariance` met with, in any trial, layer and step."""
    measured = [points["value"].astype(np.float64) for points in _points(treatment, *IDENTITIES)]
    worst = [float(np.max(np.where(np.isnan(errors), math.inf, errors), initial=-math.inf)) for errors in measured]
    if not all(error > -math.inf for error in worst):
        raise NotEstimableError("its trials have no measurements by the probe scale-invariance")
    errors: BySeed = by_seed(treatment.trials, np.array(worst))
    return Estimate(errors.values, np.empty(0), errors.values, how.unit, test_of=Exact(max(worst)))


def _points(arm: Arm, *names: str) -> list[Columns]:
    """Measurements of these names, trial by trial, in the order of the arm's trials. Raises NotEstimableError where
    there are none at all."""
    keys: Sequence[str] = arm.trials["trial_key"].tolist()
    found = [arm.probes(tuple(dict.fromkeys(keys)), name) for name in names]
    owners = np.concatenate([points["trial_key"] for points in found]).astype(str)
    if not len(owners):
        raise NotEstimableError(f"its trials have no measurements by the probe {names[0].partition(' ')[0]}")
    order = np.argsort(owners, kind="stable")
    columns = {
        what: np.concatenate([points[what] for points in found])[order] for what in ("step", "layer", "value", "units")
    }
    columns["name"] = np.repeat(np.array(names, dtype=object), [len(points["step"]) for points in found])[order]
    starts, ends = (np.searchsorted(owners[order], np.array(keys, dtype=str), side=side) for side in ("left", "right"))
    return [
        {what: column[start:end] for what, column in columns.items()} for start, end in zip(starts, ends, strict=True)
    ]
