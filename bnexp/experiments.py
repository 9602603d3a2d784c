"""experiments.yaml: from a file to experiments, whose designs are `bnexp.design`'s."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bnexp.design import Experiment, Tune
from bnexp.errors import ConfigurationError, UsageError, did_you_mean
from bnexp.paper import parse_paper
from bnexp.settings import SETTABLE, Setting, Settings, as_seeds, flatten, merge, per_trial_fields
from bnexp.yamlfile import Document, read
from bnexp.yamlfile import Path as Place

ROOT_KEYS = {"defaults", "experiments", "suites", "claims"}
EXPERIMENT_KEYS = {"about", "factors", "variants", "include", "exclude", "seeds", "tune", "paper"}
TUNE_KEYS = {"factor", "levels", "seeds", "by", "as"}
TUNED_BY = {"validation_accuracy"}


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
    here = Path("experiments.yaml")
    return here if here.exists() else shipped_file()


def shipped_file() -> Path:
    """The one that came with bnexp."""
    package = Path(__file__).parent
    shipped = package / "experiments.yaml"
    return shipped if shipped.exists() else package.parent / "experiments.yaml"


def load(path: Path) -> ExperimentsFile:
    """Read a whole file. Raises ConfigurationError with the place of whatever is wrong in it; values of trials are
    checked when an experiment expands. What `defaults` does not say is as in TrialConfig."""
    document = read(path)
    root = _mapping(document, (), ROOT_KEYS)
    defaults = _settings(document, ("defaults",)) if "defaults" in root else {}
    names = _mapping(document, ("experiments",)) if "experiments" in root else {}
    if not names:
        raise ConfigurationError("there are no experiments", document.place(("experiments",)))
    suites = _mapping(document, ("suites",)) if "suites" in root else {}
    claims = _mapping(document, ("claims",)) if "claims" in root else {}
    experiments = {name: _experiment(document, name, defaults, claims) for name in names}
    members = {name: _suite(document, name, experiments) for name in suites}
    return ExperimentsFile(document, experiments, members, claims)


def _experiment(document: Document, name: str, defaults: Settings, claims: Mapping[str, Any]) -> Experiment:
    path: Place = ("experiments", name)
    entry = _mapping(document, path)
    for key in entry:
        if key not in EXPERIMENT_KEYS and key.partition(".")[0] not in SETTABLE:
            hint = did_you_mean(key, EXPERIMENT_KEYS | SETTABLE)
            raise ConfigurationError(f"unknown key {key!r} ({hint})", document.place((*path, key)))
    own = {key: value for key, value in entry.items() if key not in EXPERIMENT_KEYS}
    factors = _mapping(document, (*path, "factors")) if "factors" in entry else {}
    variants = _mapping(document, (*path, "variants")) if "variants" in entry else {}
    experiment = Experiment(
        name=name,
        about=str(entry.get("about", "")),
        place=document.place(path),
        base=merge(defaults, flatten(own, lambda inner: document.place((*path, *inner)))),
        factors={factor: _levels(document, (*path, "factors", factor), factor) for factor in factors},
        variants={variant: _settings(document, (*path, "variants", variant)) for variant in variants},
        include=_partials(document, (*path, "include")) if "include" in entry else [],
        exclude=_partials(document, (*path, "exclude")) if "exclude" in entry else [],
        seeds=as_seeds(entry.get("seeds", 10), document.place((*path, "seeds"))),
    )
    if "tune" in entry:
        experiment = replace(experiment, tune=_tune(document, (*path, "tune"), experiment))
    if "paper" in entry:
        paper = parse_paper(document, (*path, "paper"), entry["paper"], list(variants), claims)
        experiment = replace(experiment, paper=paper)
    return experiment


def _tune(document: Document, path: Place, experiment: Experiment) -> Tune:
    """The tune stage at `path`, of an experiment that is read but for it."""
    entry = _mapping(document, path, TUNE_KEYS)
    for key in ("factor", "levels", "seeds"):
        if key not in entry:
            raise ConfigurationError(f"tune needs `{key}`", document.place(path))
    seeds_place = document.place((*path, "seeds"))
    if not isinstance(entry["seeds"], list):
        raise ConfigurationError(
            f"tune needs a list of seeds of its own, such as [1001, 1002, 1003], not {entry['seeds']!r}", seeds_place
        )
    by = entry.get("by", "validation_accuracy")
    if not isinstance(by, str) or by not in TUNED_BY:
        raise ConfigurationError(
            f"cannot tune by {by!r} ({did_you_mean(str(by), TUNED_BY)})", document.place((*path, "by"))
        )
    tune = Tune(
        factor=_tuned_factor(entry["factor"], document.place((*path, "factor")), experiment),
        levels=_tuned_levels(document, (*path, "levels")),
        seeds=as_seeds(entry["seeds"], seeds_place),
        by=by,
        borrowers=_borrowers(document, (*path, "as"), experiment.variants) if "as" in entry else {},
    )
    tune.check_seeds(experiment.seeds, seeds_place)
    return tune


def _tuned_factor(factor: Any, place: str, experiment: Experiment) -> str:
    """A per-trial field that nothing else in the experiment varies."""
    known = per_trial_fields()
    if not isinstance(factor, str) or factor not in known:
        raise ConfigurationError(f"cannot tune {factor!r} ({did_you_mean(str(factor), known)})", place)
    for name, levels in experiment.factors.items():
        if any(factor in level for level in levels):
            raise ConfigurationError(f"{factor} is tuned, so it cannot be a factor too ({name})", place)
    groups = {"a variant": experiment.variants.values(), "include": experiment.include, "exclude": experiment.exclude}
    for where, partials in groups.items():
        for partial in partials:
            if factor in partial:
                raise ConfigurationError(f"{factor} is tuned, so {where} cannot give it", partial[factor].place)
    return factor


def _tuned_levels(document: Document, path: Place) -> tuple[Setting, ...]:
    """At least two different numbers, sorted."""
    levels = _sequence(document, path)
    if len(levels) < 2:
        raise ConfigurationError("tune needs at least two levels", document.place(path))
    for index, level in enumerate(levels):
        place = document.place((*path, index))
        if isinstance(level, bool) or not isinstance(level, int | float):
            raise ConfigurationError(f"a level to tune must be a number, not {level!r}", place)
        if level in levels[:index]:
            raise ConfigurationError(f"tune has the level {level!r} twice", place)
    settings = [Setting(level, document.place((*path, index))) for index, level in enumerate(levels)]
    return tuple(sorted(settings, key=lambda setting: setting.value))


def _borrowers(document: Document, path: Place, variants: Mapping[str, Settings]) -> dict[str, Setting]:
    """The variants that take the level of another one, which has its own."""
    entry = _mapping(document, path, set(variants))
    for borrower, lender in entry.items():
        place = document.place((*path, borrower))
        if not isinstance(lender, str) or lender not in variants:
            raise ConfigurationError(f"no variant {lender!r} ({did_you_mean(str(lender), variants)})", place)
        if lender in entry:
            raise ConfigurationError(
                f"{borrower!r} cannot take the level of {lender!r}, which has none of its own", place
            )
    return {borrower: Setting(lender, document.place((*path, borrower))) for borrower, lender in entry.items()}


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
