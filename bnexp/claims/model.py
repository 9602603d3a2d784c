"""A claim: what the paper says, how it is measured, and what would support or refute it, fixed beforehand."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from bnexp import registry
from bnexp.config import Fields, columns_by_name, named
from bnexp.errors import ConfigurationError, did_you_mean
from bnexp.experiments import ExperimentsFile
from bnexp.settings import flatten

Partial = dict[str, Any]
"""A partial configuration; the trials that have its values."""

Limit = float | Literal["margin", "-margin"]
"""In the estimate's unit; `margin` is the dataset's, the difference below which accuracies count as equal."""


class LowRule(Fields):
    """The lower end of the interval is at least so much."""

    at_least: Limit


class HighRule(Fields):
    """The upper end of the interval is at most so much."""

    at_most: Limit


class Rule(Fields):
    """On which side of a limit the 95% interval must lie, the limit included."""

    low: LowRule | None = None
    high: HighRule | None = None

    @model_validator(mode="after")
    def _one_side(self) -> "Rule":
        if (self.low is None) == (self.high is None):
            raise ValueError("give one of low: {at_least: ...} and high: {at_most: ...}")
        return self


class Estimator(Fields):
    """How the effect is measured on each seed."""

    name: Annotated[str, named("estimator", registry.ESTIMATORS)]
    of: Literal["scored_accuracy", "trained"] = "scored_accuracy"
    """The outcome; both in percentage points."""
    at: Partial = Field(default_factory=dict)
    """Only these trials."""
    over: tuple[str, ...] = Field(default=(), strict=False)
    """best_difference: the factors each arm may choose, by validation. spread_difference: the factor that varies."""


class Table(Fields):
    """The table under the claim: a row for each combination of levels, measured like the claim unless told."""

    by: tuple[str, ...] = Field(strict=False)
    estimator: Estimator | None = None


class Arms(Fields):
    """What is compared: the effect is treatment minus control."""

    treatment: Partial
    control: Partial


class Claim(Fields):
    """An entry under `claims:`. One without an experiment is not tested, and says in `needs` what testing it takes."""

    question: str
    section: str
    quote: str
    paper: str = ""
    """The paper's own figure."""
    experiment: str | None = None
    needs: str = ""
    arms: Arms | None = None
    where: Partial = Field(default_factory=dict)
    """The trials that the claim and its table are about."""
    estimator: Estimator | None = None
    table: Table | None = None
    supported_if: Rule | None = None
    refuted_if: Rule | None = None
    supported: str = ""
    """What it means in plain words if supported."""
    refuted: str = ""
    caveat: str = ""
    """What the experiment cannot show."""

    @model_validator(mode="after")
    def _whole(self) -> "Claim":
        parts = {"arms": self.arms, "estimator": self.estimator, "supported_if": self.supported_if}
        missing = [name for name, part in parts.items() if part is None]
        if self.experiment is None and not self.needs:
            raise ValueError("a claim without `experiment` must say in `needs` what testing it takes")
        if self.experiment is not None and missing:
            raise ValueError(f"a claim with `experiment` needs {', '.join(missing)}")
        return self

    def key(self, name: str) -> str:
        """Hash of the definition."""
        return hashlib.sha256(json.dumps([name, self.definition()], sort_keys=True).encode()).hexdigest()

    def definition(self) -> dict[str, Any]:
        """As plain values."""
        return self.model_dump(mode="json", exclude_defaults=True)


def parse_claims(file: ExperimentsFile) -> dict[str, Claim]:
    """The file's claims by name. Raises ConfigurationError with the place of what is wrong: unknown names, limits
    that are none, experiments that the file does not have, fields that trials do not have."""
    claims = {}
    for name, entry in file.claims.items():
        try:
            claim = Claim.model_validate(entry)
        except ValidationError as error:
            detail = error.errors()[0]
            location = tuple(part for part in detail["loc"] if part not in ("margin", "-margin"))
            what = ".".join(map(str, location)) or name
            message = detail["msg"].removeprefix("Value error, ")
            raise ConfigurationError(
                f"claim {what}: {message} (given: {detail['input']!r:.60})",
                file.document.place(("claims", name, *location)),
            ) from error
        if claim.experiment is not None:
            _check_names(file, name, claim)
        claims[name] = claim
    return claims


def _check_names(file: ExperimentsFile, name: str, claim: Claim) -> None:
    assert claim.arms is not None and claim.estimator is not None
    place = file.document.place
    if claim.experiment not in file.experiments:
        hint = did_you_mean(str(claim.experiment), file.experiments)
        raise ConfigurationError(f"no experiment {claim.experiment!r} ({hint})", place(("claims", name, "experiment")))
    partials = {("where",): claim.where, ("estimator", "at"): claim.estimator.at}
    partials |= {("arms", "treatment"): claim.arms.treatment, ("arms", "control"): claim.arms.control}
    for path, partial in partials.items():
        columns_of(partial, lambda inner, path=path: place(("claims", name, *path, *inner)))
    factors = [*claim.estimator.over, *(claim.table.by if claim.table else ())]
    for factor in factors:
        if factor not in set(columns_by_name().values()):
            hint = did_you_mean(factor, columns_by_name().values())
            raise ConfigurationError(f"claim {name}: no column {factor!r} ({hint})", place(("claims", name)))


def shown(level: object) -> str:
    """A level as people write it: 1, not 1.0."""
    return f"{level:g}" if isinstance(level, float) else str(level)


def described(partial: Mapping[str, object]) -> str:
    """A partial configuration in words."""
    return ", ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in partial.items())


def columns_of(partial: Mapping[str, Any], place: Any = lambda _: "a claim") -> dict[str, Any]:
    """A partial configuration as database columns and values."""
    names = columns_by_name()
    settings = flatten(partial, place)
    for name, setting in settings.items():
        if name not in names:
            raise ConfigurationError(f"no field {name!r} ({did_you_mean(name, names)})", setting.place)
    return {names[name]: setting.value for name, setting in settings.items()}
