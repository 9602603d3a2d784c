"""Everything that one claim's finding rests on: its trials, their curves and rates, and how to ask the database."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bnexp.claims.about import about, sources
from bnexp.claims.arms import Arm
from bnexp.claims.curves import Curves
from bnexp.claims.data import Data
from bnexp.claims.model import Claim
from bnexp.claims.partial import Partial, columns_of, described
from bnexp.claims.report import Entry, Reports, by_source, collect, data_of, make_report, unmeasured
from bnexp.columns import counts, length
from bnexp.db.results import InstanceInfo, Results
from bnexp.db.summaries import Times, times
from bnexp.errors import UsageError, did_you_mean
from bnexp.experiments import ExperimentsFile
from bnexp.records import Choice, Columns

SQL_WIDTH = 76
"""Columns of a line of SQL, where it can be."""


@dataclass(frozen=True)
class ArmSeen:
    """One arm of a measure."""

    about: Partial
    """What its trials have in common, as the measure says it."""
    trials: int
    seeds: int
    steps: list[float]
    """Of the evaluations that all its trials have."""
    accuracy: list[float]
    """Validation accuracy in percent at each of these, mean over the trials; chance after a divergence."""


@dataclass(frozen=True)
class Evidence:
    """A claim's finding and what it rests on. Where nothing was run that could test it, there is only the finding."""

    entry: Entry
    arms: list[ArmSeen]
    choices: list[Choice]
    """The rates that its arms were compared at."""
    sql: str
    """Selects its trials."""
    times: Times


def gather(
    results: Results,
    file: ExperimentsFile,
    claims: Mapping[str, Claim],
    name: str,
    within: str | None = None,
    number: int | None = None,
) -> Evidence:
    """The evidence about the claim `name`, of the latest instance of its experiment, or of that which the suite or
    experiment `within` or the `number` say; `name` may be of a claim about a normalizer in the place of BN, and says
    the instance then. Raises UsageError where there is no such claim or instance."""
    if name not in claims and number is None:
        name, number = _of_normalizer(results, claims, name)
    if name not in claims:
        raise UsageError(f"no claim {name!r} in {file.document.name} ({did_you_mean(name, claims)})")
    instance = _instance(results, file, claims, claims[name], within, number)
    if instance is None:
        return Evidence(Entry(unmeasured(name, claims[name])), [], [], "", Times(None, None))
    data = data_of(results, instance)
    entry = by_source(make_report(results, instance, about(claims, instance), data), claims)[name]
    if entry.report is None:
        return Evidence(entry, [], [], "", Times(None, None))
    return replace(rests_on(results, entry, data), arms=_arms(entry.finding.claim, data))


def _of_normalizer(results: Results, claims: Mapping[str, Claim], name: str) -> tuple[str, int | None]:
    """The claim of the file that the claim `name` about a normalizer was made from, and the latest instance that it is
    about; the name as it is, and none, where it is no such claim."""
    for instance in results.instances():
        source = sources(claims, instance).get(name)
        if source is not None and source != name:
            return source, instance.id
    return name, None


def rests_on(results: Results, entry: Entry, data: Data) -> Evidence:
    """What the finding of an entry that has a report rests on, but for its curves. `data` is what is stored of the
    instance."""
    finding, report = entry.finding, entry.report
    assert report is not None
    measured = [trials for measure in finding.claim.parts().values() for _, trials in data.sides(measure)]
    instance = report.instance.id
    known = times(results, finding.claim.key(finding.name), instance)
    return Evidence(entry, [], data.choices_of(measured), select(finding.claim, instance), known)


def _instance(
    results: Results,
    file: ExperimentsFile,
    claims: Mapping[str, Claim],
    claim: Claim,
    within: str | None,
    number: int | None,
) -> InstanceInfo | None:
    """The instance that a claim is judged by; None where its experiment was not run, or it has none."""
    if number is not None or (within is not None and within not in file.suites):
        instance = results.latest(within, number)
        if instance.name != claim.experiment:
            raise UsageError(
                f"this claim is not about {instance.name}, but about {claim.experiment or 'no experiment'}"
            )
        return instance
    if within is not None:
        reports: Reports = collect(results, {}, within, file.suites[within])
        return next((r.instance for r in reports.reports if r.instance.name == claim.experiment), None)
    return next((instance for instance in results.instances() if instance.name == claim.experiment), None)


def _arms(claim: Claim, data: Data) -> list[ArmSeen]:
    """Every arm once, whichever measures are about it."""
    found: dict[tuple[str, ...], ArmSeen] = {}
    for measure in claim.parts().values():
        for partial, trials in data.sides(measure):
            keys = tuple(trials["trial_key"].tolist())
            if keys and keys not in found:
                about = partial | measure.where | measure.estimator.at
                found[keys] = _seen(about, trials, data)
    return list(found.values())


def _seen(about: Partial, trials: Columns, data: Data) -> ArmSeen:
    curves = Curves.of(Arm(described(about), trials, data.curves, data.probes), trials, "validation_accuracy")
    mean = curves.accuracy(trials).mean(axis=0) if len(curves.steps) else np.empty(0)
    return ArmSeen(about, length(trials), len(counts(trials, "seed")), curves.steps.tolist(), mean.tolist())


def select(claim: Claim, experiment_id: int) -> str:
    """The SQL that selects the claim's trials from the view experiment_results."""
    arms: list[dict[str, Sequence[Any]]] = []
    named: dict[str, None] = {}
    for measure in claim.parts().values():
        about = columns_of(measure.where) | columns_of(measure.estimator.at)
        for partial in (measure.arms.treatment, measure.arms.control):
            if partial is not None:
                arms.append(_both(about, columns_of(partial)))
                named |= dict.fromkeys(columns_of(partial))
    shared = {name: values for name, values in arms[0].items() if all(arm.get(name) == values for arm in arms)}
    apart = [{name: values for name, values in arm.items() if name not in shared} for arm in arms]
    conditions = [f"experiment_id = {experiment_id}", "stage = 'confirm'", *map(_condition, shared.items())]
    if all(apart):
        alternatives = dict.fromkeys(_packed(map(_condition, arm.items()), " and ", 8) for arm in apart)
        either = "\n    or ".join(alternatives)
        conditions.append(f"({either})")
    shown = dict.fromkeys(["trial_key", *named, "seed", "status", "scored_accuracy", "trained"])
    columns = _packed(shown, ", ", 2, len("select distinct "))
    return f"select distinct {columns}\nfrom experiment_results\nwhere " + "\n  and ".join(conditions)


def _packed(parts: Iterable[str], between: str, indent: int, first: int = 8) -> str:
    """Parts joined, with a new line where one would be longer than SQL_WIDTH; none begins inside a part."""
    text, room = "", SQL_WIDTH - first
    for part in parts:
        if text and len(part) + len(between) > room:
            text, room = f"{text}{between.rstrip()}\n{' ' * indent}", SQL_WIDTH - indent
        elif text:
            text, room = text + between, room - len(between)
        text, room = text + part, room - len(part)
    return text


Wanted = Mapping[str, Sequence[Any]]
"""Columns, each with the values that it may have."""


def _both(one: Wanted, other: Wanted) -> dict[str, Sequence[Any]]:
    """What both ask for: of a column that both name, the values that both allow."""
    every = {**one, **other}
    return {
        name: tuple(value for value in values if name not in one or value in one[name])
        for name, values in every.items()
    }


def _condition(wanted: tuple[str, Sequence[Any]]) -> str:
    """That a column has one of these values."""
    column, values = wanted
    if not values:
        return "1 = 0"
    known = [_literal(value) for value in values if not _missing(value)]
    parts = [f"{column} is null"] if len(known) < len(values) else []
    if known:
        parts.append(f"{column} = {known[0]}" if len(known) == 1 else f"{column} in ({', '.join(known)})")
    return parts[0] if len(parts) == 1 else f"({' or '.join(parts)})"


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    quoted = str(value).replace("'", "''")
    return f"'{quoted}'"
