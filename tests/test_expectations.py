"""What claims have to expect of a number of seeds, before there are data."""

import math

import pytest

from bnexp.claims.expectations import Known, expectations
from bnexp.claims.model import Claim
from bnexp.claims.power import detectable, half_width
from bnexp.claims.statistics import Interval
from bnexp.claims.stored import known_effects

CLAIM = {
    "question": "?",
    "section": "1",
    "quote": "q",
    "experiment": "e",
    "arms": {"treatment": {"norm": "batch"}, "control": {"norm": "none"}},
    "estimator": {"name": "difference"},
    "supported_if": {"low": {"at_least": "margin"}},
    "refuted_if": {"high": {"at_most": 0}},
    "looks": [10, 20, 40],
}


def claim(**changes: object) -> Claim:
    return Claim.model_validate(CLAIM | changes)


def known(point: float, half: float, n: int = 10) -> dict[str, Known]:
    return {"one": Known(Interval(point, point - half, point + half), n)}


def test_without_data_widths_are_in_standard_deviations() -> None:
    [expected] = expectations({"one": claim()}, 10, 1.0, {})
    assert (expected.half_width, expected.finds) == (half_width(10), detectable(10, 0.025, 1))
    assert not expected.in_units and not expected.underpowered


def test_what_was_measured_before_gives_the_unit_and_shrinks_with_more_seeds() -> None:
    [ten] = expectations({"one": claim()}, 10, 1.0, known(5.0, 0.6))
    [twenty] = expectations({"one": claim()}, 20, 1.0, known(5.0, 0.6))
    assert ten.in_units and ten.half_width == pytest.approx(0.6)
    assert twenty.half_width == pytest.approx(0.6 * half_width(20) / half_width(10))
    assert not ten.underpowered and not twenty.underpowered


@pytest.mark.parametrize(("point", "underpowered"), [(1.2, True), (0.1, True), (4.0, False), (-3.0, False)])
def test_an_effect_near_a_limit_is_underpowered(point: float, underpowered: bool) -> None:
    [expected] = expectations({"one": claim()}, 10, 1.0, known(point, 0.6))
    assert expected.underpowered is underpowered


def test_more_claims_judged_together_find_less() -> None:
    one = expectations({"one": claim()}, 10, 1.0, {})[0].finds
    many = expectations({f"claim {n}": claim() for n in range(5)}, 10, 1.0, {})[0].finds
    assert many > one


def test_shares_exact_claims_and_other_numbers_of_seeds_expect_nothing() -> None:
    share = claim(
        arms={"treatment": {"norm": "batch"}},
        estimator={"name": "rate"},
        supported_if={"low": {"at_least": 0.6}},
        refuted_if={"high": {"at_most": 0.4}},
    )
    assert expectations({"share": share}, 10, 1.0, {}) == []
    assert expectations({"one": claim()}, 11, 1.0, {}) == []


def test_stored_ratios_are_logarithms_again_and_open_ends_stay_open() -> None:
    rows = {"one": (4.0, 2.0, math.inf, "times", 10), "two": (1.5, 1.0, 2.0, "points", 20)}
    assert known_effects(rows) == {
        "one": Known(Interval(2.0, 1.0, math.inf), 10),
        "two": Known(Interval(1.5, 1.0, 2.0), 20),
    }
