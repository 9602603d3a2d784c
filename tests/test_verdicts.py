"""Verdicts: from the trials of an instance to an answer, and what would decide it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bnexp.claims.arms import Estimate
from bnexp.claims.data import Data, no_probes
from bnexp.claims.findings import Finding
from bnexp.claims.looks import SPENT, ascending, look_at, preset
from bnexp.claims.model import Claim
from bnexp.claims.report import at_first_look
from bnexp.claims.verdicts import judge, unpaired
from bnexp.db.summaries import Decided
from bnexp.records import Choice, Columns
from tests.tables import (
    CLAIM,
    GAINS,
    LOSSES,
    Row,
    claim,
    claim_of,
    curves_of,
    data,
    no_curves,
    pair,
    racers,
    reaching,
    seeds,
    table,
    verdict,
)


def test_an_effect_on_one_side_of_the_limit_is_supported_or_refuted() -> None:
    better, worse = verdict(GAINS), verdict([-gain for gain in GAINS])
    assert (better.answer, better.sentence) == ("supported", "It is better.")
    assert (worse.answer, worse.sentence) == ("refuted", "It is not better.")
    for finding in (better, worse):
        assert finding.effect is not None and finding.unit == "points"
        assert (finding.n, finding.p, finding.p_adjusted) == (10, 2 / 1024, 2 / 1024)
    assert better.effect and worse.effect and better.effect.point == pytest.approx(4.25)
    assert (worse.effect.low, worse.effect.high) == pytest.approx((-better.effect.high, -better.effect.low))


def test_an_effect_on_both_sides_of_the_limit_is_inconclusive() -> None:
    finding = verdict([1, -1, 2, -2, 3, -3, 1, -1, 2, -2])
    assert finding.answer == "inconclusive" and finding.p == 1
    assert verdict([0.0] * 10).answer == "inconclusive"
    assert verdict([gain - 4.25 for gain in GAINS], refuted_if=None).answer == "inconclusive"


def test_what_has_no_refuting_rule_is_never_refuted() -> None:
    assert verdict([-gain for gain in GAINS], refuted_if=None).answer == "inconclusive"
    assert verdict(GAINS, refuted_if=None).answer == "supported"


def test_p_is_against_the_limit_not_against_zero() -> None:
    answers: dict[float, str] = {1.9: "supported", 2.1: "supported", 4: "inconclusive", 6.6: "refuted"}
    for limit, answer in answers.items():
        finding = verdict(GAINS, supported_if={"low": {"at_least": limit}}, refuted_if={"high": {"at_most": limit}})
        assert finding.answer == answer, limit
    wide: dict[str, Any] = {"supported_if": {"low": {"at_least": 10}}, "refuted_if": {"high": {"at_most": 1}}}
    between, under = verdict(GAINS, **wide), verdict([gain - 7 for gain in GAINS], **wide)
    assert (between.answer, between.p) == ("inconclusive", 1) and (under.answer, under.p) == ("refuted", 2 / 1024)


def test_the_ends_of_the_interval_may_touch_the_limit() -> None:
    """Bounds are inclusive: such an interval is on its side, though p, which counts ties, does not follow."""
    gains = [-3.0, -1, 1, 2, 2.5, 3, 4, 5, 5.5, 7]
    effect = verdict(gains).effect
    assert effect is not None

    def sentences(low: float, high: float) -> tuple[str, str]:
        return (
            verdict(gains, supported_if={"low": {"at_least": low}}, refuted_if={"high": {"at_most": -50}}).sentence,
            verdict(gains, supported_if={"low": {"at_least": 50}}, refuted_if={"high": {"at_most": high}}).sentence,
        )

    assert all("ends at the limit" in sentence for sentence in sentences(effect.low, effect.high))
    assert not any("ends at the limit" in sentence for sentence in sentences(effect.low + 1e-6, effect.high - 1e-6))


def test_a_margin_limit_is_the_instances() -> None:
    equal: dict[str, Any] = {
        "supported_if": {"high": {"at_most": "margin"}},
        "refuted_if": {"low": {"at_least": "margin"}},
    }
    for margin, answer in {7.0: "supported", 4.0: "inconclusive", 1.0: "refuted"}.items():
        assert verdict(GAINS, margin, **equal).answer == answer
    minus: dict[str, Any] = {"supported_if": {"low": {"at_least": "-margin"}}, "refuted_if": None}
    for margin, answer in {7.0: "supported", 1.0: "inconclusive"}.items():
        assert verdict([-gain for gain in GAINS], margin, **minus).answer == answer


@pytest.mark.parametrize(
    ("treatment", "control", "answer"),
    [(100, 100, "inconclusive"), (100, 200, "inconclusive"), (100, 250, "supported"), (250, 50, "refuted")],
)
def test_a_ratios_limit_is_a_ratio(treatment: int, control: int, answer: str) -> None:
    arms = racers(*[reaching(treatment)] * 10, norm="batch"), racers(*[reaching(control)] * 10)
    trials = {name: np.concatenate([arm.trials[name] for arm in arms]) for name in arms[1].trials}

    def curves(keys: Sequence[str], names: Sequence[str]) -> Columns:
        [arm] = [arm for arm in arms if keys[0] in arm.trials["trial_key"]]
        return arm.curves(keys, names)

    limits = {"supported_if": {"low": {"at_least": 2}}, "refuted_if": {"high": {"at_most": 0.5}}}
    [finding] = judge(
        {"c": claim(estimator={"name": "steps_ratio"}, **limits)}, Data("e", trials, curves, 1.0, no_probes)
    )
    assert finding.answer == answer and finding.unit == "log2"
    assert finding.effect and finding.effect.point == pytest.approx(math.log2(control / treatment))


def test_divergence_is_evidence() -> None:
    [finding] = judge({"c": claim()}, data(seeds([0.9] * 10, norm="batch"), seeds([None] * 10, norm="none")))
    assert finding.answer == "supported" and finding.effect and finding.effect.point == pytest.approx(80)


@pytest.mark.parametrize("status", ["pending", "running", "failed"])
@pytest.mark.parametrize("place", [0, -1])
def test_an_unfinished_trial_leaves_its_claim_untested(status: str, place: int) -> None:
    rows = pair(GAINS)
    rows[place] |= {"status": status, "scored_accuracy": math.nan, "validation_accuracy": math.nan, "trained": math.nan}
    [finding] = judge({"c": claim(table={"by": ["norm"]})}, data(rows))
    assert finding.answer == "not tested" and "9 of 10" in finding.sentence
    assert finding.effect is None and finding.p is None and finding.p_adjusted is None
    elsewhere = [row | {"dropout": 0.4} for row in rows]
    [finding] = judge({"c": claim(where={"dropout": 0})}, data(pair(GAINS), elsewhere))
    assert finding.answer == "supported"


def test_without_trials_or_in_another_experiment_nothing_is_tested() -> None:
    nothing = {name: np.array([], dtype=object) for name in data(pair(GAINS)).trials}
    for trials in (nothing, table(seeds([0.9] * 10, norm="batch")), table(seeds([0.9] * 10, norm="none"))):
        [finding] = judge({"c": claim(table={"by": ["dropout"]})}, Data("e", trials, no_curves, 1.0, no_probes))
        assert finding.answer == "not tested" and "no trials" in finding.sentence
    [finding] = judge({"c": claim()}, Data("other", data(pair(GAINS)).trials, no_curves, 1.0, no_probes))
    assert finding.answer == "not tested" and "bnexp run e" in finding.sentence
    needy = Claim(question="?", section="0", quote="", needs="It takes ImageNet.")
    [finding] = judge({"c": needy}, data(pair(GAINS)))
    assert (finding.answer, finding.sentence) == ("not tested", "It takes ImageNet.")


def test_a_trial_is_no_evidence_against_itself() -> None:
    """Two variants may be one, where a normalizer without their fields has taken batch normalization's place."""
    arms = {"treatment": {"variant": "fast"}, "control": {"variant": "slow"}}
    fast, slow = ([one | {"variant": name} for one in seeds([0.5] * 10)] for name in ("fast", "slow"))
    [finding] = judge({"c": claim(arms=arms)}, data(fast, slow))
    assert finding.answer == "not tested" and "A trial stands in both arms" in finding.sentence
    slow = [one | {"variant": "slow"} for one in seeds([0.5] * 10, lr_multiplier=2.0)]
    [finding] = judge({"c": claim(arms=arms)}, data(fast, slow))
    assert finding.answer != "not tested"


def test_where_and_at_select_the_trials() -> None:
    losses = [-gain * 3 for gain in GAINS]
    found = data(pair(GAINS), pair(losses, dropout=0.4), pair(losses, optimizer={"momentum": 0.0}))
    claims = {
        "all": claim(),
        "at": claim(where={"optimizer.momentum": 0.9}, estimator={"name": "difference", "at": {"dropout": 0}}),
        "where": claim(where={"dropout": 0, "optimizer": {"momentum": 0.9}}),
        "arms": claim(
            arms={"treatment": {"norm": {"name": "batch"}, "dropout": 0.4}, "control": {"norm": "none", "dropout": 0}},
            where={"optimizer.momentum": 0.9},
        ),
    }
    answers = {finding.name: finding.answer for finding in judge(claims, found)}
    assert answers == {"all": "refuted", "at": "supported", "where": "supported", "arms": "refuted"}


def test_a_list_selects_the_trials_that_have_it() -> None:
    found = data(pair(GAINS), pair([-gain for gain in GAINS], model={"hidden": [10]}))
    for hidden, answer in [([100, 100, 100], "supported"), ([10], "refuted"), ([20] * 20, "not tested")]:
        [finding] = judge({"c": claim(where={"model": {"hidden": hidden}})}, found)
        assert finding.answer == answer


def test_a_claim_left_open_is_inconclusive_whatever_its_interval() -> None:
    rows = [row for rate in (1.0, 2.0) for row in pair([gain * rate for gain in GAINS], lr_multiplier=rate)]
    best = claim(estimator={"name": "best_difference", "over": ["lr_multiplier"]})
    [finding] = judge({"c": best}, data(rows))
    assert finding.answer == "inconclusive" and "edge" in finding.sentence
    assert finding.effect and finding.effect.low > 0 and finding.p_adjusted == 2 / 1024


def test_p_is_adjusted_over_the_claims_that_were_tested_and_no_others() -> None:
    """At eight seeds p is 2/256: three claims of the family survive it, four do not."""
    found = data(pair(GAINS[:8]))
    rest = {
        "needy": Claim(question="?", section="0", quote="", needs="more"),
        "elsewhere": claim(experiment="f"),
        "empty": claim(where={"dropout": 0.4}),
    }
    eight = {"looks": [8]}
    alone = judge({**rest, "c": claim(**eight)}, found)
    assert [finding.name for finding in alone] == ["needy", "elsewhere", "empty", "c"]
    assert [finding.answer for finding in alone] == ["not tested"] * 3 + ["supported"]
    assert (alone[-1].p, alone[-1].p_adjusted, alone[-1].family) == (2 / 256, 2 / 256, 1)
    for count, answer in ((3, "supported"), (4, "inconclusive")):
        several = judge({f"c{n}": claim(**eight) for n in range(count)} | rest, found)
        tested = [finding for finding in several if finding.p]
        assert {(finding.p_adjusted, finding.family) for finding in tested} == {(count * 2 / 256, count)}
        assert [finding.answer for finding in tested] == [answer] * count
    strong = judge({"c": claim(), "d": claim(where={"dropout": 0})}, data(pair(GAINS)))
    assert [(finding.answer, finding.p_adjusted) for finding in strong] == [("supported", 4 / 1024)] * 2


def test_a_table_has_a_row_for_each_combination_of_levels() -> None:
    unfinished = [row | {"status": "pending"} for row in pair(GAINS, dropout=0.4, nonlinearity="tanh")]
    cells = [pair(GAINS, dropout=0.4), pair([-gain for gain in GAINS]), pair(GAINS, nonlinearity="tanh"), unfinished]
    [finding] = judge({"c": claim(where={}, table={"by": ["nonlinearity", "dropout"]})}, data(*cells))
    levels = [("sigmoid", 0), ("sigmoid", 0.4), ("tanh", 0), ("tanh", 0.4)]
    assert [tuple(row.levels.values()) for row in finding.rows] == levels
    means = [row.effect.point if row.effect else None for row in finding.rows]
    assert means == [pytest.approx(-4.25), pytest.approx(4.25), pytest.approx(4.25), None]
    assert [row.n for row in finding.rows] == [10, 10, 10, 0]
    assert finding.rows[0].control and finding.rows[0].control.mean == pytest.approx(50)
    assert finding.answer == "not tested"


RATE = {"name": "difference", "of": "trained"}


def test_a_tables_rates_have_wilson_intervals() -> None:
    rows = seeds([0.9] * 10, norm="batch") + seeds([0.9] * 3 + [None] * 7, norm="none")
    [finding] = judge({"c": claim(table={"by": ["nonlinearity"], "estimator": RATE})}, data(rows))
    [line] = finding.rows
    assert line.unit == "rate" and line.control and line.control.rate and line.treatment and line.treatment.rate
    assert (line.treatment.mean, line.control.mean, line.n) == (100, 30, 10)
    assert (line.control.rate.low, line.control.rate.high) == pytest.approx((10.78, 60.32), abs=0.01)
    assert finding.unit == "points" and finding.answer == "supported"


def test_a_tables_own_estimator_is_about_its_own_trials() -> None:
    rows = pair(GAINS) + pair([-gain for gain in GAINS], dropout=0.4)
    how = {"name": "difference", "at": {"dropout": 0}}
    [finding] = judge({"c": claim(table={"by": ["nonlinearity"], "estimator": how})}, data(rows))
    [line] = finding.rows
    assert line.effect and line.effect.point == pytest.approx(4.25)


def test_arms_are_compared_where_they_match_only() -> None:
    """A point that one arm alone has (an `include`, say) is left out and said, not averaged in."""
    both = [seeds([level] * 8, norm=norm) for norm, level in (("none", 0.5), ("batch", 0.6))]
    extra = seeds([1.0] * 8, norm="batch", nonlinearity="tanh")
    [finding] = judge({"c": claim(refuted_if=None)}, data(*both, extra))
    assert finding.effect is not None and finding.effect.point == pytest.approx(10)
    assert finding.notes == ["8 trials without a counterpart in the other arm are left out"]


def test_what_is_only_recorded_of_a_trial_does_not_part_the_arms() -> None:
    """Another experiment may have asked for a shared trial first, with other evaluation steps and probes."""
    control = seeds([0.5] * 8, norm="none", eval_every=100)
    treatment = seeds([0.6] * 8, norm="batch", eval_every=50, probes=["moments"])
    [finding] = judge({"c": claim(refuted_if=None)}, data(control, treatment))
    assert finding.effect is not None and finding.effect.point == pytest.approx(10) and finding.notes == []


# Looks


def test_looks_spend_alpha_once_and_are_the_experiments_seeds_twice_and_four_times_as_many() -> None:
    assert sum(SPENT) == pytest.approx(0.05) and preset(10) == (10, 20, 40)
    looks = [look_at(n, preset(7)) for n in (7, 14, 28)]
    assert [(look.number, look.seeds, look.alpha, look.following) for look in looks if look] == [
        (1, 7, 0.025, 14),
        (2, 14, 0.0125, 28),
        (3, 28, 0.0125, None),
    ]
    assert look_at(10, preset(7)) is None and look_at(10, ()) is None


@pytest.mark.parametrize("looks", [(10, 10), (20, 10), (0, 10), (5, 10, 20, 40)])
def test_looks_that_are_out_of_order_or_too_many_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at most 3 numbers of seeds"):
        ascending(looks)


@pytest.mark.parametrize(("n", "advised"), [(6, 10), (9, 10), (11, 20), (15, 20), (39, 40), (50, 10)])
def test_a_number_of_seeds_that_is_no_look_decides_nothing(n: int, advised: int) -> None:
    finding = verdict([4.0 + seed / 100 for seed in range(n)])
    assert finding.answer == "inconclusive" and finding.look is None
    assert f"judged at 10, 20, 40 seeds, not at {n}." in finding.sentence
    assert f"`bnexp run e --seeds {advised}`" in finding.advice
    assert finding.p_adjusted is not None and finding.p_adjusted < 0.05


STEADY = [3.0, 2.5, 2.0, 1.5, 1.0, 0.9, 0.8]


def test_the_first_look_asks_for_half_of_alpha_and_later_ones_for_a_quarter() -> None:
    first = verdict([*STEADY, -0.5, -0.6, -0.7])
    assert first.p == 46 / 1024 and first.effect and first.effect.low > 0
    assert (first.answer, first.sentence) == ("inconclusive", "p is 0.045, and this look asks for 0.025.")
    looser = verdict([*STEADY, -0.2, -0.3, -0.4])
    assert looser.p is not None and 0.0125 < looser.p <= 0.025 and looser.answer == "supported"
    second = verdict([*STEADY, -0.2, -0.3, -0.4], looks=[5, 10])
    assert second.p == looser.p and second.answer == "inconclusive" and "asks for 0.0125" in second.sentence


def test_the_advice_is_the_next_look_with_the_instances_overrides() -> None:
    wavering = [1.0, -1, 2, -2, 3, -3, 1, -1, 2, -1]
    [finding] = judge({"c": claim()}, data(pair(wavering), overrides="steps=20 'seeds=10' model.hidden='[8, 8]'"))
    assert finding.answer == "inconclusive" and finding.sentence == "The interval reaches over a limit."
    assert "`bnexp run e --set steps=20 --set 'model.hidden=[8, 8]' --seeds 20`" in finding.advice
    last = verdict(wavering * 4)
    assert last.look and last.look.number == 3 and "--seeds" not in last.advice
    assert last.advice == "Its looks are used up: it stays open. Other seeds would be another claim, with its own 5%."


def test_the_advice_says_how_many_seeds_would_be_enough_as_it_is() -> None:
    """The point is 0.1 above the limit, the interval's end farther below: shrinking it so far, and at the next look's
    alpha, takes (half-widths)^2 times as many."""
    wavering = [1.0, -1, 2, -2, 3, -3, 1, -1, 2, -1]
    finding = verdict(wavering)
    assert finding.effect is not None and finding.effect.point == pytest.approx(0.1)
    shrink = 0.1 / (0.1 - finding.effect.low)
    needed = math.ceil(10 * (2.4977 / 1.95996 / shrink) ** 2)  # z of 0.0125 and of 0.05, two-sided
    assert f"about {needed:,} seeds would be needed" in finding.advice and "its looks end at 40" in finding.advice
    at_the_limit = verdict([*wavering[:-1], -2 + 1e-12])
    assert "; more than 10,000 seeds would be needed" in at_the_limit.advice
    near = verdict([2.0, 3, 1, 4, -2, -1, 2, 3, -1, 2])
    assert "; about" in near.advice and "seeds would be enough if the effect stays as it is" in near.advice
    assert "would be enough" not in verdict([0.0] * 9 + [1e-9], supported_if={"low": {"at_least": 5}}).advice


def test_an_effect_between_the_limits_is_not_sent_on() -> None:
    wide: dict[str, Any] = {"supported_if": {"low": {"at_least": 10}}, "refuted_if": {"high": {"at_most": 1}}}
    between = verdict(GAINS, **wide)
    assert "between what would support it and what would refute it" in between.sentence and between.advice == ""
    never = verdict(LOSSES, refuted_if=None)
    assert "cannot refute it" in never.sentence and never.advice == ""


def test_too_few_seeds_for_so_many_claims_say_so() -> None:
    found = data(pair(GAINS))
    for count, answer in ((12, "supported"), (13, "inconclusive")):
        findings = judge({f"c{n}": claim() for n in range(count)}, found)
        assert {finding.answer for finding in findings} == {answer}
    assert findings[0].sentence == "10 seeds are too few for 13 claims judged together."
    assert "--seeds 20" in findings[0].advice
    five = verdict(GAINS[:5], looks=[5, 10, 20])
    assert five.sentence == "5 seeds are too few to decide anything." and "--seeds 10" in five.advice
    two = verdict(GAINS[:2], looks=[2, 4, 8])
    assert "--seeds 8" in two.advice, "4 would decide nothing either"
    assert "Its looks end at 4 seeds, too few to decide anything" in verdict(GAINS[:2], looks=[2, 3, 4]).advice


# Several measures


BOTH = {
    "deep": {"arms": {"treatment": {"norm": "batch"}, "control": {"norm": "none"}}, "where": {"dropout": 0}},
    "wet": {"arms": {"treatment": {"norm": "batch"}, "control": {"norm": "none"}}, "where": {"dropout": 0.4}},
}
TWO = {name: measure | {"estimator": {"name": "difference"}} for name, measure in BOTH.items()}
UP = [{"of": "deep", "low": {"at_least": 0}}, {"of": "wet", "low": {"at_least": 0}}]
DOWN = [{"of": "deep", "high": {"at_most": 0}}, {"of": "wet", "high": {"at_most": 0}}]


def joined(deep: Sequence[float], wet: Sequence[float], **rules: Any) -> Finding:
    [finding] = judge({"c": claim_of(TWO, **rules)}, data(pair(deep), pair(wet, dropout=0.4)))
    return finding


def test_all_asks_every_measure_and_any_asks_one() -> None:
    flat = [1.0, -1] * 5
    everything: dict[str, Any] = {"supported_if": {"all": UP}, "refuted_if": {"all": DOWN}}
    assert joined(GAINS, GAINS, **everything).answer == "supported"
    assert joined(LOSSES, LOSSES, **everything).answer == "refuted"
    for deep, wet in ((GAINS, LOSSES), (GAINS, flat), (flat, LOSSES)):
        assert joined(deep, wet, **everything).answer == "inconclusive"
    some: dict[str, Any] = {"supported_if": {"any": UP}, "refuted_if": {"all": DOWN}}
    assert joined(flat, GAINS, **some).answer == joined(LOSSES, GAINS, **some).answer == "supported"
    assert joined(LOSSES, LOSSES, **some).answer == "refuted"
    assert joined(flat, LOSSES, **some).answer == "inconclusive"


def test_p_of_all_is_the_largest_and_p_of_any_the_smallest_times_how_many() -> None:
    steady = [*STEADY, -0.5, -0.6, -0.7]  # one-sided 23/1024
    assert joined(GAINS, steady, supported_if={"all": UP}, refuted_if=None).p == 2 * 23 / 1024
    assert joined(GAINS, steady, supported_if={"any": UP}, refuted_if=None).p == 2 * 2 / 1024


def test_every_measure_is_shown_and_its_trials_named_once() -> None:
    finding = joined(GAINS, LOSSES, supported_if={"all": UP}, refuted_if=None)
    assert [number.name for number in finding.numbers] == ["deep", "wet"]
    points = [number.effect.point for number in finding.numbers]
    assert points == [pytest.approx(4.25), pytest.approx(-4.25)]
    assert finding.shown is finding.numbers[1] and finding.effect is finding.numbers[1].effect and finding.n == 10
    assert len(finding.trial_keys) == len(set(finding.trial_keys)) == 40


def test_the_fewest_seeds_of_any_measure_count() -> None:
    finding = joined(GAINS, GAINS[:8], supported_if={"all": UP}, refuted_if=None)
    assert finding.n == 8 and finding.answer == "inconclusive" and "not at 8" in finding.sentence


def test_equal_means_within_a_margin() -> None:
    near = [gain / 10 for gain in GAINS]
    assert verdict(near, supported_if={"within": "margin"}, refuted_if={"low": {"at_least": 1}}).answer == "supported"
    assert verdict(near, 0.4, supported_if={"within": "margin"}, refuted_if=None).answer == "inconclusive"
    assert verdict(GAINS, supported_if={"within": 0.5, "around": 4.25}, refuted_if=None).answer == "inconclusive"
    assert verdict(GAINS, supported_if={"within": 2, "around": 4.25}, refuted_if=None).answer == "supported"
    assert verdict([0.0] * 10, supported_if={"within": "margin"}, refuted_if=None).answer == "supported"


RATES = {
    "claim": {"arms": {"treatment": {"norm": "batch"}}, "estimator": {"name": "rate"}},
    "limits": {"supported_if": {"low": {"at_least": 0.6}}, "refuted_if": {"high": {"at_most": 0.4}}},
}


@pytest.mark.parametrize(
    ("trained", "answer"), [(10, "supported"), (9, "inconclusive"), (1, "inconclusive"), (0, "refuted")]
)
def test_a_rate_is_judged_by_the_exact_binomial_test(trained: int, answer: str) -> None:
    rows = seeds([0.9] * trained + [None] * (10 - trained), norm="batch")
    judged = claim(arms=RATES["claim"]["arms"], estimator={"name": "rate"}, **RATES["limits"])
    [finding] = judge({"c": judged}, data(rows))
    assert finding.answer == answer and finding.unit == "share"
    if answer != "inconclusive":
        assert finding.p == pytest.approx(2 * 0.6**10)
    assert finding.numbers[0].unpaired() is None


def test_any_of_three_rates_takes_more_than_ten_seeds_and_says_so() -> None:
    """Three times 0.6^10, two-sided, is 0.036."""
    rows = [row for p in (0, 0.1, 0.2) for row in seeds([None] * 10, norm="batch", dropout=p)]
    measures = {f"m{p}": RATES["claim"] | {"where": {"dropout": p}} for p in (0, 0.1, 0.2)}
    refuted = {"any": [{"of": name, "high": {"at_most": 0.4}} for name in measures]}
    supported = {"all": [{"of": name, "low": {"at_least": 0.6}} for name in measures]}
    [finding] = judge({"c": claim_of(measures, supported_if=supported, refuted_if=refuted)}, data(rows))
    assert finding.answer == "inconclusive" and finding.sentence == "p is 0.036, and this look asks for 0.025."


def test_the_unpaired_interval_is_shown_beside_where_both_arms_have_numbers() -> None:
    shared = [0.1 * seed for seed in range(10)]
    rows = seeds([0.5 + s for s in np.array(shared) / 10 + 0.01], norm="batch") + seeds(
        [0.5 + s / 10 for s in shared], norm="none"
    )
    [finding] = judge({"c": claim()}, data(rows))
    [number] = finding.numbers
    apart = number.unpaired()
    assert apart is not None and apart.point == pytest.approx(number.effect.point)
    assert apart.low < 0 < number.effect.low


@pytest.mark.parametrize("sign", [1, -1])
def test_the_unpaired_interval_of_a_ratio_is_of_logarithms_and_has_the_effects_direction(sign: int) -> None:
    """Fewer steps are better: there the effect is control over treatment."""
    treatment, control = np.array([10.0, 20, 20, 40]), np.array([40.0, 80, 160, 80])
    effect = sign * (np.log2(treatment) - np.log2(control))
    found = unpaired(Estimate(treatment, control, effect, "log2"))
    assert found is not None and found.point == pytest.approx(-2 * sign)
    assert found.high - found.low == pytest.approx(2 * 2.4469 * math.sqrt(2 * (2 / 3) / 4), rel=1e-4)


# What has no chance in it


def exact(error: float, **rules: Any) -> Finding:
    cell = seeds([0.9], norm="batch")

    def probes(keys: Sequence[str], probe: str) -> Columns:
        empty = np.array([None] * len(keys), dtype=object)
        values = {
            "trial_key": np.array(keys, dtype=object),
            "step": np.zeros(len(keys)),
            "value": np.full(len(keys), error),
        }
        return values | dict.fromkeys(("layer", "name", "units"), empty)

    limits: dict[str, Any] = {"supported_if": {"high": {"at_most": 1e-8}}, "refuted_if": {"low": {"at_least": 1e-8}}}
    judged = claim(
        arms={"treatment": {"norm": "batch"}},
        estimator={"name": "largest_error"},
        where={"dropout": 0},
        **(limits | rules),
    )
    assert judged.exact
    [finding, other] = judge({"c": judged, "d": claim()}, data(cell, pair(GAINS, dropout=0.4), probes=probes))
    assert other.family == 1 and other.p == other.p_adjusted == 2 / 1024
    return finding


def test_an_exact_claim_has_neither_p_nor_look_nor_family() -> None:
    for error, answer in ((1e-12, "supported"), (1e-3, "refuted")):
        finding = exact(error)
        assert finding.answer == answer and finding.p is finding.p_adjusted is finding.look is None
        assert finding.family == 0 and finding.n == 1
    between = exact(1e-6, refuted_if={"low": {"at_least": 1e-4}})
    assert between.answer == "inconclusive" and "neither" in between.sentence


# Rates chosen beforehand


def tuned(level: dict[str, float], edge: str = "", score: float = 0.9) -> Data:
    """BN better by GAINS; each arm at a rate of its own, chosen by two tuning seeds."""
    rows: list[Row] = []
    tuning: list[Row] = []
    for norm, gains in (("batch", GAINS), ("none", [0.0] * 10)):
        rate = level[norm]
        rows += [r | {"arm": norm} for r in seeds([0.5 + g / 100 for g in gains], norm=norm, lr_multiplier=rate)]
        tuning += [
            r | {"arm": norm}
            for tried in (1.0, 2.0, 4.0)
            for r in seeds([0.5] * 2, norm=norm, lr_multiplier=tried, first=1000)
        ]
    choices = [Choice(norm, "lr_multiplier", level[norm], score, norm == edge) for norm in ("batch", "none")]
    return data(rows, tuning=table(tuning), choices=choices)


def test_arms_at_rates_of_their_own_are_compared_and_the_rates_said() -> None:
    [finding] = judge({"c": claim()}, tuned({"batch": 4.0, "none": 1.0}))
    assert finding.answer == "supported" and finding.effect and finding.effect.point == pytest.approx(4.25)
    assert finding.notes == ["tuned lr multiplier: 4 (batch), 1 (none)"]


def test_an_arm_may_come_to_the_rate_that_another_lends_its_twin() -> None:
    """Then the two are the same trials, and that was found; two arms that were tuned are told apart by their fields."""
    arms = {"treatment": {"variant": "own"}, "control": {"variant": "lent"}}
    rows = [one | {"arm": name, "variant": name} for name in ("own", "lent") for one in seeds([0.5] * 10)]
    choices = [Choice(name, "lr_multiplier", 1.0, 0.9, False) for name in ("own", "none", "lent")]
    [borrowed] = judge({"c": claim(arms=arms)}, data(rows, choices=choices[:2]))
    [tuned] = judge({"c": claim(arms=arms)}, data(rows, choices=choices))
    assert borrowed.effect and borrowed.effect.point == 0 and tuned.answer == "not tested"


def test_a_best_rate_at_the_edge_leaves_a_claim_open_unless_the_arm_is_hopeless() -> None:
    for edge in ("batch", "none"):
        [finding] = judge({"c": claim()}, tuned({"batch": 4.0, "none": 1.0}, edge))
        assert finding.answer == "inconclusive" and f"edge of its grid ({edge})" in finding.sentence
        assert finding.advice == "Extend the grid of rates."
        for score, answer in ((0.14, "supported"), (0.16, "inconclusive")):
            [finding] = judge({"c": claim()}, tuned({"batch": 4.0, "none": 1.0}, edge, score))
            assert finding.answer == answer, (edge, score)


def test_a_measure_that_no_rule_is_about_leaves_nothing_open() -> None:
    """It is shown beside, as the steps of an arm that is still rising may be."""
    found = tuned({"batch": 4.0, "none": 1.0}, "none")
    part = {"arms": CLAIM["arms"], "estimator": {"name": "difference"}}
    alone = {"arms": {"treatment": {"norm": "batch"}}, "estimator": {"name": "rate"}}
    rules: dict[str, Any] = {"supported_if": {"of": "rate", "low": {"at_least": 0.6}}, "refuted_if": None}
    [finding] = judge({"c": claim_of({"rate": alone, "beside": part}, **rules)}, found)
    assert finding.answer == "supported" and [number.name for number in finding.numbers] == ["rate", "beside"]
    rules = {"supported_if": {"of": "beside", "low": {"at_least": 0}}, "refuted_if": None}
    [finding] = judge({"c": claim_of({"rate": alone, "beside": part}, **rules)}, found)
    assert finding.answer == "inconclusive"


@pytest.mark.parametrize(("level", "answer"), [(2.0, "supported"), (4.0, "inconclusive")])
def test_a_rate_taken_from_another_arm_must_not_be_at_the_edge_either(level: float, answer: str) -> None:
    """An arm that borrows has no choice of its own; its trials tell the level."""
    found = tuned({"batch": level, "none": 2.0})
    lent = Data("e", found.trials, no_curves, 1.0, no_probes, found.tuning, found.choices[1:])
    [finding] = judge({"c": claim()}, lent)
    assert finding.answer == answer and ("edge of its grid (batch)" in finding.sentence) is (answer == "inconclusive")


def test_the_choices_of_arms_that_are_not_compared_do_not_matter() -> None:
    found = tuned({"batch": 4.0, "none": 1.0})
    other = Choice("another", "lr_multiplier", 8.0, 0.9, True)
    [finding] = judge(
        {"c": claim()}, Data("e", found.trials, no_curves, 1.0, no_probes, found.tuning, [*found.choices, other])
    )
    assert finding.answer == "supported"


def test_an_arm_is_given_the_tuning_trials_at_its_chosen_rate_only() -> None:
    found = tuned({"batch": 4.0, "none": 1.0})
    side = {name: values[:10] for name, values in found.trials.items()}
    kept = found._tuned_by(side)
    assert kept is not None and set(kept["norm"]) == {"batch"} and list(kept["lr_multiplier"]) == [4.0, 4.0]
    assert data(pair(GAINS))._tuned_by(side) is None


def test_too_many_bounds_are_said_to_be_bounds() -> None:
    """Neither arm ever comes to the target that the tuning trials set."""
    never = claim(estimator={"name": "steps_ratio"}, supported_if={"low": {"at_least": 1}}, refuted_if=None)
    rows = [r | {"arm": norm} for norm in ("batch", "none") for r in seeds([0.9] * 10, norm=norm)]
    tuning = [r | {"arm": norm} for norm in ("batch", "none") for r in seeds([0.9], norm=norm, first=1000)]
    late, early = ({r["trial_key"]: reaching(step) for r in cell} for cell, step in ((rows, 2000), (tuning, 100)))
    choices = [Choice(norm, "lr_multiplier", 1.0, 0.9, False) for norm in ("batch", "none")]
    found = data(rows, curves=curves_of(late | early), tuning=table(tuning), choices=choices)
    [finding] = judge({"c": never}, found)
    assert finding.sentence == "Too many trials only bound the effect." and "more `steps`" in finding.advice
    assert finding.effect and (finding.effect.low, finding.effect.high) == (-math.inf, math.inf)


# A claim decided at an earlier look


def test_more_seeds_do_not_undo_what_an_earlier_look_decided() -> None:
    """They were run for another claim of the experiment; this one's looks had ended."""
    wavering = verdict([1.0, -1, 2, -2, 3, -3, 1, -1, 2, -1] * 2)
    assert (wavering.answer, wavering.n) == ("inconclusive", 20)
    key = wavering.claim.key(wavering.name)
    decided = at_first_look(wavering, [Decided(key, "refuted", 10, ""), Decided(key, "supported", 20, "")], 1.0)
    assert decided.answer == "refuted" and decided.sentence == wavering.claim.refuted and not decided.advice
    assert decided.notes[0] == "decided at 10 seeds, where its looks ended; by all 20 it would be inconclusive"
    for other in (
        Decided("another", "refuted", 10, ""),
        Decided(key, "refuted", 15, ""),
        Decided(key, "refuted", 40, ""),
    ):
        assert at_first_look(wavering, [other], 1.0) is wavering
