"""The judge judged: simulated tables with a known truth, its own advice followed; what so many seeds can find; and the
page that says so. `benchmarks/judge.py` is the long form, of which docs/judging.md has the figures."""

import json
import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.judge import OUTPUT, errors, follow, intervals, power
from benchmarks.judge_table import PART, render
from benchmarks.worlds import LOOKS, PROMISED, SYMMETRIC, World, differences, tolerated
from bnexp.claims.looks import SPENT
from bnexp.claims.power import detectable, half_width, sd_from, widening
from bnexp.claims.statistics import Interval, Values, sign_flip

PAGE_TEXT = PART.path.read_text()


def allowed(share: float, count: int) -> float:
    """A share and three standard errors of its simulation."""
    return share + 3 * math.sqrt(share * (1 - share) / count)


def test_false_verdicts_of_single_claims_are_at_most_five_in_a_hundred() -> None:
    """The effect is at the limit itself, so that any verdict is false, printed at whatever look."""
    found = [errors(differences(noise, 1), 120, seed, True) for seed, noise in enumerate(SYMMETRIC)]
    wrong, count = sum(one["false_tables"] * one["tables"] for one in found), sum(one["tables"] for one in found)
    assert 0 < wrong / count <= allowed(0.05, count)


@pytest.mark.parametrize("family", [6, pytest.param(12, marks=pytest.mark.slow)])
def test_tables_of_several_claims_with_a_false_verdict_are_at_most_five_in_a_hundred(family: int) -> None:
    found = [errors(differences(noise, family), 20, 2, True) for noise in ("normal", "lattice")]
    assert np.mean([one["false_tables"] for one in found]) <= allowed(0.05, 40)
    assert np.mean([one["false_claims"] for one in found]) <= allowed(0.05 / family, 40 * family)


@pytest.mark.parametrize("world", PROMISED, ids=lambda world: world.name)
def test_false_verdicts_about_rates_and_steps_are_at_most_five_in_a_hundred(world: World) -> None:
    assert errors(world, 120, 3, True)["false_tables"] <= allowed(0.05, 120)


def test_an_effect_is_found_and_not_called_false() -> None:
    world = differences("normal", 1, beyond=2.5)
    random = np.random.default_rng(0)
    answers = [follow(world, random)[0]["claim 0"] for _ in range(30)]
    assert sum("supported" in found for found in answers) >= 29
    assert errors(world, 30, 0, True)["false_tables"] == 0


def test_a_verdict_on_the_wrong_side_is_called_false() -> None:
    world = differences("normal", 2, beyond=2.5)
    wrong = World(world.name, world.claims, world.draw, right="refuted")
    assert errors(wrong, 20, 0, True)["false_claims"] > 0.9


def test_the_advice_is_followed_up_to_the_last_look() -> None:
    asked: list[int] = []
    world = differences("normal", 1)

    def draw(random: np.random.Generator) -> Callable[[int], object]:
        sample = world.draw(random)
        return lambda n: asked.append(n) or sample(n)

    follow(World("watched", world.claims, draw), np.random.default_rng(1))  # type: ignore[arg-type]
    assert tuple(asked) == LOOKS


@pytest.mark.parametrize("noise", SYMMETRIC)
def test_intervals_cover_symmetric_and_lattice_truths(noise: str) -> None:
    for n, draws in ((10, 2000), (20, 150), (40, 100)):
        found = intervals(noise, n, draws, 5)
        assert found["coverage"] >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / draws), n


def samples(n: int, draws: int) -> list[Values]:
    random = np.random.default_rng(n)
    return [sign_flip(random.normal(0, 1, n)).subset_means for _ in range(draws)]


@pytest.mark.parametrize(("n", "draws"), [(6, 2000), (7, 2000), (8, 2000), (10, 2000), (12, 800), (20, 150), (40, 100)])
def test_the_half_width_to_expect_is_the_simulated_one(n: int, draws: int) -> None:
    found = samples(n, draws)
    left = math.floor(0.025 * (len(found[0]) + 1))
    halves = [(means[-left] - means[left - 1]) / 2 for means in found]
    error = 3 * np.std(halves) / math.sqrt(draws)
    assert half_width(n) == pytest.approx(np.mean(halves), abs=float(error) + 0.01 * half_width(n))
    width = Interval(0.0, -2 * half_width(n), 2 * half_width(n))
    assert sd_from(width, n) == pytest.approx(2)


@pytest.mark.parametrize(("n", "draws"), [(7, 2000), (8, 2000), (10, 2000), (12, 800), (20, 200), (40, 150)])
def test_a_detectable_effect_is_found_in_eighty_of_a_hundred_samples(n: int, draws: int) -> None:
    found, combinations = samples(n, draws), [(alpha, family) for alpha in (0.05, *SPENT) for family in (1, 6, 12)]
    for alpha, family in combinations:
        distance = detectable(n, alpha, family)
        left = math.floor(alpha / 2 / family * (len(found[0]) + 1) + 1e-9)
        assert (left == 0) == math.isinf(distance)
        if left:
            share = np.mean([means[left - 1] > -distance for means in found])
            assert abs(share - 0.8) <= 3 * math.sqrt(0.16 / draws) + 0.02, (alpha, family, distance)


def test_what_can_be_found_shrinks_with_seeds_and_grows_with_the_family() -> None:
    assert math.isinf(half_width(5)) and math.isinf(detectable(5)) and math.isnan(sd_from(Interval(0, -1, 1), 5))
    assert math.isnan(sd_from(Interval(0, -math.inf, 1), 10))
    widths = [half_width(n) for n in range(6, 60)]
    assert widths == sorted(widths, reverse=True)
    assert detectable(10, 0.025) < detectable(10, 0.025, 6) < detectable(10, 0.025, 12) < detectable(10, 0.025, 13)
    assert detectable(40, 0.0125) < detectable(20, 0.0125) < detectable(10, 0.0125)
    assert widening(0.05, 1) == pytest.approx(1) and widening(0.0125, 12) == pytest.approx(3.279 / 1.960, abs=1e-3)


def test_power_counts_what_was_found_by_each_look() -> None:
    found = power("normal", 60, 1)["by_family"]
    for shares in found.values():
        assert all(look <= later for look, later in zip(shares[0], shares[0][1:], strict=False))
        assert [row[0] for row in shares] == sorted(row[0] for row in shares)
    assert found["1"][-1][0] > 0.95 and found["12"][0][0] < 0.3
    assert all(one >= twelve for one, twelve in zip(found["1"][2], found["12"][2], strict=True))


def test_the_simulated_worlds_are_not_empty() -> None:
    """A range that reaches an end, or a rate that is never cut off, would be decided by nothing."""
    sample = tolerated("check", (0.5, 0.5)).draw(np.random.default_rng(0))
    assert sample(10).trials["scored_accuracy"].shape == (2 * 11 * 10,)
    assert {len(world.claims) for world in PROMISED} == {1}


# The page


def test_the_page_says_what_was_simulated() -> None:
    record = json.loads(OUTPUT.read_text())
    assert not record["quick"]
    assert PART.replaced(PAGE_TEXT, render(record)) == PAGE_TEXT, "run python benchmarks/judge_table.py"
    changed = record | {
        "power": [one | {"by_family": {f: [[0.5] * 3] * 7 for f in ("1", "6", "12")}} for one in record["power"]]
    }
    assert PART.replaced(PAGE_TEXT, render(changed)) != PAGE_TEXT


def test_what_was_simulated_keeps_the_promise() -> None:
    record = json.loads(OUTPUT.read_text())
    for one in record["errors"]:
        if one["promised"]:
            assert one["false_tables"] <= allowed(0.05, one["tables"]), one
    for one in record["intervals"]:
        if one["symmetric"]:
            assert one["coverage"] >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / one["draws"]), one


def test_the_pages_own_figures_are_the_codes() -> None:
    assert f"alpha {SPENT[0]:g}, {SPENT[1]:g} and {SPENT[2]:g}" in PAGE_TEXT
    assert "{} seeds, {} and {}".format(*LOOKS) in PAGE_TEXT
    detected = re.search(r"([\d.]+) standard deviations at 10 seeds", PAGE_TEXT)
    assert detected and float(detected[1]) == round(detectable(10, SPENT[0]), 2)
    width = re.search(r"half as wide as ([\d.]+) standard deviations", PAGE_TEXT)
    assert width and float(width[1]) == round(half_width(10), 2)
