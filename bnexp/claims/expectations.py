"""What to expect of claims before they are judged: how wide their intervals will be, and whether n is enough."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bnexp.claims.findings import Limits
from bnexp.claims.looks import look_at
from bnexp.claims.model import Claim, Unit
from bnexp.claims.power import detectable, half_width, sd_from
from bnexp.claims.rules import bounds
from bnexp.claims.statistics import Interval


@dataclass(frozen=True)
class Known:
    """What an earlier instance of the experiment measured of a claim, in its first measure."""

    effect: Interval
    """In the measure's unit; ratios as logarithms."""
    n: int


@dataclass(frozen=True)
class Expectation:
    """What a claim has to expect at some number of seeds."""

    name: str
    unit: Unit
    half_width: float
    """Of the 95% interval, in the unit; in standard deviations of the seeds' differences where nothing is known."""
    in_units: bool
    finds: float
    """How far beyond its limit an effect is found in 80% of samples, likewise."""
    underpowered: bool
    """Whether the effect measured before is nearer than this to its limit."""


def expectations(
    claims: Mapping[str, Claim], seeds: int, margin: float, known: Mapping[str, Known]
) -> list[Expectation]:
    """For each of the claims about one experiment that chance has a part in and that so many seeds are a look for."""
    judged = {name: claim for name, claim in claims.items() if claim.parts() and not claim.exact}
    found = []
    for name, claim in judged.items():
        look = look_at(seeds, claim.looks)
        unit = next(iter(claim.parts().values())).estimator.unit
        if look is None or unit == "share":
            continue
        half, finds = half_width(seeds), detectable(seeds, look.alpha, len(judged))
        before = known.get(name)
        sd = sd_from(before.effect, before.n) if before else math.nan
        if before is None or not math.isfinite(sd):
            found.append(Expectation(name, unit, half, False, finds, False))
            continue
        away = _from_limit(claim, before.effect.point, margin)
        found.append(Expectation(name, unit, half * sd, True, finds * sd, away < finds * sd))
    return found


def _from_limit(claim: Claim, point: float, margin: float) -> float:
    """How far the first measure's effect is from the nearest limit that a rule sets it."""
    first, measure = next(iter(claim.parts().items()))
    scale = Limits({first: measure.estimator.unit}, margin)
    leaves = [leaf for rule in claim.rules() for leaf in rule.leaves() if leaf.of in (None, first)]
    limits = [limit for leaf in leaves for limit in bounds(leaf, first, scale) if math.isfinite(limit)]
    return min((abs(point - limit) for limit in limits), default=math.inf)
