"""A claim: what the paper says, how it is measured, and what would support or refute it, fixed beforehand."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from bnexp import registry
from bnexp.config import Fields, columns_by_name, named
from bnexp.errors import ConfigurationError, did_you_mean
from bnexp.experiments import ExperimentsFile
from bnexp.settings import flatten

Partial = dict[str, Any]
"""A partial configuration; the trials that have its values."""

Limit = float | Literal["margin", "-margin"]
"""In the estimate's unit; `margin` is the dataset's, the difference below which accuracies count as equal."""


def as_columns(factors: tuple[str, ...]) -> tuple[str, ...]:
    """Factors by their database columns; a field's dotted name will do."""
    names = columns_by_name()
    return tuple(names.get(factor, factor) for factor in factors)


FactorNames = Annotated[tuple[str, ...], AfterValidator(as_columns)]


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

    @property
    def limit(self) -> Limit:
        if self.low:
            return self.low.at_least
        assert self.high is not None
        return self.high.at_most


class Estimator(Fields):
    """How the effect is measured on each seed."""

    name: Annotated[str, named("estimator", registry.ESTIMATORS)]
    of: Literal["scored_accuracy", "trained"] = "scored_accuracy"
    """The outcome; both in percentage points."""
    at: Partial = Field(default_factory=dict)
    """Only these trials."""
    over: FactorNames = Field(default=(), strict=False)
    """best_difference: the factors each arm may choose, by validation. spread_difference: the factor that varies."""

    @model_validator(mode="after")
    def _has_its_factors(self) -> "Estimator":
        if self.name == "best_difference" and not self.over:
            raise ValueError("best_difference needs `over`, the factors that each arm may choose")
        if self.name == "spread_difference" and len(self.over) != 1:
            raise ValueError("spread_difference needs one factor in `over`")
        return self


class Table(Fields):
    """The table under the claim: a row for each combination of levels, measured like the claim unless told."""

    by: FactorNames = Field(strict=False)
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
        if self.estimator is not None and self.estimator.name == "steps_ratio":
            for rule in (self.supported_if, self.refuted_if):
                if rule is not None and (isinstance(rule.limit, str) or rule.limit <= 0):
                    raise ValueError("the limits of steps_ratio are ratios: numbers above 0")
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
            claims[name] = Claim.model_validate(entry)
        except ValidationError as error:
            raise _refusal(file, name, error.errors()) from error
        if claims[name].experiment is not None:
            _check_names(file, name, claims[name])
    return claims


def _refusal(file: ExperimentsFile, name: str, errors: list[ErrorDetails]) -> ConfigurationError:
    # A limit is a number or a word; where it is neither, the first alternative tells most.
    detail = errors[0]
    location = [part for part in detail["loc"] if part != "float" and not str(part).startswith("literal[")]
    what = ".".join(map(str, [name, *location]))
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = f"no such key ({did_you_mean(str(location[-1]), _fields_at(location[:-1]))})"
    elif len(errors) > 1 and errors[1]["type"] == "literal_error":
        message += ", or one of 'margin' and '-margin'"
    return ConfigurationError(
        f"claim {what}: {message} (given: {detail['input']!r:.60})", file.document.place(("claims", name, *location))
    )


def _fields_at(location: Sequence[object]) -> list[str]:
    """The keys that a part of a claim may have."""
    model: type[Fields] = Claim
    for part in location:
        options = get_args(model.model_fields[str(part)].annotation) or (model.model_fields[str(part)].annotation,)
        model = next(option for option in options if isinstance(option, type) and issubclass(option, Fields))
    return list(model.model_fields)


def _check_names(file: ExperimentsFile, name: str, claim: Claim) -> None:
    """Refuse experiments, fields and columns that do not exist."""

    def place(*path: str | int) -> str:
        return file.document.place(("claims", name, *path))

    if claim.experiment not in file.experiments:
        hint = did_you_mean(str(claim.experiment), file.experiments)
        raise ConfigurationError(f"no experiment {claim.experiment!r} ({hint})", place("experiment"))
    assert claim.arms is not None and claim.estimator is not None
    partials: dict[tuple[str, ...], Partial] = {
        ("where",): claim.where,
        ("arms", "treatment"): claim.arms.treatment,
        ("arms", "control"): claim.arms.control,
    }
    factors: dict[tuple[str, ...], tuple[str, ...]] = {}
    if claim.table:
        factors["table", "by"] = claim.table.by
    hows: dict[tuple[str, ...], Estimator | None] = {("estimator",): claim.estimator}
    hows["table", "estimator"] = claim.table.estimator if claim.table else None
    for path, how in hows.items():
        if how:
            partials[*path, "at"] = how.at
            factors[*path, "over"] = how.over
    for where, partial in partials.items():
        columns_of(partial, lambda inner, where=where: place(*where, *inner))
    known = set(columns_by_name().values())
    for where, named_factors in factors.items():
        for index, factor in enumerate(named_factors):
            if factor not in known:
                hint = did_you_mean(factor, known)
                raise ConfigurationError(f"claim {name}: no column {factor!r} ({hint})", place(*where, index))


def free_columns(arms: Arms, how: Estimator) -> set[str]:
    """The columns in which the arms may differ: what makes them, with the fields of components they name, and what
    each may choose. Where the outcome is followed over a factor, both arms go over the same levels."""
    names = columns_by_name()
    heads = {name.partition(".")[0] for arm in (arms.treatment, arms.control) for name in arm}
    return {column for name, column in names.items() if name.partition(".")[0] in heads} | (
        set(how.over) if how.name == "best_difference" else set()
    )


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
    return {
        names[name]: json.dumps(setting.value) if isinstance(setting.value, list) else setting.value
        for name, setting in settings.items()
    }
