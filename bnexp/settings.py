"""Settings: configuration values under flat dotted names, each with the place it came from.

Merging happens on these, so that when a configuration is refused, the error says where the wrong value stands,
whichever of defaults, experiment, factor, variant, include or --set it came from.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bnexp import own
from bnexp.config import TrialConfig, columns_by_name, leaves
from bnexp.errors import ConfigurationError, UsageError, did_you_mean, nearest
from bnexp.installed import resolved
from bnexp.marks import Fields, Mark
from bnexp.normalizers import as_pairs
from bnexp.options import COMPONENTS, as_layers
from bnexp.yamlfile import Path, parse_scalar

SETTABLE = TrialConfig.model_fields.keys() - {"seed", "sources"}
SHORTHANDS: Mapping[str, Callable[[Any], Any]] = {
    "model.hidden": as_layers,
    "model.options": as_pairs,
    "norm.options": as_pairs,
}
"""What makes one thing of the ways in which a value may be written."""
MOST_TRIALS = 5_000_000
"""Of an experiment, and so of its seeds too."""


@dataclass(frozen=True)
class Setting:
    """A configured value and where it stands, such as "experiments.yaml:12:5"."""

    value: Any
    place: str


Settings = dict[str, Setting]
"""Dotted field name to setting; `norm: batch` and `norm: {name: batch}` both stand as `norm.name`."""


def per_trial_fields() -> set[str]:
    """The dotted names of the fields that are only numbers in a program, but for the seed."""
    groups: list[tuple[str, type[Fields]]] = [("", TrialConfig)]
    groups += [(f"{name}.", options) for name, group in COMPONENTS.items() for options in group]
    return {
        prefix + name
        for prefix, fields in groups
        for name, info in fields.model_fields.items()
        if name != "seed" and any(isinstance(mark, Mark) and mark.kind == "per_trial" for mark in info.metadata)
    }


def flatten(values: Mapping[str, Any], place: Callable[[Path], str]) -> Settings:
    """The settings of a partial configuration; `place` tells where a path within it stands."""
    settings: Settings = {}
    for key, value in values.items():
        head = key.partition(".")[0]
        if head not in SETTABLE or (head != key and head not in COMPONENTS):
            hint = did_you_mean(key, SETTABLE, columns_by_name().keys() - {"seed"})
            raise ConfigurationError(f"unknown field {key!r} ({hint})", place((key,)))
        if key in COMPONENTS and isinstance(value, Mapping):
            inner = {f"{key}.{name}": Setting(v, place((key, name))) for name, v in value.items()}
        else:
            inner = {f"{key}.name" if key in COMPONENTS else key: Setting(value, place((key,)))}
        for name in SHORTHANDS.keys() & inner.keys():
            inner[name] = Setting(SHORTHANDS[name](inner[name].value), inner[name].place)
        for name, setting in inner.items():
            if name in settings:
                raise ConfigurationError(f"{name} stands here a second time", setting.place)
            settings[name] = _with_path(name, setting)
    return settings


def _with_path(name: str, setting: Setting) -> Setting:
    """With the import path in the place of a short name that a package has given."""
    try:
        value = resolved(name, setting.value)
    except UsageError as error:
        raise ConfigurationError(f"{name.removesuffix('.name')}: {error}", setting.place) from error
    return Setting(value, setting.place)


def merge(under: Settings, over: Settings) -> Settings:
    """`over` on top of `under`. A component that is renamed forgets the other one's fields."""
    kept = dict(under)
    for component in COMPONENTS:
        name = f"{component}.name"
        if name in over and name in under and over[name].value != under[name].value:
            kept = {key: setting for key, setting in kept.items() if not key.startswith(f"{component}.")}
    return kept | over


def resolve(settings: Settings) -> TrialConfig:
    """The validated configuration, with the sources of what is a person's own. Raises ConfigurationError with the place
    of the first wrong value."""
    config = validated(settings)
    try:
        return config.with_sources()
    except UsageError as error:
        named = (setting.place for setting in settings.values() if str(error).startswith(str(setting.value)))
        raise ConfigurationError(str(error), next(named, "") or None) from error


def validated(settings: Settings) -> TrialConfig:
    """The same without sources, which looks for no file."""
    nested: dict[str, Any] = {}
    for name, setting in settings.items():
        head, dot, inner = name.partition(".")
        if dot:
            # A component's field without its name keeps the default component: say so to the validator.
            nested.setdefault(head, {"name": TrialConfig.model_fields[head].default.name})[inner] = setting.value
        else:
            nested[name] = setting.value
    try:
        return TrialConfig.model_validate(nested)
    except ValidationError as error:
        raise _refusal(error.errors()[0], settings) from error


def assigned(assignment: str) -> Settings:
    """The settings of FIELD=VALUE, as after --set."""
    name, equals, text = assignment.partition("=")
    place = f"--set {assignment}"
    if not equals:
        raise ConfigurationError("write FIELD=VALUE", place)
    return flatten({name: parse_scalar(text, place)}, lambda _: place)


def seed_words(text: str) -> Any:
    """What --seeds means: a list where there are commas; "3," is a list of one."""
    parts = text.removesuffix(",").split(",")
    return [parse_scalar(part, "--seeds") for part in parts] if "," in text else parse_scalar(text, "--seeds")


def as_seeds(value: Any, place: str) -> list[int]:
    """The seeds that `value` means: a list, or a count n for 0 .. n - 1. Raises ConfigurationError with `place`."""
    if isinstance(value, int) and not isinstance(value, bool) and value > MOST_TRIALS:
        raise ConfigurationError(f"{value:,} seeds; at most {MOST_TRIALS:,} are allowed", place)
    seeds = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    if (
        not isinstance(seeds, list)
        or not seeds
        or not all(isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 for seed in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise ConfigurationError(f"seeds must be a count or a list of different whole numbers, not {value!r}", place)
    return seeds


def in_words(value: Any) -> str:
    """A configured value as a person would write it: 0.4, 5, relu, [100, 50], 3x100, {alpha: 1}."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, tuple) and value and all(isinstance(pair, tuple) for pair in value):
        value = dict(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {in_words(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple) and len(value) > 2 and len(set(map(str, value))) == 1:
        return f"{len(value)}x{value[0]}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def matches(config: TrialConfig, partial: Settings) -> bool:
    """Whether `config` has every value of `partial`."""
    values = {leaf.name: leaf.value for leaf in leaves(config)}
    return all(
        name in values and values[name] == (tuple(s.value) if isinstance(s.value, list) else s.value)
        for name, s in partial.items()
    )


def _refusal(error: ErrorDetails, settings: Settings) -> ConfigurationError:
    """A sentence that names the value, what is allowed, and where it stands."""
    location = [part for part in error["loc"] if isinstance(part, str) and part not in ("shipped", "own")]
    head, inner = location[0], location[-1] if len(location) > 1 else None
    name = f"{head}.{inner}" if inner is not None else f"{head}.name" if head in COMPONENTS else head
    setting = settings.get(name) or settings.get(f"{head}.name") or next(iter(settings.values()), Setting(None, ""))
    shown = json.dumps(error["input"], default=str)
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            chosen = settings.get(f"{head}.name")
            owner = f"{head} {chosen.value!r}" if chosen else head
            sentence = f"{owner} has no field {inner!r} ({_hint(str(inner), head, chosen)})"
        case "missing":
            sentence = f"{name} must be given here"
        case "union_tag_invalid" | "literal_error":
            expected = str(context.get("expected_tags") or context.get("expected"))
            names = expected.replace(" or ", ", ").replace("'", "").split(", ")
            value = context.get("tag", error["input"])
            sentence = f"{head}: no such {inner or 'name'} {value!r} ({did_you_mean(str(value), names)})"
        case "value_error":
            sentence = f"{name.removesuffix('.name')}: {shown}: {context['error']}"
        case _:
            sentence = f"{name.removesuffix('.name')}: {shown} is not allowed; {_allowed(error['msg'])}"
    return ConfigurationError(sentence, setting.place or None)


def _hint(inner: str, component: str, chosen: Setting | None) -> str:
    """What the component of the chosen name has instead of the field `inner`, and which others have such a field."""
    if chosen and own.is_own(str(chosen.value)):
        option = inner.removeprefix("options.")
        return f"write it under options, as {component}.options: {{{option}: ...}}"
    default = TrialConfig.model_fields[component].default
    options = {fields.model_fields["name"].default: [*fields.model_fields][1:] for fields in COMPONENTS[component]}
    known = options.get(chosen.value if chosen else default.name, [])
    near = [] if nearest(inner, known) else nearest(inner, {name for names in options.values() for name in names})
    owners = [owner for owner, names in options.items() if near and near[0] in names]
    has = did_you_mean(inner, known) if known else "it has none"
    return f"{has}; {near[0]!r} is a field of {', '.join(owners)}" if owners else has


def _allowed(message: str) -> str:
    return (
        message.replace("Input should", "it must")
        .replace("valid tuple", "list")
        .replace("a valid integer", "an integer")
        .replace("a valid", "a")
    )
