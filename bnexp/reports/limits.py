"""Limits in words: what was fixed beforehand, however the rules are nested."""

from collections.abc import Mapping

from bnexp.claims.model import Claim, Unit
from bnexp.claims.rules import Limit, Rule
from bnexp.reports.numbers import significant

NOUNS: dict[Unit, str] = {"points": "point", "rate": "point", "decades": "decade"}


def limits(claim: Claim, margin: float | None = None) -> str:
    """What supports and what refutes a claim, in a sentence; with the margin's value, if it is known."""
    supported = f"Supported if {_Words(claim, margin).rule(claim.supported_if)}" if claim.supported_if else ""
    refuted = f"refuted if {_Words(claim, margin).rule(claim.refuted_if)}" if claim.refuted_if else ""
    return f"{supported}; {refuted or 'this experiment cannot refute it'}."


def short(rule: Rule | None, units: Mapping[str, Unit]) -> str:
    """A rule in signs: with-bn ≤ margin and gain ≥ 0."""
    if rule is None:
        return "-"
    if rule.parts:
        inner = (short(part, units) for part in rule.parts)
        return (" and " if rule.all else " or ").join(
            f"({part})" if " or " in part or " and " in part else part for part in inner
        )
    unit = units[rule.of or next(iter(units))]
    name = f"{rule.of} " if len(units) > 1 else ""
    if rule.within is not None:
        around = f"{rule.around:g} " if rule.around else ""
        return f"{name}{f'in {around}' if around else ''}± {_sign(rule.within, unit)}"
    if rule.low:
        return f"{name}≥ {_sign(rule.low.at_least, unit)}"
    assert rule.high is not None
    return f"{name}≤ {_sign(rule.high.at_most, unit)}"


def _sign(limit: Limit, unit: Unit) -> str:
    if isinstance(limit, str):
        return limit
    return f"{limit:g}x" if unit in ("log2", "factor") else f"{limit:g}"


class _Words:
    """Rules of one claim in words. What stands on first mention ("the whole interval") is short afterwards."""

    def __init__(self, claim: Claim, margin: float | None) -> None:
        self.units: dict[str, Unit] = {name: part.estimator.unit for name, part in claim.parts().items()}
        self.margin = margin
        self.mentioned = False

    def rule(self, rule: Rule, inner: bool = False) -> str:
        if not rule.parts:
            return self._leaf(rule)
        joined = (" and " if rule.all else " or ").join(self.rule(part, inner=True) for part in rule.parts)
        return f"({joined})" if inner else joined

    def _leaf(self, rule: Rule) -> str:
        name = rule.of or next(iter(self.units))
        unit = self.units[name]
        value = "value" if unit == "error" else "whole interval"
        subject = "that" if self.mentioned else f"the {value}"
        self.mentioned = True
        if len(self.units) > 1:
            subject += f" of {name}"
        elif subject == "that":
            subject = "it"
        if rule.within is not None:
            return f"{subject} is within {self.quantity(rule.within, unit)} of {self.quantity(rule.around, unit)}"
        if rule.low:
            return f"{subject} is at or above {self.quantity(rule.low.at_least, unit)}"
        assert rule.high is not None
        return f"{subject} is at or below {self.quantity(rule.high.at_most, unit)}"

    def quantity(self, limit: Limit, unit: Unit) -> str:
        """A limit with its unit: 5x, 1 point (the margin), 0.6 of seeds."""
        if isinstance(limit, str):
            name = "the margin" if limit == "margin" else "minus the margin"
            if self.margin is None:
                return name
            return f"{self.quantity(self.margin if limit == 'margin' else -self.margin, unit)} ({name})"
        match unit:
            case "log2":
                return f"{significant(limit)}x"
            case "factor":
                return f"{limit:g}x a layer"
            case "share":
                return f"{limit:g} of the seeds"
            case "error" | "number":
                return f"{limit:g}"
            case _:
                return f"{limit:g} {NOUNS[unit]}{'s' * (abs(limit) != 1)}"
