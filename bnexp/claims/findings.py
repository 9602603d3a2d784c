"""What the data say of a claim: its numbers, and how they were judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import log2
from typing import Literal

from bnexp.claims.looks import Look
from bnexp.claims.model import Claim, Unit
from bnexp.claims.rules import Limit, Rule, Test, holds, one_sided
from bnexp.claims.statistics import Interval
from bnexp.claims.tables import Row

Answer = Literal["supported", "refuted", "inconclusive", "not tested"]


@dataclass(frozen=True)
class Number:
    """One measure of a claim, as the data have it."""

    name: str
    unit: Unit
    effect: Interval
    n: int
    """Seeds."""
    notes: list[str] = field(default_factory=list)
    unpaired: Callable[[], Interval | None] = field(default=lambda: None, repr=False, compare=False)
    """Gives Welch's interval, as if the arms shared no seeds; None where nothing is compared or numbers are infinite.
    Few reports show it, and what it is computed with is slow to import."""
    alone: Interval | None = None
    """What the treatment has by itself, where the effect is a gain over a part of it."""


@dataclass(frozen=True)
class Finding:
    """A claim and what the data say of it."""

    name: str
    claim: Claim
    answer: Answer
    sentence: str
    numbers: list[Number] = field(default_factory=list)
    """What was measured, in the claim's order."""
    p: float | None = None
    """Two-sided: twice the smaller of the p-values of what would support and what would refute it."""
    p_adjusted: float | None = None
    look: Look | None = None
    family: int = 0
    """How many claims were judged together."""
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    advice: str = ""
    """What would decide it, where it is inconclusive."""
    trial_keys: list[str] = field(default_factory=list)
    """The trials it is about."""
    deciding: str = ""
    """The name of the number that the answer hangs on, as bnexp.claims.deciding chooses it."""

    @property
    def shown(self) -> Number | None:
        """The number that stands for the claim wherever one does: the one that the answer hangs on."""
        named = (number for number in self.numbers if number.name == self.deciding)
        return next(named, self.numbers[0] if self.numbers else None)

    @property
    def effect(self) -> Interval | None:
        """That of the number that is shown."""
        return self.shown.effect if self.shown else None

    @property
    def unit(self) -> Unit:
        return self.shown.unit if self.shown else "points"

    @property
    def n(self) -> int:
        """The fewest seeds that any of its numbers rests on."""
        return min((number.n for number in self.numbers), default=0)


@dataclass(frozen=True)
class Limits:
    """Limits in the units of the measures; ratios are compared as logarithms."""

    units: Mapping[str, Unit]
    margin: float

    def __call__(self, limit: Limit, measure: str) -> float:
        number = {"margin": self.margin, "-margin": -self.margin}[limit] if isinstance(limit, str) else limit
        return log2(number) if self.units[measure] == "log2" else number


@dataclass(frozen=True)
class Tested:
    """A claim that was measured, waiting for the others."""

    finding: Finding
    tests: dict[str, Test]
    scale: Limits
    undecidable: str

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        return {name: test.interval() for name, test in self.tests.items()}

    def holds(self, rule: Rule | None) -> bool:
        return rule is not None and holds(rule, self.intervals, self.scale)

    def p(self, rule: Rule | None) -> float:
        return one_sided(rule, self.tests, self.scale) if rule else 1.0

    @cached_property
    def p_supported(self) -> float:
        return self.p(self.finding.claim.supported_if)

    @cached_property
    def p_refuted(self) -> float:
        return self.p(self.finding.claim.refuted_if)

    @property
    def p_both(self) -> float:
        return min(1.0, 2 * min(self.p_supported, self.p_refuted))
