"""experiments.yaml: from a file to experiments, and from an experiment to its trials."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bnexp.config import TrialConfig
from bnexp.errors import ConfigurationError, UsageError, did_you_mean
from bnexp.settings import SETTABLE, Settings, flatten, matches, merge, resolve
from bnexp.yamlfile import Document, parse_scalar, read
from bnexp.yamlfile import Path as Place

MOST_TRIALS = 5_000_000
ROOT_KEYS = {"defaults", "experiments", "suites", "claims"}
EXPERIMENT_KEYS = {"about", "factors", "variants", "include", "exclude", "seeds"}


@dataclass(frozen=True)
class Trial:
    """A trial as an experiment wants it."""

    config: TrialConfig
    variant: str
    """The name of the variant it belongs to; empty where the experiment has none."""


@dataclass(frozen=True)
class Experiment:
    """A named entry of the file, not yet expanded."""

    name: str
    about: str
    place: str
    base: Settings
    factors: dict[str, list[Settings]]
    variants: dict[str, Settings]
    include: list[Settings]
    exclude: list[Settings]
    seeds: list[int]
    overrides: Settings = field(default_factory=dict)

    def override(self, assignments: Iterable[str], seeds: str | None = None) -> "Experiment":
        """The experiment with FIELD=VALUE `assignments` over everything else, and other `seeds`: a count, or a list
        with commas. An assigned field is no longer a factor."""
        overrides: Settings = {}
        for assignment in assignments:
            overrides |= _assigned(assignment)
        kept = {
            factor: levels
            for factor, levels in self.factors.items()
            if factor not in overrides and f"{factor}.name" not in overrides
        }
        chosen = self.seeds if seeds is None else _seeds(_seed_words(seeds), f"--seeds {seeds}")
        return replace(self, overrides=overrides, factors=kept, seeds=chosen)

    def points(self) -> int:
        """How many configurations it has at most, seeds apart."""
        return math.prod(map(len, self.factors.values())) * max(1, len(self.variants)) + len(self.include)

    def expand(self) -> list[Trial]:
        """Every trial, in the file's order, each once. Raises ConfigurationError where a value is impossible, where
        nothing is left, or where there would be more than MOST_TRIALS."""
        if self.points() * len(self.seeds) > MOST_TRIALS:
            raise ConfigurationError(
                f"experiment {self.name!r} would have {self.points() * len(self.seeds):,} trials; "
                f"at most {MOST_TRIALS:,} are allowed",
                self.place,
            )
        trials: dict[Trial, None] = {}
        used: set[int] = set()
        for variant, settings in self._points():
            config = resolve(merge(settings, self.overrides))
            excluding = {number for number, partial in enumerate(self.exclude) if matches(config, partial)}
            used |= excluding
            if not excluding:
                trials |= dict.fromkeys(Trial(config.model_copy(update={"seed": seed}), variant) for seed in self.seeds)
        for number, partial in enumerate(self.exclude):
            if number not in used and not self.overrides:
                place = next((setting.place for setting in partial.values()), self.place)
                raise ConfigurationError("this entry of `exclude` matches no trial", place)
        if not trials:
            raise ConfigurationError(f"experiment {self.name!r} has no trials: all are excluded", self.place)
        return list(trials)

    def _points(self) -> Iterator[tuple[str, Settings]]:
        """Every point of the grid before seeds: the variant's name and the merged settings."""
        for variant, partial in (self.variants or {"": {}}).items():
            for levels in itertools.product(*self.factors.values()):
                point = dict(partial)
                for level in levels:
                    point |= level
                yield variant, merge(self.base, point)
        for partial in self.include:
            yield "", merge(self.base, partial)


@dataclass(frozen=True)
class ExperimentsFile:
    """A file of experiments. Its claims are kept as read; `bnexp.claims` gives them their meaning."""

    document: Document
    experiments: dict[str, Experiment]
    suites: dict[str, list[str]]
    claims: dict[str, Any]

    def named(self, names: Iterable[str]) -> list[Experiment]:
        """The experiments with these names, suites taken apart, each once."""
        names = list(names)
        known = {name: [name] for name in self.experiments} | self.suites
        for name in names:
            if name not in known:
                raise UsageError(f"no experiment {name!r} in {self.document.name} ({did_you_mean(name, known)})")
        wanted = dict.fromkeys(member for name in names for member in known[name])
        return [self.experiments[name] for name in wanted]


def default_file() -> Path:
    """experiments.yaml here, else the one that came with bnexp."""
    here, package = Path("experiments.yaml"), Path(__file__).parent
    shipped = package / "experiments.yaml"
    return here if here.exists() else shipped if shipped.exists() else package.parent / "experiments.yaml"


def load(path: Path) -> ExperimentsFile:
    """Read a whole file. Raises ConfigurationError with the place of whatever is wrong in it; values of trials are
    checked when an experiment expands. What `defaults` does not say is as in TrialConfig."""
    document = read(path)
    root = _mapping(document, (), ROOT_KEYS)
    defaults = _settings(document, ("defaults",)) if "defaults" in root else {}
    names = _mapping(document, ("experiments",)) if "experiments" in root else {}
    if not names:
        raise ConfigurationError("there are no experiments", document.place(("experiments",)))
    experiments = {name: _experiment(document, name, defaults) for name in names}
    suites = _mapping(document, ("suites",)) if "suites" in root else {}
    claims = _mapping(document, ("claims",)) if "claims" in root else {}
    members = {name: _suite(document, name, experiments) for name in suites}
    return ExperimentsFile(document, experiments, members, claims)


def _experiment(document: Document, name: str, defaults: Settings) -> Experiment:
    path: Place = ("experiments", name)
    entry = _mapping(document, path)
    for key in entry:
        if key not in EXPERIMENT_KEYS and key.partition(".")[0] not in SETTABLE:
            hint = did_you_mean(key, EXPERIMENT_KEYS | SETTABLE)
            raise ConfigurationError(f"unknown key {key!r} ({hint})", document.place((*path, key)))
    own = {key: value for key, value in entry.items() if key not in EXPERIMENT_KEYS}
    factors = _mapping(document, (*path, "factors")) if "factors" in entry else {}
    variants = _mapping(document, (*path, "variants")) if "variants" in entry else {}
    return Experiment(
        name=name,
        about=str(entry.get("about", "")),
        place=document.place(path),
        base=merge(defaults, flatten(own, lambda inner: document.place((*path, *inner)))),
        factors={factor: _levels(document, (*path, "factors", factor), factor) for factor in factors},
        variants={variant: _settings(document, (*path, "variants", variant)) for variant in variants},
        include=_partials(document, (*path, "include")) if "include" in entry else [],
        exclude=_partials(document, (*path, "exclude")) if "exclude" in entry else [],
        seeds=_seeds(entry.get("seeds", 10), document.place((*path, "seeds"))),
    )


def _at(document: Document, path: Place) -> Any:
    value = document.data
    for part in path:
        value = value[part]
    return value


def _mapping(document: Document, path: Place, known: set[str] | None = None) -> dict[str, Any]:
    """The mapping at `path`, which may have `known` keys only."""
    value = _at(document, path)
    what = ".".join(map(str, path)) or "the file"
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{what} must be a mapping (name: value), not {value!r}", document.place(path))
    for key in value:
        if known is not None and key not in known:
            raise ConfigurationError(f"unknown key {key!r} ({did_you_mean(key, known)})", document.place((*path, key)))
    return dict(value)


def _sequence(document: Document, path: Place) -> list[Any]:
    value = _at(document, path)
    if not isinstance(value, list):
        raise ConfigurationError(f"{path[-1]} must be a list ([...]), not {value!r}", document.place(path))
    return value


def _settings(document: Document, path: Place) -> Settings:
    return flatten(_mapping(document, path), lambda inner: document.place((*path, *inner)))


def _partials(document: Document, path: Place) -> list[Settings]:
    return [_settings(document, (*path, index)) for index in range(len(_sequence(document, path)))]


def _levels(document: Document, path: Place, factor: str) -> list[Settings]:
    """The levels of a factor, each as settings."""
    levels = _sequence(document, path)
    if not levels:
        raise ConfigurationError(f"{factor} is an empty list of levels", document.place(path))
    flatten({factor: None}, lambda _: document.place(path))  # the name is judged where it stands

    def at(index: int) -> Settings:
        return flatten({factor: levels[index]}, lambda inner: document.place((*path, index, *inner[1:])))

    settings = [at(index) for index in range(len(levels))]
    seen: set[tuple[tuple[str, str], ...]] = set()
    for index, level in enumerate(settings):
        values = tuple(sorted((name, repr(setting.value)) for name, setting in level.items()))
        if values in seen:
            raise ConfigurationError(f"{factor} has the level {levels[index]!r} twice", document.place((*path, index)))
        seen.add(values)
    return settings


def _suite(document: Document, name: str, experiments: Mapping[str, Experiment]) -> list[str]:
    members = _sequence(document, ("suites", name))
    if name in experiments:
        raise ConfigurationError(f"the suite {name!r} has an experiment's name", document.place(("suites", name)))
    if not members:
        raise ConfigurationError(f"the suite {name!r} is an empty list", document.place(("suites", name)))
    for index, member in enumerate(members):
        if not isinstance(member, str) or member not in experiments:
            raise ConfigurationError(
                f"no experiment {member!r} ({did_you_mean(str(member), experiments)})",
                document.place(("suites", name, index)),
            )
    return members


def _assigned(assignment: str) -> Settings:
    name, equals, text = assignment.partition("=")
    place = f"--set {assignment}"
    if not equals:
        raise ConfigurationError("write FIELD=VALUE", place)
    return flatten({name: parse_scalar(text, place)}, lambda _: place)


def _seed_words(text: str) -> Any:
    return [parse_scalar(part, "--seeds") for part in text.split(",")] if "," in text else parse_scalar(text, "--seeds")


def _seeds(value: Any, place: str) -> list[int]:
    """A count n means 0 .. n - 1."""
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
