"""Rules: on which side of its limits an interval must lie, for a claim to be supported or refuted. Pure functions.

A rule is about one measure, or joins others: `all` of them, or `any`. A rule holds of the data where the intervals say
so; its p-value is that of an intersection-union test for `all` (the largest), and of Bonferroni's for `any`.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, Field, model_validator

from bnexp.claims.statistics import Interval
from bnexp.marks import Fields

Limit = float | Literal["margin", "-margin"]
"""In the measure's unit; `margin` is the dataset's, the difference below which accuracies count as equal."""


MARGINS = (0.3, 0.5, 1.0)
"""Those of the datasets."""


class LowRule(Fields):
    """The lower end of the interval is at least so much."""

    at_least: Limit


class HighRule(Fields):
    """The upper end of the interval is at most so much."""

    at_most: Limit


def _positive(limit: Limit) -> Limit:
    if limit != "margin" and (isinstance(limit, str) or limit <= 0):
        raise ValueError("must be above 0")
    return limit


class Rule(Fields):
    """One of: low, high, within, all, any."""

    of: str | None = None
    """The measure it is about; the claim's only one unless told."""
    low: LowRule | None = None
    """The lower end of the interval is at least so much."""
    high: HighRule | None = None
    """The upper end of the interval is at most so much."""
    within: Annotated[Limit | None, AfterValidator(lambda limit: limit if limit is None else _positive(limit))] = None
    """Equivalence: the whole interval is no farther than this from `around`."""
    around: float = 0.0
    """The middle of `within`, in the measure's unit."""
    all: "tuple[Rule, ...]" = Field(default=(), strict=False)
    """Every one of these rules holds."""
    any: "tuple[Rule, ...]" = Field(default=(), strict=False)
    """One of these rules holds."""

    @model_validator(mode="after")
    def _one_form(self) -> "Rule":
        forms = [self.low, self.high, self.within, self.all or None, self.any or None]
        if sum(form is not None for form in forms) != 1:
            raise ValueError(
                "give one of low: {at_least: ...}, high: {at_most: ...}, within, all: [...] and any: [...]"
            )
        if self.of is not None and (self.all or self.any):
            raise ValueError("`of` belongs to the rules that `all` and `any` join")
        if "around" in self.model_fields_set and self.within is None:
            raise ValueError("`around` belongs to `within`")
        return self

    @property
    def parts(self) -> "tuple[Rule, ...]":
        return self.all or self.any

    def leaves(self) -> "Iterator[Rule]":
        """The rules about one measure each."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()


class Test(Protocol):
    """What the data say of one number."""

    def interval(self) -> Interval:
        """Its point and 95% interval."""

    def p_greater(self, limit: float) -> float:
        """One-sided p for a truth above `limit`."""

    def p_less(self, limit: float) -> float:
        """One-sided p for a truth below `limit`."""


class Scale(Protocol):
    """How a limit that is written becomes one that is compared."""

    def __call__(self, limit: Limit, measure: str) -> float: ...


Tests = Mapping[str, Test]


def bounds(rule: Rule, measure: str, scale: Scale) -> tuple[float, float]:
    """Between which numbers a leaf wants the interval."""
    if rule.low:
        return scale(rule.low.at_least, measure), math.inf
    if rule.high:
        return -math.inf, scale(rule.high.at_most, measure)
    assert rule.within is not None
    half = scale(rule.within, measure)
    return rule.around - half, rule.around + half


def holds(rule: Rule, intervals: Mapping[str, Interval], scale: Scale) -> bool:
    """Whether the whole intervals are where the rule wants them, its limits included."""
    if rule.parts:
        return (all if rule.all else any)(holds(part, intervals, scale) for part in rule.parts)
    name = rule.of or next(iter(intervals))
    low, high = bounds(rule, name, scale)
    return low <= intervals[name].low and intervals[name].high <= high


def may_hold(rule: Rule, intervals: Mapping[str, Interval], scale: Scale) -> bool:
    """Whether the truth may be where the rule wants it: some number of each interval is."""
    if rule.parts:
        return (all if rule.all else any)(may_hold(part, intervals, scale) for part in rule.parts)
    name = rule.of or next(iter(intervals))
    low, high = bounds(rule, name, scale)
    return low <= intervals[name].high and intervals[name].low <= high


def one_sided(rule: Rule, tests: Tests, scale: Scale) -> float:
    """p of the hypothesis that the rule is not true of the truth."""
    if rule.all:
        return max(one_sided(part, tests, scale) for part in rule.all)
    if rule.any:
        return min(1.0, len(rule.any) * min(one_sided(part, tests, scale) for part in rule.any))
    name = rule.of or next(iter(tests))
    low, high = bounds(rule, name, scale)
    above = 0.0 if low == -math.inf else tests[name].p_greater(low)
    below = 0.0 if high == math.inf else tests[name].p_less(high)
    return max(above, below)


def shrinkage(rule: Rule, intervals: Mapping[str, Interval], scale: Scale) -> float:
    """By which factor, 0 to 1, the intervals would have to shrink about their points for the rule to hold: 1 where it
    does, 0 where it would not even then. Of `all` the part that needs most counts, of `any` the one that needs
    least."""
    if rule.parts:
        return (min if rule.all else max)(shrinkage(part, intervals, scale) for part in rule.parts)
    name = rule.of or next(iter(intervals))
    (low, high), there = bounds(rule, name, scale), intervals[name]
    if holds(rule, intervals, scale):
        return 1.0
    if not low <= there.point <= high:
        return 0.0
    below = (there.point - low) / (there.point - there.low) if there.low < low else 1.0
    above = (high - there.point) / (there.high - there.point) if there.high > high else 1.0
    return min(below, above)


Box = dict[str | None, tuple[float, float]]
"""Bounds of several measures at once."""


def _boxes(rule: Rule, margin: float, alone: bool) -> Iterator[Box]:
    """The rule as alternatives, each of which bounds some measures; there may be only one measure."""
    if rule.any:
        for part in rule.any:
            yield from _boxes(part, margin, alone)
    elif rule.all:
        boxes: list[Box] = [{}]
        for part in rule.all:
            boxes = [_joined(box, other) for box in boxes for other in _boxes(part, margin, alone)]
        yield from boxes
    else:
        written = {"margin": margin, "-margin": -margin}
        yield {
            None if alone else rule.of: bounds(
                rule, "", lambda limit, _: written[limit] if isinstance(limit, str) else limit
            )
        }


def _joined(one: Box, other: Box) -> Box:
    both = dict(one)
    for name, (low, high) in other.items():
        there = both.get(name, (low, high))
        both[name] = (max(low, there[0]), min(high, there[1]))
    return both


def compatible(one: Rule, other: Rule) -> bool:
    """Whether both rules can be true of more than a single point, at a margin that a dataset may have."""
    # Where a claim has several measures, every rule says which it is about.
    alone = any(leaf.of is None for rule in (one, other) for leaf in rule.leaves())
    return any(
        all(low < high for low, high in _joined(box, another).values())
        for margin in MARGINS
        for box in _boxes(one, margin, alone)
        for another in _boxes(other, margin, alone)
    )
