"""Rules: properties that hold of any rule and any data."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bnexp.claims.findings import Limits
from bnexp.claims.rules import Rule, compatible, holds, may_hold, one_sided, shrinkage
from bnexp.claims.statistics import Bounded, Interval, SignFlip, sign_flip
from bnexp.claims.verdicts import judge
from tests.tables import claim, claim_of, data, pair

NAMES = ("a", "b")
SCALE = Limits(dict.fromkeys(NAMES, "points"), 1.0)
limits = st.integers(-4, 4).map(lambda half: half / 2) | st.sampled_from(["margin", "-margin"])
numbers = st.integers(-8, 8).map(lambda half: half / 2)


def leaf(of: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        limits.map(lambda limit: {"of": of, "low": {"at_least": limit}}),
        limits.map(lambda limit: {"of": of, "high": {"at_most": limit}}),
        st.tuples(st.sampled_from([0.5, 1.5, "margin"]), numbers).map(
            lambda pair: {"of": of, "within": pair[0], "around": pair[1]}
        ),
    )


RULES = st.recursive(
    st.sampled_from(NAMES).flatmap(leaf),
    lambda inner: st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)).map(
        lambda pair: {pair[0]: pair[1]}
    ),
    max_leaves=5,
).map(Rule.model_validate)
SAMPLES = st.lists(numbers, min_size=10, max_size=10).map(np.array)
TESTS = st.fixed_dictionaries(dict.fromkeys(NAMES, SAMPLES.map(sign_flip)))
INTERVALS = st.fixed_dictionaries(
    dict.fromkeys(
        NAMES, st.lists(numbers, min_size=3, max_size=3).map(sorted).map(lambda x: Interval(x[1], x[0], x[2]))
    )
)
quickly = settings(deadline=None, derandomize=True, database=None, max_examples=150)


@given(RULES, INTERVALS)
@quickly
def test_a_rule_that_holds_may_hold_and_needs_no_shrinking(rule: Rule, intervals: dict[str, Interval]) -> None:
    if holds(rule, intervals, SCALE):
        assert may_hold(rule, intervals, SCALE) and shrinkage(rule, intervals, SCALE) == 1
    else:
        assert shrinkage(rule, intervals, SCALE) < 1


@given(RULES, INTERVALS)
@quickly
def test_a_rule_holds_once_the_intervals_have_shrunk_so_far(rule: Rule, intervals: dict[str, Interval]) -> None:
    factor = shrinkage(rule, intervals, SCALE)
    assert 0 <= factor <= 1

    def shrunk(by: float) -> dict[str, Interval]:
        return {
            name: Interval(i.point, i.point - by * (i.point - i.low), i.point + by * (i.high - i.point))
            for name, i in intervals.items()
        }

    if factor > 0:
        assert holds(rule, shrunk(factor * (1 - 1e-9)), SCALE)
    if factor < 1:
        assert not holds(rule, shrunk(min(1.0, factor * 1.001 + 1e-6)), SCALE)


@given(RULES, RULES, INTERVALS)
@quickly
def test_rules_that_are_accepted_never_both_hold(one: Rule, other: Rule, intervals: dict[str, Interval]) -> None:
    """But of intervals that have no width, at the limit itself."""
    assume(all(interval.low < interval.high for interval in intervals.values()))
    if not compatible(one, other):
        assert not (holds(one, intervals, SCALE) and holds(other, intervals, SCALE))
    assert compatible(one, other) == compatible(other, one)


@given(RULES, TESTS)
@quickly
def test_p_of_all_is_the_largest_and_of_any_bonferronis(rule: Rule, tests: dict[str, SignFlip]) -> None:
    p = one_sided(rule, tests, SCALE)
    assert 0 < p <= 1
    if rule.parts:
        parts = [one_sided(part, tests, SCALE) for part in rule.parts]
        assert p == (max(parts) if rule.all else min(1, len(parts) * min(parts)))
    assert one_sided(Rule(all=(rule,)), tests, SCALE) == one_sided(Rule(any=(rule,)), tests, SCALE) == p


@given(RULES, TESTS)
@quickly
def test_a_small_p_is_where_the_rule_may_be_true(rule: Rule, tests: dict[str, SignFlip]) -> None:
    if one_sided(rule, tests, SCALE) <= 0.025:
        assert may_hold(rule, {name: test.interval() for name, test in tests.items()}, SCALE)


def moved(rule: Rule, by: float) -> Rule:
    """With every limit so much higher."""
    if rule.parts:
        parts = tuple(moved(part, by) for part in rule.parts)
        return Rule(all=parts) if rule.all else Rule(any=parts)
    written = {"margin": 1.0, "-margin": -1.0}

    def higher(limit: Any) -> float:
        return by + (written[limit] if isinstance(limit, str) else limit)

    entry: dict[str, Any] = {"of": rule.of}
    if rule.low:
        entry["low"] = {"at_least": higher(rule.low.at_least)}
    elif rule.high:
        entry["high"] = {"at_most": higher(rule.high.at_most)}
    else:
        entry |= {"within": rule.within, "around": rule.around + by}
    return Rule.model_validate(entry)


@given(RULES, st.fixed_dictionaries(dict.fromkeys(NAMES, SAMPLES)), st.sampled_from([-3.0, 0.5, 2.25]))
@quickly
def test_data_and_limits_that_move_together_are_judged_alike(rule: Rule, samples: dict[str, Any], by: float) -> None:
    here = {name: sign_flip(sample) for name, sample in samples.items()}
    there = {name: sign_flip(sample + by) for name, sample in samples.items()}
    assert one_sided(rule, here, SCALE) == one_sided(moved(rule, by), there, SCALE)


@given(
    st.lists(numbers, min_size=10, max_size=10),
    st.integers(-4, 4),
    st.integers(0, 6),
    st.sampled_from([0.3, 1.0]),
)
@quickly
def test_a_verdict_is_one_and_only_one_side_and_its_interval_is_there(
    gains: list[float], low: int, gap: int, margin: float
) -> None:
    rules = {"supported_if": {"low": {"at_least": low + gap / 2}}, "refuted_if": {"high": {"at_most": low}}}
    [finding] = judge({"c": claim(**rules)}, data(pair(gains), margin=margin))
    swapped = {"supported_if": rules["refuted_if"], "refuted_if": rules["supported_if"]}
    [other] = judge({"c": claim(**swapped)}, data(pair(gains), margin=margin))
    turned = {"supported": "refuted", "refuted": "supported", "inconclusive": "inconclusive"}
    assert turned[finding.answer] == other.answer and finding.p == other.p and finding.effect
    if finding.answer == "supported":
        assert finding.effect.low >= low + gap / 2 and finding.p is not None and finding.p <= 0.025
    if finding.answer == "refuted":
        assert finding.effect.high <= low and finding.p is not None and finding.p <= 0.025


def test_a_bound_speaks_for_no_more_than_it_knows() -> None:
    """What is only bounded above never supports a `low`, however many seeds there are."""
    test = Bounded(sign_flip([-math.inf] * 10), sign_flip([5.0] * 10))
    up, down = Rule.model_validate({"low": {"at_least": -100}}), Rule.model_validate({"high": {"at_most": 6}})
    assert one_sided(up, {"a": test}, SCALE) == 1 and one_sided(down, {"a": test}, SCALE) == 1 / 1024
    assert not holds(up, {"a": test.interval()}, SCALE) and holds(down, {"a": test.interval()}, SCALE)


LOW, HIGH = {"low": {"at_least": 1}}, {"high": {"at_most": 1}}


@pytest.mark.parametrize(
    "written",
    [
        {},
        {**LOW, **HIGH},
        {"all": [LOW], "any": [LOW]},
        {"all": []},
        {"of": "a", "all": [LOW]},
        {"around": 1, **LOW},
        {"within": 0},
        {"within": "-margin"},
        {"low": {"at_most": 1}},
        {"low": {"at_least": "lots"}},
    ],
)
def test_a_rule_is_one_form(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rule.model_validate(written)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (LOW, HIGH, False),
        (LOW, {"high": {"at_most": 1.1}}, True),
        ({"of": "a", **LOW}, HIGH, False),
        ({"of": "a", **LOW}, {"of": "b", **HIGH}, True),
        ({"within": 1}, {"within": 1, "around": 2}, False),
        ({"within": 1}, {"within": 1.1, "around": 2}, True),
        ({"low": {"at_least": "margin"}}, {"high": {"at_most": "margin"}}, False),
        ({"low": {"at_least": "margin"}}, {"high": {"at_most": 0.5}}, True),  # where the margin is 0.3
        ({"any": [{"of": "a", **LOW}, {"of": "b", **LOW}]}, {"of": "a", **HIGH}, True),
        ({"all": [{"of": "a", **LOW}, {"of": "b", **LOW}]}, {"of": "a", **HIGH}, False),
        (LOW, {"any": [HIGH, {"low": {"at_least": 5}}]}, True),
    ],
)
def test_rules_are_compatible_where_some_data_would_fulfil_both(one: Any, other: Any, both: bool) -> None:
    assert compatible(Rule.model_validate(one), Rule.model_validate(other)) == both
    measure = {
        "arms": {"treatment": {"norm": "batch"}, "control": {"norm": "none"}},
        "estimator": {"name": "difference"},
    }
    named = "of" in one or "any" in one or "all" in one
    measures = {"a": measure} | ({"b": measure} if (named and both) or "all" in one else {})
    if both:
        with pytest.raises(ValidationError, match="can both be true"):
            claim_of(measures, supported_if=one, refuted_if=other)
    else:
        assert claim_of(measures, supported_if=one, refuted_if=other)
