"""An experiment's design: its arms, the trials that tune them, and the trials that compare them.

An arm is a combination of a variant and factor levels, everything but seeds. Points under `include` are arms too.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bnexp.config import TrialConfig, leaves
from bnexp.errors import ConfigurationError
from bnexp.paper import PaperTable
from bnexp.settings import (
    MOST_TRIALS,
    Setting,
    Settings,
    as_seeds,
    assigned,
    in_words,
    matches,
    merge,
    resolve,
    seed_words,
)

Cell = tuple[int, ...]
"""The number of the level of each factor, in the factors' order."""


@dataclass(frozen=True)
class Trial:
    """A trial as an experiment wants it."""

    config: TrialConfig
    variant: str
    """The name of the variant it belongs to; empty where the experiment has none."""
    arm: str = ""
    """The variant and the factor levels in words, such as "BN-x5, dropout 0.2"; empty where there are none."""
    level: float | None = None
    """What it tries of the tuned factor; None in a trial that tunes nothing."""


@dataclass(frozen=True)
class Tune:
    """The stage that chooses a level of one factor for each arm, before any confirming trial runs."""

    factor: str
    """The per-trial field, under its dotted name."""
    levels: tuple[Setting, ...]
    """Numbers, the smallest first."""
    seeds: list[int]
    """Of its own: no confirming trial has one of them."""
    by: str
    borrowers: dict[str, Setting]
    """Variants that are not tuned themselves: they take the level chosen for the variant named here."""

    def __str__(self) -> str:
        """All that the trials do not tell, in one line, the same for the same stage."""
        taken = (f", {name!r} as {setting.value!r}" for name, setting in sorted(self.borrowers.items()))
        return f"{self.factor} by {self.by}" + "".join(taken)

    def check_seeds(self, seeds: Iterable[int], place: str) -> None:
        """Raise ConfigurationError, with `place`, where one of the experiment's `seeds` is a tuning seed too."""
        shared = set(self.seeds) & set(seeds)
        if shared:
            raise ConfigurationError(
                f"seed {min(shared)} is both a seed of the experiment and of its tune stage; tuning needs seeds of its "
                "own, such as [1001, 1002, 1003]",
                place,
            )


@dataclass(frozen=True)
class Arm:
    """A point of the design before seeds."""

    name: str
    """As in Trial.arm."""
    variant: str
    settings: Settings
    config: TrialConfig
    """Its configuration, seed 0; with a tune stage, at the smallest level."""
    source: str
    """The arm whose chosen level it takes: itself, unless its variant borrows."""


@dataclass(frozen=True)
class _Point:
    """A point of the grid, or an included one, before overrides."""

    variant: str
    settings: Settings
    names: frozenset[str]
    """The fields that tell it from the others."""
    cell: Cell | None
    """None for an included point."""


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
    tune: Tune | None = None
    overrides: Settings = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What overrides have taken away, in sentences."""
    paper: PaperTable | None = None
    """What the paper says, to be shown beside the results."""

    def override(self, assignments: Iterable[str], seeds: str | None = None) -> "Experiment":
        """The experiment with FIELD=VALUE `assignments` over everything else, and other `seeds`: a count, or a list
        with commas. An assigned field is no longer a factor, nor tuned; `notes` says so."""
        overrides: Settings = {}
        for assignment in assignments:
            overrides |= assigned(assignment)
        kept, notes = dict(self.factors), list(self.notes)
        for factor, levels in self.factors.items():
            setting = overrides.get(factor) or overrides.get(f"{factor}.name")
            if setting:
                del kept[factor]
                notes.append(
                    f"{factor}={in_words(setting.value)} replaces the factor's levels "
                    f"[{', '.join(map(_level_in_words, levels))}]; claims that compare them will not be tested"
                )
        tune = self.tune
        if tune and tune.factor in overrides:
            notes.append(
                f"{tune.factor}={in_words(overrides[tune.factor].value)} replaces the tune stage; every arm has this "
                "value"
            )
            tune = None
        chosen, place = self.seeds, f"--seeds {seeds}"
        if seeds is not None:
            chosen = as_seeds(seed_words(seeds), place)
            if tune:
                tune.check_seeds(chosen, place)
        return replace(self, overrides=overrides, factors=kept, seeds=chosen, tune=tune, notes=tuple(notes))

    def expand(self, levels: Mapping[str, float] | None = None) -> list[Trial]:
        """Every confirming trial, in the file's order, each once. With a tune stage, `levels` has the chosen level of
        each tuned arm by its name; an arm whose level it lacks stands at the smallest one, so that the trials can be
        counted before. Raises ConfigurationError where a value is impossible, where nothing is left, or where there
        would be more than MOST_TRIALS."""
        trials: list[Trial] = []
        for arm in self.arms():
            level = (levels or {}).get(arm.source)
            config = arm.config if level is None else self._at_level(arm, level)
            trials += _seeded(config, self.seeds, arm, None)
        return trials

    def tuning_trials(self) -> list[Trial]:
        """Every trial of the tune stage: each arm that is tuned itself, on each level and tuning seed. Nobody looks
        inside them, so they are not probed, and nothing is kept of them."""
        if self.tune is None:
            return []
        return [
            trial
            for arm in self.arms()
            if arm.source == arm.name
            for setting in self.tune.levels
            for trial in _seeded(
                self._at_level(arm, setting.value).model_copy(update={"probes": (), "keep": ()}),
                self.tune.seeds,
                arm,
                float(setting.value),
            )
        ]

    def arms(self) -> list[Arm]:
        """Every arm, in the file's order; of those with one configuration under one variant, the first."""
        self._refuse_too_many()
        found: dict[tuple[str, TrialConfig], Arm] = {}
        at: dict[tuple[str, Cell], str] = {}
        borrowing: list[tuple[tuple[str, TrialConfig], Cell]] = []
        used: set[int] = set()
        for point in self._points():
            settings = merge(point.settings, self.overrides)
            if self.tune:
                settings = merge(settings, {self.tune.factor: self.tune.levels[0]})
            config = resolve(settings)
            excluding = {number for number, partial in enumerate(self.exclude) if matches(config, partial)}
            used |= excluding
            if excluding:
                continue
            name = _name(point.variant, config, point.names)
            key = (point.variant, config)
            if key not in found:
                found[key] = Arm(name, point.variant, settings, config, name)
                if point.cell is not None and self.tune and point.variant in self.tune.borrowers:
                    borrowing.append((key, point.cell))
            if point.cell is not None:
                at[point.variant, point.cell] = found[key].name
        for key, cell in borrowing:
            found[key] = replace(found[key], source=self._source(found[key], cell, at))
        self._check(used, list(found.values()))
        return list(found.values())

    def _source(self, arm: Arm, cell: Cell, at: Mapping[tuple[str, Cell], str]) -> str:
        """The name of the arm that `arm` takes its level from."""
        assert self.tune
        lender = self.tune.borrowers[arm.variant]
        if (lender.value, cell) not in at:
            raise ConfigurationError(
                f"the arm {arm.name!r} would take the level of the variant {lender.value!r} at its factor levels, but "
                "that is excluded",
                lender.place,
            )
        return at[lender.value, cell]

    def _at_level(self, arm: Arm, level: float) -> TrialConfig:
        """The arm's configuration with this level of the tuned factor."""
        assert self.tune
        places = {setting.value: setting for setting in self.tune.levels}
        setting = places.get(level, Setting(level, self.place))
        return resolve(merge(arm.settings, {self.tune.factor: setting}))

    def _points(self) -> Iterator[_Point]:
        """Every point of the grid before seeds, with the merged settings, and the included ones."""
        factors = [list(enumerate(levels)) for levels in self.factors.values()]
        every = frozenset(name for levels in self.factors.values() for level in levels for name in level)
        for variant, partial in (self.variants or {"": {}}).items():
            for levels in itertools.product(*factors):
                point, names = dict(partial), set[str]()
                for _, level in levels:
                    point |= level
                    names |= level.keys()
                cell = tuple(number for number, _ in levels)
                yield _Point(variant, merge(self.base, point), frozenset(names), cell)
        for partial in self.include:
            yield _Point("", merge(self.base, partial), every | partial.keys(), None)

    def points(self) -> int:
        """How many arms it has at most."""
        return math.prod(map(len, self.factors.values())) * max(1, len(self.variants)) + len(self.include)

    def _refuse_too_many(self) -> None:
        points = self.points()
        tuning = len(self.tune.levels) * len(self.tune.seeds) if self.tune else 0
        trials = points * (len(self.seeds) + tuning)
        if trials > MOST_TRIALS:
            raise ConfigurationError(
                f"experiment {self.name!r} would have {trials:,} trials; at most {MOST_TRIALS:,} are allowed",
                self.place,
            )

    def _check(self, used: set[int], arms: list[Arm]) -> None:
        """Refuse a design with an `exclude` in vain, without trials, or with two arms of one name."""
        for number, partial in enumerate(self.exclude):
            if number not in used and not self.overrides:
                place = next((setting.place for setting in partial.values()), self.place)
                raise ConfigurationError("this entry of `exclude` matches no trial", place)
        if not arms:
            raise ConfigurationError(f"experiment {self.name!r} has no trials: all are excluded", self.place)
        names = [arm.name for arm in arms]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigurationError(f"two arms of {self.name!r} are called {twice!r}; rename a variant", self.place)


def _seeded(config: TrialConfig, seeds: Iterable[int], arm: Arm, level: float | None) -> Iterator[Trial]:
    for seed in seeds:
        yield Trial(config.model_copy(update={"seed": seed}), arm.variant, arm.name, level)


def _name(variant: str, config: TrialConfig, names: Iterable[str]) -> str:
    """The arm in words. Values are those of the validated configuration, and fields stand in alphabetical order, so
    that a file written differently names the same arm alike."""
    values = {leaf.name: leaf.value for leaf in leaves(config)}
    fields = (f"{name.removesuffix('.name')} {in_words(values[name])}" for name in sorted(names) if name in values)
    return ", ".join([*([variant] if variant else []), *fields])


def _level_in_words(level: Settings) -> str:
    parts = [in_words(s.value) if len(level) == 1 else f"{name} {in_words(s.value)}" for name, s in level.items()]
    return ", ".join(parts) if len(parts) < 2 else "{" + ", ".join(parts) + "}"
