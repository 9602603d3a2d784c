"""Verdicts: every claim of an instance measured, and judged together. Pure functions."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from bnexp import registry
from bnexp.claims.estimators import Arm, Estimate, Measure, NotEstimableError, Unit, choose, matched
from bnexp.claims.model import Claim, Estimator, Rule, columns_of, described, free_columns
from bnexp.claims.statistics import Interval, SignFlip, Values, sign_flip, wilson
from bnexp.claims.statistics import holm as adjust
from bnexp.columns import counts, length
from bnexp.records import Columns

ALPHA = 0.05
ENDED = ("finished", "diverged")

Answer = Literal["supported", "refuted", "inconclusive", "not tested"]


@dataclass(frozen=True)
class Data:
    """What an instance knows."""

    experiment: str
    trials: Columns
    curves: Callable[[Sequence[str]], Columns]
    margin: float
    """Of accuracy, in percentage points."""


@dataclass(frozen=True)
class Cell:
    """An arm's mean over n seeds; a rate of seeds also has its Wilson interval, in percent."""

    mean: float
    n: int
    rate: Interval | None = None


@dataclass(frozen=True)
class Row:
    """One line of a claim's table; without numbers where there is nothing to compare."""

    levels: dict[str, object]
    unit: Unit = "points"
    treatment: Cell | None = None
    control: Cell | None = None
    effect: Interval | None = None
    n: int = 0
    doubt: str = ""
    """Why its numbers decide nothing, if so."""


@dataclass(frozen=True)
class Finding:
    """A claim and what the data say of it."""

    name: str
    claim: Claim
    answer: Answer
    sentence: str
    unit: Unit = "points"
    effect: Interval | None = None
    n: int = 0
    p: float | None = None
    p_adjusted: float | None = None
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _Tested:
    """A claim that was measured, waiting for the others."""

    finding: Finding
    supported_from: float
    refuted_from: float
    undecidable: str

    def supports(self, effect: Interval) -> bool:
        return _beyond(effect, self.finding.claim.supported_if, self.supported_from)

    def refutes(self, effect: Interval) -> bool:
        return _beyond(effect, self.finding.claim.refuted_if, self.refuted_from)

    def may_support(self, effect: Interval) -> bool:
        """Whether any value of the interval would."""
        turned = Interval(effect.point, effect.high, effect.low)
        return _beyond(turned, self.finding.claim.supported_if, self.supported_from)

    def may_refute(self, effect: Interval) -> bool:
        turned = Interval(effect.point, effect.high, effect.low)
        return _beyond(turned, self.finding.claim.refuted_if, self.refuted_from)


def judge(claims: Mapping[str, Claim], data: Data) -> list[Finding]:
    """A finding for every claim, in order. The p-values of those that could be tested are adjusted together (Holm)."""
    measured = [_measure(name, claim, data) for name, claim in claims.items()]
    tested = [entry for entry in measured if isinstance(entry, _Tested)]
    adjusted = dict(zip([t.finding.name for t in tested], adjust([_p(t) for t in tested]), strict=True))
    return [
        _answer(entry, adjusted[entry.finding.name], len(tested)) if isinstance(entry, _Tested) else entry
        for entry in measured
    ]


def _p(tested: _Tested) -> float:
    assert tested.finding.p is not None
    return tested.finding.p


def _answer(tested: _Tested, p_adjusted: float, family: int) -> Finding:
    finding, claim = replace(tested.finding, p_adjusted=p_adjusted), tested.finding.claim
    assert finding.effect is not None
    significant = p_adjusted <= ALPHA
    if tested.undecidable:
        return replace(finding, answer="inconclusive", sentence=f"Left open: {tested.undecidable}.")
    if significant and tested.supports(finding.effect):
        return replace(finding, answer="supported", sentence=claim.supported)
    if significant and tested.refutes(finding.effect):
        return replace(finding, answer="refuted", sentence=claim.refuted)
    return replace(finding, answer="inconclusive", sentence=_why_open(tested, family))


def _why_open(tested: _Tested, family: int) -> str:
    """What keeps a claim open, and what would decide it."""
    claim, effect = tested.finding.claim, tested.finding.effect
    assert effect is not None
    if math.isinf(effect.low) and math.isinf(effect.high):
        enough = next(n for n in itertools.count(6) if family * 2 / 2**n <= ALPHA)
        return f"{tested.finding.n} seeds are too few: {enough} can decide, with {family} claims judged together."
    if _p(tested) <= ALPHA:
        return f"p is small enough alone, but not adjusted for {family} claims; more seeds would decide it."
    if tested.supports(effect) or tested.refutes(effect):
        return "The interval ends at the limit itself, which decides nothing."
    if not tested.may_support(effect) and claim.refuted_if is None:
        return "The effect does not reach what would support it, and this experiment cannot refute it."
    if not tested.may_support(effect) and not tested.may_refute(effect):
        return "The effect lies between what would support it and what would refute it."
    return "The interval reaches over a limit; more seeds would narrow it."


def _measure(name: str, claim: Claim, data: Data) -> Finding | _Tested:
    if claim.experiment is None:
        return Finding(name, claim, "not tested", claim.needs)
    if claim.experiment != data.experiment:
        return Finding(name, claim, "not tested", f"It is measured by `bnexp run {claim.experiment}`.")
    assert claim.estimator is not None and claim.supported_if is not None
    about = choose(data.trials, columns_of(claim.where))
    rows = _rows(claim, about, data)
    chosen = choose(about, columns_of(claim.estimator.at))
    try:
        estimate = _estimate(claim, chosen, claim.estimator, data)
    except NotEstimableError as reason:
        return Finding(name, claim, "not tested", f"{str(reason)[:1].upper()}{str(reason)[1:]}.", rows=rows)
    test = sign_flip(estimate.effect)
    supported, refuted = _limit(claim.supported_if, estimate, data), math.nan
    ps = [_one_sided(test, claim.supported_if, supported)]
    if claim.refuted_if is not None:
        refuted = _limit(claim.refuted_if, estimate, data)
        ps.append(_one_sided(test, claim.refuted_if, refuted))
    finding = Finding(
        name,
        claim,
        "inconclusive",
        "",
        estimate.unit,
        test.interval(),
        len(estimate.effect),
        min(1.0, 2 * min(ps)),
        notes=estimate.notes,
        rows=rows,
    )
    return _Tested(finding, supported, refuted, estimate.undecidable)


def _limit(rule: Rule, estimate: Estimate, data: Data) -> float:
    """The rule's limit in the estimate's unit; ratios are compared as logarithms."""
    limit = rule.limit
    number = {"margin": data.margin, "-margin": -data.margin}[limit] if isinstance(limit, str) else limit
    return math.log2(number) if estimate.unit == "log2" else number


def _beyond(interval: Interval, rule: Rule | None, limit: float) -> bool:
    if rule is None:
        return False
    return interval.low >= limit if rule.low else interval.high <= limit


def _one_sided(test: SignFlip, rule: Rule, limit: float) -> float:
    return test.p_greater(limit) if rule.low else test.p_less(limit)


def _estimate(claim: Claim, trials: Columns, how: Estimator, data: Data) -> Estimate:
    """The effect among `trials`. Raises NotEstimableError where an arm is empty or has not ended."""
    assert claim.arms is not None
    partials = (claim.arms.treatment, claim.arms.control)
    chosen = [choose(trials, columns_of(partial)) for partial in partials]
    first, second, dropped = matched(chosen[0], chosen[1], free_columns(claim.arms, how))
    for arm in (first, second):
        count = length(arm)
        if count == 0:
            raise NotEstimableError("the experiment has no trials of one of its arms that match the other's")
        statuses = counts(arm, "status")
        ended = sum(statuses.get(status, 0) for status in ENDED)
        if ended < count:
            failed = statuses.get("failed", 0)
            how_many = f"only {ended} of {count} trials of an arm have ended"
            remedy = f"{failed} failed: `bnexp run --retry-failed`" if failed else "run it to the end"
            raise NotEstimableError(f"{how_many}; {remedy}")
    measure: Measure = registry.load(registry.ESTIMATORS[how.name])
    names = [described(partial) for partial in partials]
    estimate = measure(Arm(names[0], first, data.curves), Arm(names[1], second, data.curves), how, data.margin)
    note = f"{dropped} trials without a counterpart in the other arm are left out"
    return replace(estimate, notes=[*estimate.notes, note]) if dropped else estimate


def _rows(claim: Claim, about: Columns, data: Data) -> list[Row]:
    """The claim's table."""
    if claim.table is None:
        return []
    how = claim.table.estimator or claim.estimator
    assert how is not None
    if claim.table.estimator:
        about = choose(about, columns_of(how.at))
    axes = [sorted(counts(about, factor), key=_order) for factor in claim.table.by]
    rows = []
    for levels in itertools.product(*axes):
        named = dict(zip(claim.table.by, levels, strict=True))
        try:
            estimate = _estimate(claim, choose(about, named), how, data)
        except NotEstimableError:
            rows.append(Row(named))
            continue
        rows.append(
            Row(
                named,
                estimate.unit,
                _cell(estimate.treatment, estimate.unit),
                _cell(estimate.control, estimate.unit),
                sign_flip(estimate.effect).interval(),
                len(estimate.effect),
                estimate.undecidable,
            )
        )
    return rows


def _order(level: object) -> tuple[bool, object]:
    """Numbers by size; names with those that mean absence first."""
    return (level != "none", level) if isinstance(level, str) else (False, level)


def _cell(values: Values, unit: Unit) -> Cell:
    mean = float(np.mean(values)) if np.isfinite(values).all() else math.inf
    if not (unit == "rate" and np.isin(values, (0.0, 100.0)).all()):
        return Cell(mean, len(values))
    share = wilson(int((values == 100.0).sum()), len(values))
    return Cell(mean, len(values), Interval(100 * share.point, 100 * share.low, 100 * share.high))
