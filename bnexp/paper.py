"""A table of the paper, written down in an experiments file to be shown beside the experiment's own results.

Only a report reads it: it is no part of a trial's or an instance's identity.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from bnexp.config import columns_by_name
from bnexp.errors import ConfigurationError, did_you_mean
from bnexp.marks import Fields
from bnexp.settings import flatten
from bnexp.yamlfile import Document, Path

OF_CURVES = ("learning_rate", "steps", "accuracy", "outcome")
OF_ERRORS = ("crops", "models", "top1_error", "top5_error", "claim", "measures")
"""What a row may say, in a table about learning curves and in one about errors on the test set."""

MOST_ROWS = 100
Percent = Annotated[float, Field(ge=0, le=100)]
Name = Annotated[str, Field(min_length=1, max_length=80)]


def _steps(value: Any) -> Any:
    """Refuses what is neither a number of steps nor the words, in one sentence."""
    if value == "not reached" or (type(value) in (int, float) and 0 < value < math.inf):
        return value
    raise ValueError('it must be a number above 0, or "not reached"')


class ErrorMeasures(Fields):
    """The names of the measures of a claim that stand in the places of errors."""

    top1_error: str | None = None
    top5_error: str | None = None


class PaperRow(Fields):
    """A line of the paper's table, and which of our trials stand beside it: those of the variant of its name, unless
    `variant` or `where` says otherwise."""

    variant: str | None = None
    """Ours, where it has another name."""
    where: dict[str, Any] = Field(default_factory=dict)
    """A partial configuration that all our trials beside it have."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """The initial one."""
    steps: Annotated[float | Literal["not reached"] | None, BeforeValidator(_steps)] = None
    """To the control's best accuracy."""
    accuracy: Percent | None = None
    """The largest on validation, in percent."""
    outcome: Annotated[str, Field(min_length=1, max_length=20)] | None = None
    """In a few words, what stands in the place of steps, such as "machine infinity"."""
    crops: Annotated[int, Field(ge=1)] | None = None
    """Of each image. Beside several stand our trials with several crops, however many."""
    models: Annotated[int, Field(ge=1)] | None = None
    """In an ensemble."""
    top1_error: Percent | None = None
    """On the test set, in percent."""
    top5_error: Percent | None = None
    """The same of the five likeliest classes."""
    claim: str | None = None
    """The claim whose measured value stands beside it, instead of trials' errors."""
    measures: ErrorMeasures | None = None
    """Which of its measures; the first one in the place of top-1 error, unless told."""

    def given(self, names: Sequence[str]) -> list[str]:
        """Which of `names` the row says."""
        return [name for name in names if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        curves, errors = self.given(OF_CURVES), self.given(OF_ERRORS)
        if curves and errors:
            raise ValueError(f"{curves[0]} is about curves and {errors[0]} about test errors; a row has one kind")
        if self.steps is not None and self.outcome is not None:
            raise ValueError("outcome stands in the place of steps; a row has one of them")
        if self.measures is not None and self.claim is None:
            raise ValueError("measures needs `claim`, whose they are")
        if self.claim is not None and (self.variant is not None or self.where):
            raise ValueError("beside it stands a claim's value or our trials; a row has `claim`, or `variant`, `where`")
        return self


class PaperTable(Fields):
    """The paper's table."""

    title: Name
    """What the paper calls it, such as "Figure 3"."""
    scale: Annotated[str, Field(max_length=300)] = ""
    """On what the paper measured it."""
    control: str | None = None
    """The row whose best accuracy is the target of everybody's steps; a table about curves needs it."""
    rows: Annotated[dict[Name, PaperRow], Field(min_length=1, max_length=MOST_ROWS)]
    """By the names that the paper gives them."""

    @property
    def of_errors(self) -> bool:
        """Whether it is about errors on the test set, not about curves."""
        return any(row.given(OF_ERRORS) for row in self.rows.values())

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.of_errors and any(row.given(OF_CURVES) for row in self.rows.values()):
            raise ValueError("its rows are about curves and about test errors; a table has one kind")
        if self.of_errors and self.control is not None:
            raise ValueError("control is for a table about curves")
        if not self.of_errors and self.control is None:
            raise ValueError(f"it needs `control`, the row to whose best accuracy steps count: {', '.join(self.rows)}")
        if self.control is not None and self.control not in self.rows:
            raise ValueError(f"control: no row {self.control!r} ({did_you_mean(self.control, self.rows)})")
        return self


def parse_paper(
    document: Document, path: Path, entry: Any, variants: Sequence[str], claims: Mapping[str, Any]
) -> PaperTable:
    """The table at `path`, of which `entry` is what was read; `variants` are the experiment's, `claims` the file's as
    read. Raises ConfigurationError with the place of what is wrong."""
    try:
        table = PaperTable.model_validate(entry)
    except ValidationError as error:
        unknown_first = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        raise _refusal(document, path, unknown_first[0]) from error
    for name, row in table.rows.items():
        _check_names(document, (*path, "rows", name), row, variants, claims)
    return table


def _check_names(
    document: Document, path: Path, row: PaperRow, variants: Sequence[str], claims: Mapping[str, Any]
) -> None:
    """Refuse a variant, claim, measure or field that is not there."""
    claim = claims.get(row.claim or "")
    measures = (claim.get("measures") if isinstance(claim, Mapping) else None) or {}
    asked: list[tuple[str, Path, str | None, Sequence[str]]] = [
        ("variant", ("variant",), row.variant, variants),
        ("claim", ("claim",), row.claim, list(claims)),
    ]
    if row.measures is not None and isinstance(measures, Mapping):
        wanted = row.measures.model_dump()
        asked += [(f"measure of {row.claim}", ("measures", name), value, [*measures]) for name, value in wanted.items()]
    for what, inner, value, known in asked:
        if value is not None and value not in known:
            hint = did_you_mean(value, known) if known else "there are none"
            raise ConfigurationError(f"paper: no {what} {value!r} ({hint})", document.place((*path, *inner)))
    for field, setting in flatten(row.where, lambda inner: document.place((*path, "where", *inner))).items():
        if field not in columns_by_name():
            raise ConfigurationError(f"no field {field!r} ({did_you_mean(field, columns_by_name())})", setting.place)


def _refusal(document: Document, path: Path, detail: ErrorDetails) -> ConfigurationError:
    """A sentence that says what is wrong with the value, and where it stands."""
    location, given = detail["loc"], detail["input"]
    place = document.place((*path, *location))
    what = ".".join(map(str, ["paper", *location]))
    message = detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            models: list[type[Fields]] = [PaperTable, PaperRow, ErrorMeasures]
            model = models[len(location) // 2] if location[0] == "rows" else PaperTable
            hint = did_you_mean(str(location[-1]), model.model_fields)
            return ConfigurationError(f"unknown key {location[-1]!r} ({hint})", place)
        case "missing":
            return ConfigurationError(f"{'.'.join(map(str, ['paper', *location[:-1]]))} needs `{location[-1]}`", place)
        case "model_type" | "dict_type":
            return ConfigurationError(f"{what} must be a mapping (name: value), not {given!r:.60}", place)
        case "too_short" | "too_long":
            return ConfigurationError(f"{what} must have from 1 to {MOST_ROWS} rows", place)
    for subject in ("Input should", "String should"):
        message = message.replace(subject, "it must")
    of_a_row = isinstance(given, Mapping)  # or of the table as a whole: too long to be shown
    return ConfigurationError(f"{what}: {message}" + ("" if of_a_row else f" (given: {given!r:.60})"), place)
