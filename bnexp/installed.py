"""Short names that installed packages give to components, as entry points: what each stands for, an import path.

A name is looked up where it is used and does not ship; reading what packages registered imports nothing of them."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bnexp import own, registry
from bnexp.errors import UsageError, did_you_mean

GROUPS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "norm.name": ("bnexp.norms", registry.NORMS),
    "nonlinearity": ("bnexp.nonlinearities", registry.NONLINEARITIES),
    "model.name": ("bnexp.models", registry.MODELS),
    "dataset": ("bnexp.datasets", registry.DATASETS),
    "estimator": ("bnexp.estimators", registry.ESTIMATORS),
}
"""The group of entry points for a field, or for a claim's estimator, and the names that ship, which always win."""


def resolved(field: str, value: Any) -> Any:
    """The import path that a short name stands for as the field's value, or of each of several; anything else as it is.
    Raises UsageError where nobody gives the name, packages disagree, or what it stands for is no import path."""
    if isinstance(value, list):
        return [resolved(field, one) for one in value]
    if field not in GROUPS or not isinstance(value, str) or own.is_own(value):
        return value
    group, shipped = GROUPS[field]
    if value in shipped or (field == "dataset" and registry.is_prepared(value)):
        return value
    found = {entry.value: entry for entry in _registered(group) if entry.name == value}
    if len(found) > 1:
        several = ", ".join(f"{path} ({_package(entry)})" for path, entry in sorted(found.items()))
        raise UsageError(f"{value!r} has several meanings in {group}: {several}; write the import path that you mean")
    for path, entry in found.items():
        if not re.fullmatch(own.WRITTEN, path):
            raise UsageError(f"{value!r} in {group}: {_package(entry)} registers {path!r}, not {own.PATH}")
        return path
    what, known = field.removesuffix(".name"), registry.datasets() if field == "dataset" else [*shipped]
    known += [entry.name for entry in _registered(group)]
    raise UsageError(f"no such {what} {value!r} ({did_you_mean(value, {*known})}); of your own, write {own.PATH}")


@cache
def _registered(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "a package"
