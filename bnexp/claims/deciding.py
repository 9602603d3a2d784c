"""Which number of a claim its verdict hangs on, and is therefore shown for it everywhere. Pure functions.

Of a claim that was decided it is the first of those by which its rule holds; of an open one whose intervals are where a
rule wants them, while p does not say so, likewise. Else it is the first that is where neither rule wants it, else the
first that is not where support wants it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bnexp.claims.findings import Finding, Limits
from bnexp.claims.model import Claim
from bnexp.claims.rules import Rule, Scale, holds
from bnexp.claims.statistics import Interval

Intervals = Mapping[str, Interval]


def with_deciding(finding: Finding, margin: float) -> Finding:
    """The finding with the name of the number that its answer hangs on, where it has numbers. `margin` is the
    dataset's, in points."""
    if not finding.numbers:
        return finding
    intervals = {number.name: number.effect for number in finding.numbers}
    scale = Limits({number.name: number.unit for number in finding.numbers}, margin)
    return replace(finding, deciding=deciding(finding.claim, finding.answer, intervals, scale))


def deciding(claim: Claim, answer: str, intervals: Intervals, scale: Scale) -> str:
    """The name of the number that this answer to a claim hangs on; the first where none does."""
    rules = {"supported": [claim.supported_if], "refuted": [claim.refuted_if]}.get(answer, claim.rules())
    hung = {name for rule in rules if rule for name in _by(rule, intervals, scale)}
    if not hung and answer == "inconclusive":
        hung = _nowhere(claim, intervals, scale) or _amiss(claim.supported_if, intervals, scale)
    return next((name for name in intervals if name in hung), next(iter(intervals)))


def _by(rule: Rule, intervals: Intervals, scale: Scale) -> Iterator[str]:
    """The numbers by which a rule holds; none where it does not."""
    if not holds(rule, intervals, scale):
        return
    if not rule.parts:
        yield _about(rule, intervals)
    for part in rule.parts:
        yield from _by(part, intervals, scale)


def _nowhere(claim: Claim, intervals: Intervals, scale: Scale) -> set[str]:
    """The numbers that are where neither rule wants them."""
    leaves = [leaf for rule in claim.rules() for leaf in rule.leaves()]
    somewhere = {_about(leaf, intervals) for leaf in leaves if holds(leaf, intervals, scale)}
    return {_about(leaf, intervals) for leaf in leaves} - somewhere


def _amiss(rule: Rule | None, intervals: Intervals, scale: Scale) -> set[str]:
    """The numbers that are not where a part of the rule wants them."""
    leaves = rule.leaves() if rule else ()
    return {_about(leaf, intervals) for leaf in leaves if not holds(leaf, intervals, scale)}


def _about(leaf: Rule, intervals: Intervals) -> str:
    return leaf.of or next(iter(intervals))
