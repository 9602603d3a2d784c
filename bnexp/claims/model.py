"""A claim: what the paper says, how it is measured, and what would support or refute it, fixed beforehand."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bnexp import registry
from bnexp.claims.looks import ascending
from bnexp.claims.partial import Partial, as_column
from bnexp.claims.rules import Rule, compatible
from bnexp.config import columns_by_name
from bnexp.errors import UsageError, did_you_mean
from bnexp.installed import resolved
from bnexp.marks import SHORT, Fields, named
from bnexp.normalizers import OwnOptions
from bnexp.own import is_own

Unit = Literal["points", "rate", "log2", "share", "decades", "factor", "error", "number"]
"""Percentage points of accuracy; percentage points of a share of seeds; the logarithm of a ratio; a share of seeds, 0
to 1; powers of ten; a factor; a relative error; a number that has no unit of ours."""

UNITS: dict[str, Unit] = {
    "difference": "points",
    "best_difference": "points",
    "spread_difference": "points",
    "interaction": "points",
    "maximum_difference": "points",
    "matched_loss_gap": "points",
    "steps_ratio": "log2",
    "largest_trained": "log2",
    "percentile_drift": "log2",
    "tolerated_range": "decades",
    "rate": "share",
    "growth_per_layer": "factor",
    "largest_error": "error",
    "ensemble_gain": "points",
}
"""What each estimator's effect is in."""

ONE_ARM = ("rate", "growth_per_layer", "largest_error", "ensemble_gain")
"""Estimators that compare nothing: they measure the treatment."""

ALONG_A_FACTOR = ("spread_difference", "largest_trained", "tolerated_range")

OWN = "estimators of your own"

USED_BY: dict[str, tuple[str, ...]] = {
    "of": ("difference", "best_difference", "spread_difference", "interaction", "tolerated_range"),
    "over": ("best_difference", "interaction"),
    "factor": ALONG_A_FACTOR,
    "gain": ("interaction",),
    "within": ("tolerated_range",),
    "members": ("ensemble_gain",),
    "measure": ("ensemble_gain",),
    "options": (OWN,),
    "effect_in": (OWN,),
}
"""The estimators that each option means something to."""

EXACT = ("largest_error",)
"""Estimators of what has no chance in it, and hence neither p nor a place among the claims judged together."""


DECIDING = ("experiment", "arms", "where", "estimator", "measures", "supported_if", "refuted_if", "looks")
"""The parts of a claim that a verdict hangs on."""


FactorNames = Annotated[tuple[Annotated[str, AfterValidator(as_column)], ...], Field(strict=False)]


class Arms(Fields):
    """What is compared: the effect is treatment minus control."""

    treatment: Partial
    control: Partial | None = None
    """Left out where the estimator measures the treatment alone."""


def _with_path(name: Any) -> Any:
    try:
        return resolved("estimator", name)
    except UsageError as error:
        raise ValueError(str(error)) from error


class Estimator(Fields):
    """How the effect is measured on each seed."""

    name: Annotated[str, BeforeValidator(_with_path), named("estimator", registry.ESTIMATORS, or_own=True)]
    """What it computes."""
    of: Literal["scored_accuracy", "trained"] = "scored_accuracy"
    """The outcome."""
    at: Partial = Field(default_factory=dict)
    """Only these trials."""
    over: FactorNames = ()
    """best_difference, interaction: the factors each arm may choose, by validation."""
    factor: Annotated[str, AfterValidator(as_column)] | None = None
    """The factor along which largest_trained, tolerated_range and spread_difference look."""
    gain: Arms | None = None
    """interaction: what is gained in each arm, and how much more in the treatment."""
    within: Annotated[float, Field(gt=0)] = 1.0
    """tolerated_range: points under the arm's best that are tolerated."""
    members: Annotated[str, AfterValidator(as_column)] = "member"
    """ensemble_gain: the factor whose levels are the members of an ensemble, or `variant`."""
    measure: Literal["top1_error", "top5_error"] = "top1_error"
    """ensemble_gain: whether the label must be the likeliest class, or among the five likeliest."""
    options: OwnOptions = ()
    """One of your own: what it is called with besides the trials."""
    effect_in: Literal["number", "points", "log2", "decades"] = "number"
    """One of your own: the unit of its effect; log2: the arms are compared by their ratio, of which limits speak."""
    source: str = ""
    """One of your own: SHA-256 of the file that it stands in, which bnexp writes here."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "Estimator":
        if self.name == "best_difference" and not self.over:
            raise ValueError("best_difference needs `over`, the factors that each arm may choose")
        if self.name in ALONG_A_FACTOR and self.factor is None:
            raise ValueError(f"{self.name} needs `factor`, along which it looks")
        if self.name == "interaction" and (self.gain is None or self.gain.control is None):
            raise ValueError("interaction needs `gain`: {treatment: ..., control: ...}, what each arm gains")
        for option, users in USED_BY.items():
            if option in self.model_fields_set and (OWN if self.own else self.name) not in users:
                raise ValueError(f"{self.name} has no `{option}`, which is for {', '.join(users)}")
        if "seed" in (*self.over, self.factor, self.members):
            raise ValueError("the seed is no factor: effects are paired by it")
        return self

    @property
    def own(self) -> bool:
        """Whether it is named by import path."""
        return is_own(self.name)

    @property
    def unit(self) -> Unit:
        if self.own:
            return self.effect_in
        return "rate" if UNITS[self.name] == "points" and self.of == "trained" else UNITS[self.name]


How = Annotated[Estimator, SHORT]
"""`estimator: rate` is short for `estimator: {name: rate}`."""


class Table(Fields):
    """The table under the claim: a row for each combination of levels, measured like the claim unless told."""

    by: FactorNames
    """Whose levels make the rows."""
    estimator: How | None = None
    """The claim's unless told, and so are the arms."""
    arms: Arms | None = None


class Measure(Fields):
    """One number that a claim is about."""

    arms: Arms
    where: Partial = Field(default_factory=dict)
    """Only these of the claim's trials."""
    estimator: How

    @model_validator(mode="after")
    def _has_its_arms(self) -> "Measure":
        if not self.estimator.own and (self.arms.control is None) != (self.estimator.name in ONE_ARM):
            wants = "measures the treatment only" if self.arms.control is not None else "needs a control"
            raise ValueError(f"{self.estimator.name} {wants}")
        return self


class Claim(Fields):
    """An entry under `claims:`. One without an experiment is not tested, and says in `needs` what testing it takes."""

    question: str
    """What the report asks and answers."""
    section: str
    """Where the quote stands."""
    quote: str
    """In the source's own words."""
    paper: str = ""
    """The paper's own figure."""
    source: str = ""
    """Who says it; the paper unless told."""
    experiment: str | None = None
    """Whose trials judge it."""
    needs: str = ""
    """Without an experiment: what testing it takes."""
    arms: Arms | None = None
    """What is compared."""
    where: Partial = Field(default_factory=dict)
    """The trials that the claim and its table are about."""
    estimator: How | None = None
    """How it is measured."""
    measures: dict[str, Measure] = Field(default_factory=dict)
    """Where a claim takes several numbers, instead of `arms` and `estimator`; the one that the verdict hangs on is
    shown in front."""
    table: Table | None = None
    """What stands under it in the report."""
    supported_if: Rule | None = None
    """Where the interval must lie for it to be supported."""
    refuted_if: Rule | None = None
    """And refuted; without, it is supported or inconclusive."""
    supported: str = ""
    """What it means in plain words if supported."""
    refuted: str = ""
    """And if refuted."""
    caveat: str = ""
    """What the experiment cannot show."""
    looks: Annotated[tuple[int, ...], Field(strict=False), AfterValidator(ascending)] = ()
    """The numbers of seeds at which it may be judged: the experiment's, twice and four times as many."""

    @model_validator(mode="after")
    def _whole(self) -> "Claim":
        if self.experiment is None:
            if not self.needs:
                raise ValueError("a claim without `experiment` must say in `needs` what testing it takes")
            return self
        if self.measures and (self.arms or self.estimator):
            raise ValueError("give either `measures`, or `arms` and `estimator`")
        parts = {"supported_if": self.supported_if}
        if not self.measures:
            parts = {"arms": self.arms, "estimator": self.estimator, **parts}  # type: ignore[dict-item]
        missing = [name for name, part in parts.items() if part is None]
        if missing:
            raise ValueError(f"a claim with `experiment` needs {', '.join(missing)}")
        self._check_rules()
        return self

    def _check_rules(self) -> None:
        """Refuse rules about what is not measured, limits that are none, and rules that can both be true."""
        units = {name: measure.estimator.unit for name, measure in self.parts().items()}
        for leaf in (leaf for rule in self.rules() for leaf in rule.leaves()):
            if len(units) > 1 and leaf.of is None:
                raise ValueError(f"a rule must say in `of` which measure it is about: {', '.join(units)}")
            if leaf.of is not None and leaf.of not in units:
                raise ValueError(f"no measure {leaf.of!r} ({did_you_mean(leaf.of, units)})")
            unit = units[leaf.of or next(iter(units))]
            limit = leaf.low.at_least if leaf.low else leaf.high.at_most if leaf.high else leaf.within
            if isinstance(limit, str) and unit not in ("points", "rate"):
                raise ValueError(f"a margin is in points of accuracy, and this effect is not ({unit})")
            if unit == "share" and not (isinstance(limit, float) and 0 <= limit <= 1):
                raise ValueError("limits of a share of seeds are numbers from 0 to 1")
            if unit == "log2" and (leaf.within is not None or isinstance(limit, str) or limit is None or limit <= 0):
                raise ValueError("limits of ratios are numbers above 0, in low or high")
        if self.supported_if and self.refuted_if and compatible(self.supported_if, self.refuted_if):
            raise ValueError("supported_if and refuted_if can both be true of the same numbers")

    def rules(self) -> list[Rule]:
        return [rule for rule in (self.supported_if, self.refuted_if) if rule]

    def parts(self) -> dict[str, Measure]:
        """What is measured, by name; the claim's `where` in each."""
        if self.measures:
            return {
                name: measure.model_copy(update={"where": self.where | measure.where})
                for name, measure in self.measures.items()
            }
        if self.arms is None or self.estimator is None:
            return {}
        return {"effect": Measure(arms=self.arms, where=self.where, estimator=self.estimator)}

    @property
    def exact(self) -> bool:
        """Whether chance has no part in it."""
        return bool(self.parts()) and all(part.estimator.name in EXACT for part in self.parts().values())

    def key(self, name: str) -> str:
        """Hash of what decides the verdict. The words about it may still be mended when its trials have begun."""
        deciding = {part: value for part, value in self.definition().items() if part in DECIDING}
        return hashlib.sha256(json.dumps([name, deciding], sort_keys=True).encode()).hexdigest()

    def definition(self) -> dict[str, Any]:
        """As plain values."""
        return self.model_dump(mode="json", exclude_defaults=True)


def free_columns(arms: Arms, how: Estimator) -> set[str]:
    """The columns in which the arms may differ: what makes them, with the fields of components they name, and what
    each may choose. Where the outcome is followed over a factor, both arms go over the same levels."""
    names = columns_by_name()
    heads = {name.partition(".")[0] for arm in (arms.treatment, arms.control or {}) for name in arm}
    chosen = set(how.over) if how.name in ("best_difference", "interaction") else set()
    return {column for name, column in names.items() if name.partition(".")[0] in heads} | chosen
