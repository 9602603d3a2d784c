"""Estimators of what probes saw, with answers known by hand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bnexp.claims.arms import Arm, NotEstimableError, Probes
from bnexp.claims.data import no_probes
from bnexp.records import Columns
from tests.tables import Row, arm, measure, seeds

Measurement = tuple[int, str, str, float, tuple[float, ...]]
"""Step, layer, name, value, units."""


def probed(cells: list[Row], probe: str, measurements: Mapping[int, Sequence[Measurement]]) -> Arm:
    """An arm whose trials (by their place) have these measurements, given in any order."""

    def probes(keys: Sequence[str], name: str) -> Columns:
        rows = [
            (cells[index]["trial_key"], *row)
            for index, own in reversed(measurements.items())
            for row in reversed(own)
            if name == f"{probe} {row[2]}" and cells[index]["trial_key"] in keys
        ]
        names = ("trial_key", "step", "layer", "name", "value", "units")
        result: dict[str, Any] = {column: np.empty(len(rows), dtype=object) for column in names}
        for at, row in enumerate(rows):
            for column, value in zip(names, row, strict=True):
                result[column][at] = value
        return result | {"step": result["step"].astype(np.int64), "value": result["value"].astype(np.float64)}

    checked: Probes = probes
    return arm(cells, probes=checked)


def percentiles(*paths: tuple[Sequence[float], Sequence[float], Sequence[float]]) -> list[Measurement]:
    """p15, p50 and p85 of one unit (each a path over the steps 0, 10, ...), for each unit."""
    return [
        (10 * at, "hidden 3", name, 0.0, tuple(unit[index][at] for unit in paths))
        for index, name in enumerate(("p15", "p50", "p85"))
        for at in range(len(paths[0][0]))
    ]


# Ranges of 1, 2 and 3 on the way, 4 apart in the end: a drift of 2 / 4.
HALF = ([0.0, -1, -1], [0.0, 2, 1], [1.0, 4, 3])
# Ranges of 2, 2 and 2, 4 apart in the end.
ALSO_HALF = ([0.0, 2, 0], [0.0, 2, 2], [2.0, 4, 4])
# Nothing moves but the median, by 3; 1 apart: a drift of 1.
ONE = ([0.0, 0, 0], [0.0, 3, 0], [1.0, 1, 1])


def drift(treatment: Arm, control: Arm) -> Any:
    return measure("percentile_drift", treatment, control)


def test_drift_is_the_mean_range_of_the_percentiles_over_their_last_distance() -> None:
    arms = [
        probed(seeds([0.9]), "percentiles", {0: percentiles(*units)}) for units in ((HALF,), (ONE,), (HALF, ALSO_HALF))
    ]
    estimate = drift(arms[0], arms[1])
    assert (list(estimate.treatment), list(estimate.control)) == ([0.5], [1.0])
    assert list(estimate.effect) == [1] and estimate.unit == "log2" and estimate.above is None
    assert list(drift(arms[2], arms[1]).treatment) == [0.5]


def test_units_are_averaged_before_they_are_divided() -> None:
    """A unit that stands still must not count as much as one that drifts: (2 + 1) / 2 over (4 + 1) / 2."""
    both = probed(seeds([0.9]), "percentiles", {0: percentiles(HALF, ONE)})
    assert drift(both, both).treatment == pytest.approx([0.6])


def test_drift_is_averaged_over_cells_as_a_logarithm() -> None:
    cells = seeds([0.9]) + seeds([0.9], init_scale=3.0)
    treatment = probed(cells, "percentiles", {0: percentiles(HALF), 1: percentiles(ONE)})
    control = probed(cells, "percentiles", {0: percentiles(ONE), 1: percentiles(ONE)})
    assert drift(treatment, control).effect == pytest.approx([0.5])


def test_a_diverged_network_has_drifted_without_bound() -> None:
    good = probed(seeds([0.9, 0.9]), "percentiles", {0: percentiles(HALF), 1: percentiles(HALF)})
    bad = probed(seeds([None, 0.9]), "percentiles", {0: percentiles(HALF), 1: percentiles(HALF)})
    assert list(drift(good, bad).effect) == [math.inf, 0] and list(drift(bad, good).effect) == [-math.inf, 0]
    both = drift(bad, bad)
    assert list(both.effect) == [-math.inf, 0] and list(both.above) == [math.inf, 0]


def test_a_network_that_never_moves_or_was_never_measured_is_no_error() -> None:
    still = probed(seeds([0.9, 0.9]), "percentiles", {n: percentiles(([0.0], [1.0], [2.0])) for n in (0, 1)})
    moving = probed(seeds([0.9, 0.9]), "percentiles", {n: percentiles(HALF) for n in (0, 1)})
    assert list(drift(still, moving).effect) == [math.inf, math.inf]
    some = probed(seeds([0.9, 0.9]), "percentiles", {1: percentiles(HALF)})
    assert list(drift(some, moving).effect) == [-math.inf, 0]


def test_without_measurements_nothing_is_estimated() -> None:
    moving = probed(seeds([0.9]), "percentiles", {0: percentiles(HALF)})
    for treatment, control in ((arm(seeds([0.9])), moving), (moving, arm(seeds([0.9])))):
        with pytest.raises(NotEstimableError, match="no measurements by the probe percentiles"):
            drift(treatment, control)
    for name, probe in (("growth_per_layer", "gradient-norms"), ("largest_error", "scale-invariance")):
        with pytest.raises(NotEstimableError, match=f"no measurements by the probe {probe}"):
            measure(name, moving, None)
    assert len(no_probes(["a"], "percentiles")["step"]) == 0


def norms(*values: float, step: int = 0, name: str = "activations") -> list[Measurement]:
    """Of hidden layers 1, 2, ..."""
    return [(step, f"hidden {number}", name, value, ()) for number, value in enumerate(values, 1)]


def test_growth_is_the_factor_from_each_layer_to_the_one_below() -> None:
    """Other steps and other norms do not count; layer 10 comes after layer 9."""
    falling = [2.0**-number for number in range(12)]
    extra = norms(*falling[::-1], step=50) + norms(*falling[::-1], name="weights")
    estimate = measure(
        "growth_per_layer",
        probed(seeds([0.9, 0.9]), "gradient-norms", {0: norms(*falling) + extra, 1: norms(1, 3)}),
        None,
    )
    assert estimate.effect == pytest.approx([2, 1 / 3]) and estimate.unit == "factor"


def test_the_outermost_of_five_layers_are_left_out_and_of_four_are_not() -> None:
    def growth(*values: float) -> float:
        return float(
            measure("growth_per_layer", probed(seeds([0.9]), "gradient-norms", {0: norms(*values)}), None).effect[0]
        )

    assert growth(1000, 4, 2, 1, 0.001) == pytest.approx(2)
    # A straight line through 3, 1, 0, -3 (logarithms to base 2) at 1, 2, 3, 4 falls by (1.5 * 6 + 0.5 * 1) / 5 = 1.9.
    assert growth(8, 2, 1, 1 / 8) == pytest.approx(2**1.9)


@pytest.mark.parametrize("values", [[1.0], [1.0, 0.0, 1.0], [1.0, math.nan]])
def test_growth_needs_two_layers_with_a_gradient(values: list[float]) -> None:
    dead = probed(seeds([0.9]), "gradient-norms", {0: norms(*values)})
    with pytest.raises(NotEstimableError, match="two hidden layers or more"):
        measure("growth_per_layer", dead, None)


def test_the_largest_error_is_exact() -> None:
    rows: list[Measurement] = [(0, "hidden 1", "logits", 1e-12, ()), (50, "hidden 2", "weight gradient", 3e-9, ())]
    found = probed(seeds([0.9, 0.9]), "scale-invariance", {0: rows, 1: rows[:1]})
    estimate = measure("largest_error", found, None)
    test = estimate.test()
    assert list(estimate.effect) == [3e-9, 1e-12] and estimate.unit == "error"
    assert (test.interval().low, test.interval().point, test.interval().high) == (3e-9,) * 3
    assert (test.p_less(1e-8), test.p_greater(1e-8), test.p_less(1e-10)) == (0, 1, 1)
    half = probed(seeds([0.9, 0.9]), "scale-invariance", {0: rows})
    with pytest.raises(NotEstimableError, match="no measurements"):
        measure("largest_error", half, None)
