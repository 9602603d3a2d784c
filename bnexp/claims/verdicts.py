"""Verdicts: every claim of an instance measured, and judged together. Pure functions."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

import numpy as np

from bnexp.claims.advice import advise
from bnexp.claims.arms import Estimate, NotEstimableError
from bnexp.claims.data import Data
from bnexp.claims.deciding import with_deciding
from bnexp.claims.findings import Answer, Finding, Limits, Number, Tested
from bnexp.claims.looks import look_at
from bnexp.claims.model import Claim
from bnexp.claims.rules import Rule, Test
from bnexp.claims.statistics import Interval, holm, sign_flip, welch
from bnexp.claims.tables import rows
from bnexp.columns import counts


def judge(claims: Mapping[str, Claim], data: Data) -> list[Finding]:
    """A finding for every claim, in order. The p-values of those that could be tested are adjusted together (Holm), but
    of those in which chance has no part."""
    measured = [_measure(name, claim, data) for name, claim in claims.items()]
    family = [entry for entry in measured if isinstance(entry, Tested) and not entry.finding.claim.exact]
    adjusted = dict(zip([t.finding.name for t in family], holm([t.p_both for t in family]), strict=True))
    return [
        with_deciding(_answer(entry, adjusted.get(entry.finding.name), len(family), data), data.margin)
        if isinstance(entry, Tested)
        else entry
        for entry in measured
    ]


def _answer(tested: Tested, p_adjusted: float | None, family: int, data: Data) -> Finding:
    claim = tested.finding.claim
    finding = replace(tested.finding, p_adjusted=p_adjusted, family=family)
    if p_adjusted is None:
        finding = replace(finding, p=None, look=None, family=0)
        answers: list[tuple[Answer, Rule | None, str]] = [
            ("supported", claim.supported_if, claim.supported),
            ("refuted", claim.refuted_if, claim.refuted),
        ]
        for answer, rule, sentence in answers:
            if tested.holds(rule):
                return replace(finding, answer=answer, sentence=sentence)
        return replace(finding, sentence="The number is neither where it would support nor where it would refute it.")
    significant = finding.look is not None and p_adjusted <= finding.look.alpha
    if significant and not tested.undecidable:
        if tested.p_supported < tested.p_refuted and tested.holds(claim.supported_if):
            return replace(finding, answer="supported", sentence=claim.supported)
        if tested.p_refuted < tested.p_supported and tested.holds(claim.refuted_if):
            return replace(finding, answer="refuted", sentence=claim.refuted)
    why, advice = advise(tested, finding, data)
    return replace(finding, sentence=why, advice=advice)


def _measure(name: str, claim: Claim, data: Data) -> Finding | Tested:
    if claim.experiment is None:
        return Finding(name, claim, "not tested", claim.needs)
    if claim.experiment != data.experiment:
        return Finding(name, claim, "not tested", f"It is measured by `bnexp run {claim.experiment}`.")
    table = rows(claim, data)
    estimates: dict[str, Estimate] = {}
    decisive = _decisive(claim)
    for part, measure in claim.parts().items():
        try:
            estimates[part] = data.estimate(measure.arms, measure.estimator, data.select(measure))
        except NotEstimableError as reason:
            if part in decisive:
                return Finding(name, claim, "not tested", f"{str(reason)[:1].upper()}{str(reason)[1:]}.", rows=table)
    tests = {part: estimate.test() for part, estimate in estimates.items()}
    numbers = [_number(part, estimate, tests[part]) for part, estimate in estimates.items()]
    sides = [trials for measure in claim.parts().values() for _, trials in data.sides(measure)]
    notes = [note for number in numbers for note in number.notes]
    notes.append(data.rates({arm for side in sides for arm in counts(side, "arm")} if data.choices else ()))
    finding = Finding(
        name,
        claim,
        "inconclusive",
        "",
        numbers,
        notes=list(dict.fromkeys(filter(None, notes))),
        rows=table,
        trial_keys=list(dict.fromkeys(chain.from_iterable(side["trial_key"].tolist() for side in sides))),
    )
    tested = Tested(
        finding,
        tests,
        Limits({part: estimate.unit for part, estimate in estimates.items()}, data.margin),
        "; ".join(dict.fromkeys(filter(None, (estimates[part].undecidable for part in decisive)))),
    )
    looked = look_at(min(len(estimates[part].effect) for part in decisive), claim.looks)
    return replace(tested, finding=replace(finding, p=tested.p_both, look=looked))


def _number(name: str, estimate: Estimate, test: Test) -> Number:
    alone = None if estimate.alone is None else sign_flip(estimate.alone).interval()
    n, notes = len(estimate.effect), estimate.notes
    return Number(name, estimate.unit, test.interval(), n, notes, lambda: unpaired(estimate), alone)


def _decisive(claim: Claim) -> list[str]:
    """The measures that its rules are about; others are shown, and decide nothing."""
    leaves = [leaf for rule in claim.rules() for leaf in rule.leaves()]
    return list(dict.fromkeys(leaf.of or next(iter(claim.parts())) for leaf in leaves))


def unpaired(estimate: Estimate) -> Interval | None:
    """The effect by Welch's interval, which does not know that the arms share seeds; of ratios, their logarithms."""
    one, other = estimate.treatment, estimate.control
    if not len(other) or estimate.above is not None or not np.isfinite([one, other]).all():
        return None
    if estimate.unit == "log2":
        one, other = np.log2(one), np.log2(other)
    # Some effects are control minus treatment: fewer steps are better.
    turned = np.allclose(other - one, estimate.effect) and not np.allclose(one - other, estimate.effect)
    return welch(other, one) if turned else welch(one, other)
