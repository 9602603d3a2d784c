"""What a field of a configuration is: its mark, and the model that all options are made of.

The marks decide everything that must agree about a field: which trials may train together (the cohort key), what makes
a trial the same trial (the trial key), and the column that shows it in the database.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler, field_validator
from pydantic_core import CoreSchema

from bnexp import own
from bnexp.errors import did_you_mean
from bnexp.registry import enumerated

MISSING: Any = object()

IMPORT_PATH = {"type": "string", "pattern": f"^{own.WRITTEN}$", "description": "One of your own, by import path."}


@dataclass(frozen=True)
class Mark:
    """What a field is. `static`: it shapes the program. `per_trial`: only a number in it. `recorded`: it changes what
    is written down, not what happens, so it is not part of a trial's identity."""

    kind: Literal["static", "per_trial", "recorded"]
    unit: str
    column: str
    """Its column in the database; empty where it has none."""
    origin: Any = MISSING
    """The value that all trials had before the field existed. A field at its origin is left out of the trial key, so
    a new field never renames old trials; its default may move later, its origin may not."""


def static(unit: str, column: str, origin: Any = MISSING) -> Mark:
    return Mark("static", unit, column, origin)


def per_trial(unit: str, column: str, origin: Any = MISSING) -> Mark:
    return Mark("per_trial", unit, column, origin)


def recorded(unit: str, column: str) -> Mark:
    return Mark("recorded", unit, column)


@dataclass(frozen=True)
class Written:
    """How people may write a field, as JSON Schema, where that is not what pydantic makes of its type."""

    schema: Callable[[dict[str, Any]], dict[str, Any]]
    """From what pydantic makes."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.schema(handler(core))


@dataclass(frozen=True, slots=True)
class Named(AfterValidator):
    """A check of names, and the registry that has them."""

    known: Mapping[str, str]
    or_own: bool

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [enumerated(self.known), IMPORT_PATH]} if self.or_own else enumerated(self.known)


def named(kind: str, known: Mapping[str, str], or_own: bool = False) -> Named:
    """Accept the names in a registry only, and import paths with `or_own`."""

    def check(name: str) -> str:
        if name not in known and not (or_own and own.is_own(name)):
            raise ValueError(f"no such {kind} ({did_you_mean(name, known)})")
        return name

    return Named(check, known, or_own)


def _short(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


SHORT = BeforeValidator(_short)
"""`norm: batch` is short for `norm: {name: batch}`."""


class Fields(BaseModel):
    """Fields that refuse unknown names, guessed types and non-finite numbers, and never change."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="after")
    @classmethod
    def _no_negative_zero(cls, value: Any) -> Any:
        """-0.0 is 0, which is written otherwise, and so would make another trial of the same one."""
        return 0.0 if isinstance(value, float) and value == 0 else value
