"""Tables of trials and their curves with known answers, for the tests of claims."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bnexp import registry
from bnexp.claims.arms import Arm, Curves, Estimate, Predicted, Probes, no_predictions
from bnexp.claims.data import Data, no_probes
from bnexp.claims.findings import Finding
from bnexp.claims.model import Claim, Estimator
from bnexp.claims.verdicts import judge
from bnexp.config import TrialConfig, columns
from bnexp.identity import trial_key
from bnexp.records import Columns

CHANCE = 0.1
STEPS = [1, 2, 3, 5, 8, 13, 21, 34, *range(50, 1001, 50)]

Row = dict[str, Any]


def row(config: TrialConfig, test: float | None, validation: float | None = None, **changes: Any) -> Row:
    """A trial as `experiment_results` shows it; diverged where there is no test accuracy."""
    diverged = test is None
    outcome = {
        "trial_key": trial_key(config, ""),
        "status": "diverged" if diverged else "finished",
        "classes": 10,
        "scored_accuracy": CHANCE if diverged else test,
        "validation_accuracy": math.nan if diverged else test if validation is None else validation,
        "trained": not diverged,
    }
    return columns(config) | outcome | changes


def table(rows: Iterable[Row]) -> Columns:
    """Rows as the database's reader gives them: numbers with NaN for what is missing, else objects."""
    listed = list(rows)
    result = {}
    for name in dict.fromkeys(name for row in listed for name in row):
        values = [row.get(name, math.nan) for row in listed]
        words = any(isinstance(value, str) for value in values)
        result[name] = np.array(values, dtype=object if words else None)
    return result


def seeds(
    tests: Sequence[float | None], validations: Sequence[float | None] | None = None, first: int = 0, **fields: Any
) -> list[Row]:
    """A cell of the grid: one trial a seed, from seed `first` on, with these accuracies."""
    return [
        row(
            TrialConfig.model_validate(fields | {"seed": first + seed}),
            test,
            validations[seed] if validations else None,
        )
        for seed, test in enumerate(tests)
    ]


def no_curves(keys: Sequence[str], names: Sequence[str]) -> Columns:
    """As read from the database where trials have no points."""
    return {name: np.array([], dtype=object) for name in ("trial_key", "step", *names)}


def arm(
    *cells: list[Row],
    curves: Curves = no_curves,
    probes: Probes = no_probes,
    tuning: list[Row] | None = None,
    name: str = "an arm",
    predicted: Predicted = no_predictions,
) -> Arm:
    tuned_by = table(tuning) if tuning is not None else None
    return Arm(name, table(itertools.chain(*cells)), curves, probes, tuned_by, predicted)


def curves_of(points: Mapping[str, Sequence[float]], steps: Sequence[int] = STEPS) -> Curves:
    """Validation curves by trial key; a shorter one ends early, as a diverged trial's does."""

    def curves(keys: Sequence[str], names: Sequence[str]) -> Columns:
        assert list(names) == ["validation_accuracy"]
        rows = [(key, *point) for key in sorted(keys) for point in zip(steps, points[key], strict=False)]
        read = map(np.array, zip(*rows, strict=True)) if rows else [np.array([])] * 3
        return dict(zip(["trial_key", "step", "validation_accuracy"], read, strict=True))

    return curves


def racers(
    *accuracies: Sequence[float], norm: str = "none", tuned: Sequence[float] | None = None, **fields: Any
) -> Arm:
    """An arm with one trial and validation curve a seed; a curve that ends early has diverged. `tuned`: the curve of a
    trial that its rate was chosen by."""
    tests = [curve[-1] if len(curve) == len(STEPS) else None for curve in accuracies]
    cell = seeds(tests, norm=norm, **fields)
    tuning = seeds([0.9], norm=norm, first=1000) if tuned else []
    curves = [*accuracies, *([tuned] if tuned else [])]
    return arm(
        cell,
        curves=curves_of({row["trial_key"]: curve for row, curve in zip(cell + tuning, curves, strict=True)}),
        tuning=tuning or None,
        name=norm,
    )


def reaching(step: float, level: float = 0.9) -> list[float]:
    """A curve that is at `level` from `step` on, and low before."""
    return [level if at >= step else 0.3 for at in STEPS]


def measure(name: str, treatment: Arm, control: Arm | None, margin: float = 1.0, **how: Any) -> Estimate:
    estimate: Estimate = registry.load(registry.ESTIMATORS[name])(
        treatment, control, Estimator.model_validate({"name": name, **how}), margin
    )
    return estimate


CLAIM: dict[str, Any] = {
    "question": "Is it better?",
    "section": "0",
    "quote": "it is better",
    "experiment": "e",
    "arms": {"treatment": {"norm": "batch"}, "control": {"norm": "none"}},
    "estimator": {"name": "difference"},
    "supported_if": {"low": {"at_least": 0}},
    "refuted_if": {"high": {"at_most": 0}},
    "supported": "It is better.",
    "refuted": "It is not better.",
    "looks": [10, 20, 40],
}
GAINS = [2.0, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5]
LOSSES = [-gain for gain in GAINS]


def claim(**changes: Any) -> Claim:
    return Claim.model_validate(CLAIM | changes)


def claim_of(measures: dict[str, Any], **changes: Any) -> Claim:
    """A claim of several measures."""
    rest = {key: value for key, value in CLAIM.items() if key not in ("arms", "estimator")}
    return Claim.model_validate(rest | {"measures": measures} | changes)


def pair(gains: Sequence[float], **fields: Any) -> list[Row]:
    """Trials with and without BN, BN better by these percentage points, a seed each."""
    return seeds([0.5 + gain / 100 for gain in gains], norm="batch", **fields) + seeds(
        [0.5] * len(gains), norm="none", **fields
    )


def data(*cells: list[Row], margin: float = 1.0, curves: Curves = no_curves, **parts: Any) -> Data:
    return Data("e", table(itertools.chain(*cells)), curves, margin, parts.pop("probes", no_probes), **parts)


def verdict(gains: Sequence[float], margin: float = 1.0, **changes: Any) -> Finding:
    [finding] = judge({"c": claim(**changes)}, data(pair(gains), margin=margin))
    return finding
