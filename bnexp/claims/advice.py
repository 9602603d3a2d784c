"""What keeps a claim open, and what would decide it, with the command. Pure functions."""

import math

from bnexp.claims.data import Data
from bnexp.claims.findings import Finding, Tested
from bnexp.claims.looks import ALPHA, SPENT
from bnexp.claims.overrides import run_command, with_seeds
from bnexp.claims.power import widening
from bnexp.claims.rules import may_hold, shrinkage

MANY = 10_000
"""Seeds of which nobody needs to know how many more they are: an effect at its limit would take any number."""


def advise(tested: Tested, finding: Finding, data: Data) -> tuple[str, str]:
    """Why the claim is open, and what would decide it."""
    claim, look = finding.claim, finding.look
    if tested.undecidable:
        remedy = "Give its trials more `steps`." if "rising" in tested.undecidable else "Extend the grid of rates."
        return f"Left open: {tested.undecidable}.", remedy
    if look is None:
        looks = ", ".join(map(str, claim.looks))
        return (
            f"n is part of a claim: this one is judged at {looks} seeds, not at {finding.n}.",
            f"`{command(data, next((n for n in claim.looks if n > finding.n), claim.looks[0]))}` judges it.",
        )
    more = _more(tested, finding, data)
    if not any(may_hold(rule, tested.intervals, tested.scale) for rule in claim.rules()):
        if claim.refuted_if is None:
            return "The effect does not reach what would support it, and this experiment cannot refute it.", ""
        return "The effect lies between what would support it and what would refute it; more seeds would not help.", ""
    if _too_few(finding):
        together = f"for {finding.family} claims judged together" if finding.family > 1 else "to decide anything"
        return f"{finding.n} seeds are too few {together}.", more
    if all(math.isinf(i.low) and math.isinf(i.high) for i in tested.intervals.values()):
        return "Too many trials only bound the effect.", "Give its trials more `steps`, or its factor more levels."
    if any(tested.holds(rule) for rule in claim.rules()):
        if tested.p_both <= look.alpha:
            return f"p is small enough alone, but not adjusted for {finding.family} claims.", more
        if tested.p_both > ALPHA:
            return "The interval ends at the limit itself, and p does not say on which side the truth is.", more
        return f"p is {tested.p_both:.3f}, and this look asks for {look.alpha:g}.", more
    return "The interval reaches over a limit.", more


def _too_few(finding: Finding) -> bool:
    """Whether even the clearest outcome of so many seeds could not be significant."""
    assert finding.look is not None
    return not _decides(finding.family, finding.n, finding.look.alpha)


def _decides(family: int, seeds: int, alpha: float) -> bool:
    return bool(family * 2 / 2**seeds <= alpha)


def _following(finding: Finding) -> int | None:
    """The seeds of the next look that could decide anything; None where there is none."""
    after = [n for n in zip(finding.claim.looks, SPENT, strict=False) if n[0] > finding.n]
    return next((seeds for seeds, alpha in after if _decides(finding.family, seeds, alpha)), None)


def _more(tested: Tested, finding: Finding, data: Data) -> str:
    """More seeds, at the next look, and whether they are likely to be enough."""
    assert finding.look is not None
    look = finding.look
    shrink = max(shrinkage(rule, tested.intervals, tested.scale) for rule in finding.claim.rules())
    if look.following is None:
        return "Its looks are used up: it stays open. Other seeds would be another claim, with its own 5%."
    following = _following(finding)
    if following is None:
        return f"Its looks end at {finding.claim.looks[-1]} seeds, too few to decide anything: more make another claim."
    # What the interval shows is alpha = 0.05 of one claim; the next look asks for more.
    wider = widening(SPENT[look.number], finding.family)
    needed = math.ceil(finding.n * (wider / shrink) ** 2) if 0 < shrink < 1 else None
    last = finding.claim.looks[-1]
    if needed and needed > last:
        seeds = f"about {needed:,}" if needed <= MANY else f"more than {MANY:,}"
        return (
            f"`{command(data, following)}` is its next look; {seeds} seeds would be needed if the effect stays as "
            f"it is, and its looks end at {last}."
        )
    about = f"; about {needed:,} seeds would be enough if the effect stays as it is" if needed else ""
    return f"`{command(data, following)}` decides it, or leaves it open{about}."


def command(data: Data, seeds: int) -> str:
    """The command that runs the instance's experiment with so many seeds."""
    return run_command([data.experiment], with_seeds(data.overrides, seeds))
