"""A normalizer that takes the place of batch normalization: in an experiment, and in the words that tell such an
instance from others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from bnexp.design import Experiment
from bnexp.errors import ConfigurationError
from bnexp.normalizers import OwnNormOptions
from bnexp.settings import Settings, flatten, in_words, validated
from bnexp.yamlfile import parse_scalar

REPLACED = "batch"
"""Whose place is taken."""

PHRASE = re.compile(rf"norm=(.+?) in place of {REPLACED}(?: (.*))?", re.DOTALL)
"""How the overrides of an instance begin in which a normalizer has taken it; what follows are others."""


@dataclass(frozen=True)
class Normalizer:
    """A normalizer with its fields, as `norm` of an experiments file may name it."""

    name: str
    fields: Mapping[str, Any]
    """Those that are not at their defaults."""
    place: str = ""
    """Where it was named, for errors."""

    @classmethod
    def parse(cls, text: str, place: str) -> "Normalizer":
        """The normalizer that `text` means, such as "layer" or "{name: group, groups: 2}". Raises ConfigurationError
        with `place` where a file could not name it."""
        norm = validated(_settings(parse_scalar(text, place), place)).norm
        fields = norm.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
        if isinstance(norm, OwnNormOptions) and norm.options:
            fields["options"] = dict(norm.options)
        return cls(norm.name, fields, place)

    def __str__(self) -> str:
        """As an experiments file has it."""
        if not self.fields:
            return self.name
        whole = {"name": self.name, **self.fields}
        return yaml.safe_dump(whole, default_flow_style=True, sort_keys=False, width=float("inf")).strip()

    @property
    def label(self) -> str:
        """In a word: layer, group(groups=2)."""
        fields = ",".join(f"{name}={in_words(value)}" for name, value in self.fields.items())
        return f"{self.name}({fields})" if fields else self.name

    @property
    def phrase(self) -> str:
        """What the overrides of an instance begin with in which it has taken the place; empty where it is batch
        normalization itself, which takes no place."""
        return "" if self.itself else f"norm={self} in place of {REPLACED}"

    @property
    def itself(self) -> bool:
        """Whether it is batch normalization as the file names it."""
        return self.name == REPLACED and not self.fields

    def has(self, field: str) -> bool:
        """Whether it has a field, named `norm.field` or without `norm.`."""
        return field.removeprefix("norm.") in type(validated(self._settings).norm).model_fields

    def instead(self, settings: Settings) -> Settings:
        """The settings with the normalizer where they name batch normalization; those fields stay that it has too."""
        if "norm.name" not in settings or settings["norm.name"].value != REPLACED:
            return settings
        theirs = {name: setting for name, setting in settings.items() if not name.startswith("norm.") or self.has(name)}
        return theirs | self._settings

    @property
    def _settings(self) -> Settings:
        return _settings({"name": self.name, **self.fields}, self.place)


def _settings(norm: Any, place: str) -> Settings:
    """What naming this `norm` at `place` sets."""
    return flatten({"norm": norm}, lambda _: place)


def split(overrides: str) -> tuple[str, str]:
    """The normalizer that has taken the place in an instance with these overrides, empty where none has; and the other
    overrides."""
    found = PHRASE.fullmatch(overrides)
    return (found[1], found[2] or "") if found else ("", overrides)


def replaced_in(overrides: str) -> Normalizer | None:
    """The normalizer that has taken the place in an instance with these overrides; None where none has."""
    text, _ = split(overrides)
    return Normalizer.parse(text, overrides) if text else None


def in_place(experiment: Experiment, normalizer: Normalizer) -> Experiment:
    """The experiment with the normalizer wherever it has batch normalization. Raises ConfigurationError where it has it
    nowhere. What the paper's table says is about batch normalization, and goes."""
    if normalizer.itself:
        return experiment
    instead = normalizer.instead
    changed = replace(
        experiment,
        base=instead(experiment.base),
        factors={name: list(map(instead, levels)) for name, levels in experiment.factors.items()},
        variants={name: instead(partial) for name, partial in experiment.variants.items()},
        include=list(map(instead, experiment.include)),
        exclude=list(map(instead, experiment.exclude)),
    )
    if changed == experiment:
        sentence = f"{experiment.name} has no `norm: {REPLACED}`, whose place {normalizer.label} could take"
        raise ConfigurationError(sentence, experiment.place)
    return replace(changed, paper=None)
