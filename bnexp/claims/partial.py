"""Partial configurations: which trials an arm, a claim or a table means."""

import json
import re
from collections.abc import Mapping
from typing import Any

from bnexp.config import columns_by_name
from bnexp.errors import ConfigurationError, did_you_mean
from bnexp.normalizers import as_pairs
from bnexp.options import as_layers
from bnexp.settings import Setting, flatten, in_words

Partial = dict[str, Any]
"""A partial configuration; the trials that have its values. A list stands for any of its members; `variant` may be
named too."""


PLAINEST = ("norm", "nonlinearity")
"""The fields of an arm that are named first."""


def as_column(factor: str) -> str:
    """A factor's database column; a field's dotted name will do."""
    return columns_by_name().get(factor, factor)


def shown(level: object) -> str:
    """A level as people write it: 1, not 1.0; 3x100, not [100, 100, 100] or its JSON."""
    if isinstance(level, float):
        return f"{level:g}"
    return in_words(json.loads(level) if isinstance(level, str) and level.startswith("[") else level)


def described(partial: Mapping[str, object] | None) -> str:
    """A partial configuration in words."""
    words = []
    for name, value in (partial or {}).items():
        alternatives = value if isinstance(value, list) and name != "model.hidden" else [value]
        words.append(f"{name.replace('_', ' ')} {' or '.join(map(shown, alternatives))}")
    return ", ".join(words)


def called(arm: str) -> str:
    """An arm by its name, as people read it: the variant, then norm and nonlinearity, then what else it has, each field
    without underscores and without the name of what it belongs to."""
    names = "|".join(map(re.escape, (name.removesuffix(".name") for name in columns_by_name())))
    parts = re.split(rf"(?:^|, )(?=(?:{names}) )", arm)
    variant, *fields = parts
    fields.sort(key=lambda field: ([not field.startswith(f"{name} ") for name in PLAINEST], field))
    return ", ".join(filter(None, [variant, *map(_spaced, fields)]))


def _spaced(field: str) -> str:
    name, _, level = field.partition(" ")
    return f"{name.rpartition('.')[2].replace('_', ' ')} {level}"


def columns_of(partial: Mapping[str, Any], place: Any = lambda _: "a claim") -> dict[str, tuple[Any, ...]]:
    """A partial configuration as database columns, each with the values that it may have."""
    names = columns_by_name()
    settings = flatten({name: value for name, value in partial.items() if name != "variant"}, place)
    if "variant" in partial:
        settings["variant"] = Setting(partial["variant"], place(("variant",)))
    found = {}
    for name, setting in settings.items():
        if name not in names and name != "variant":
            raise ConfigurationError(f"no field {name!r} ({did_you_mean(name, names)})", setting.place)
        found[names.get(name, name)] = _alternatives(name, setting.value)
    return found


def _alternatives(name: str, value: Any) -> tuple[Any, ...]:
    """The values that a field may have, as the database has them: hidden layers and options as JSON."""
    if name.endswith(".options"):
        alternatives = value if value and all(isinstance(item, dict) for item in value) else [value]
        return tuple(json.dumps(as_pairs(one)) for one in alternatives)
    if name != "model.hidden":
        return tuple(value) if isinstance(value, list) else (value,)
    several = isinstance(value, list) and not all(isinstance(item, int) for item in value)
    return tuple(json.dumps(as_layers(one)) for one in (value if several else [value]))
