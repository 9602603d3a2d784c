"""An instance's report: its findings, and the scale that they speak of; and the reports of a suite, together."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from bnexp.claims.about import about, sources
from bnexp.claims.beside import Beside, beside
from bnexp.claims.data import Data
from bnexp.claims.deciding import with_deciding
from bnexp.claims.findings import Answer, Finding
from bnexp.claims.model import Claim
from bnexp.claims.overrides import but_seeds, run_command
from bnexp.claims.partial import shown
from bnexp.claims.verdicts import judge
from bnexp.columns import combinations, counts, length, take
from bnexp.db.origins import Origin, origins
from bnexp.db.results import InstanceInfo, Results
from bnexp.db.summaries import Counts, Decided, count_trials, decided
from bnexp.errors import UsageError
from bnexp.experiments import ExperimentsFile
from bnexp.paper import PaperTable
from bnexp.replacement import split


@dataclass(frozen=True)
class Report:
    """Every claim's finding for one experiment instance."""

    instance: InstanceInfo
    counts: Counts
    """Of its trials, those of the tune stage included."""
    datasets: list[str]
    models: list[str]
    seeds: int
    """How many different ones its trials have."""
    origins: list[Origin]
    """What the trials ran on: device and versions."""
    findings: list[Finding]
    post_hoc: frozenset[str]
    """The claims that were judged, and are, as they stand, younger than their data."""
    beside: Beside | None = None
    """The paper's table with ours beside it, where the file gives one."""


@dataclass(frozen=True)
class Entry:
    """A claim's finding, and the report that it stands in; None where nothing was run that could test it."""

    finding: Finding
    report: Report | None = None

    @property
    def post_hoc(self) -> bool:
        return self.report is not None and self.finding.name in self.report.post_hoc


@dataclass(frozen=True)
class Reports:
    """What is reported together: one instance, or the members of a suite."""

    name: str
    """The experiment's or the suite's."""
    reports: list[Report]
    counts: Counts
    """Of the trials of all reports together."""
    entries: list[Entry]
    """The claims about what was asked for, in the file's order; those that no experiment tests last."""
    elsewhere: list[Finding]
    """The file's other claims."""
    missing: list[str]
    """Members of the suite that were not run."""

    @property
    def of_several(self) -> bool:
        """Whether it is about a suite."""
        return len(self.reports) + len(self.missing) > 1


def data_of(results: Results, instance: InstanceInfo) -> Data:
    """What is stored of `instance`, as estimators want it."""
    return Data(
        instance.name,
        results.trials(instance.id),
        cache(results.curves),  # a claim and a line of its table may be about the same trials
        instance.margin,
        results.probes,
        results.trials(instance.id, "tune"),
        results.choices(instance.id),
        instance.overrides,
        results.predictions,
    )


def make_report(
    results: Results,
    instance: InstanceInfo,
    claims: Mapping[str, Claim],
    known: Data | None = None,
    paper: PaperTable | None = None,
) -> Report:
    """Judge `claims` by what is stored of `instance`; `known` is what `data_of` said of it, where it was asked. With
    `paper`, its numbers stand beside that table too, unless another normalizer has taken the place of its BN."""
    data = known or data_of(results, instance)
    before = [
        one for one in decided(results, instance.name) if but_seeds(one.overrides) == but_seeds(instance.overrides)
    ]
    with ThreadPoolExecutor(1) as aside:  # the database looks through all attempts while we compute
        locked = aside.submit(results.locked_before_data, instance.id)
        ran_on = aside.submit(origins, results, instance.id)
        findings = [at_first_look(finding, before, instance.margin) for finding in judge(claims, data)]
    younger = (f.name for f in findings if f.numbers and f.claim.key(f.name) not in locked.result())
    networks, _ = combinations(data.trials, ("model", "hidden"))
    return Report(
        instance,
        _counts(results, instance, data),
        sorted(counts(data.trials, "dataset")),
        [f"{model} {shown(hidden)}" if hidden else model for model, hidden in sorted(networks, key=_by_depth)],
        len(counts(data.trials, "seed")),
        ran_on.result(),
        findings,
        frozenset(younger),
        beside(paper, data, findings, results.top5) if paper and not split(instance.overrides)[0] else None,
    )


def report_on(
    results: Results,
    file: ExperimentsFile,
    claims: Mapping[str, Claim],
    name: str | None = None,
    number: int | None = None,
) -> Reports:
    """The reports of the suite `name`, or of the instance that was run last (of the experiment `name`, if given), or of
    the instance with this `number`. Raises UsageError where there is nothing to report."""
    if name in file.suites and number is None:
        return collect(results, claims, name, file.suites[name], papers(file))
    instance = results.latest(None if name in file.suites else name, number)
    ours = about(claims, instance)
    data = data_of(results, instance)
    report = make_report(results, instance, ours, data, papers(file).get(instance.name))
    here = sources(claims, instance).values()
    others = [unmeasured(other, claim) for other, claim in claims.items() if other not in here]
    return Reports(
        instance.name, [report], report.counts, [_entry(finding, report) for finding in report.findings], others, []
    )


def papers(file: ExperimentsFile) -> dict[str, PaperTable]:
    """The paper's tables that the file gives, by experiment."""
    return {name: experiment.paper for name, experiment in file.experiments.items() if experiment.paper}


def collect(
    results: Results,
    claims: Mapping[str, Claim],
    name: str,
    members: Sequence[str],
    tables: Mapping[str, PaperTable] | None = None,
) -> Reports:
    """The reports of the latest instances of `members`, those with the overrides of the member that was run last; the
    paper's `tables` beside them, by experiment.

    Raises UsageError where no member was run."""
    chosen = latest_alike(results.instances(), members)
    if not chosen:
        raise UsageError(f"nothing of {name!r} has been run into this database yet; `bnexp run {name}` does")
    overrides = next(iter(chosen.values())).overrides
    reports: dict[str, Report] = {}
    found: dict[str, Entry] = {}
    for member, instance in chosen.items():
        report = make_report(results, instance, about(claims, instance), paper=(tables or {}).get(member))
        reports[member] = report
        found |= by_source(report, claims)
    listed = [
        claim_name
        for claim_name, claim in sorted(claims.items(), key=lambda item: item[1].experiment is None)
        if claim.experiment is None or claim.experiment in members
    ]
    entries = [found.get(one) or Entry(unmeasured(one, claims[one], overrides)) for one in listed]
    return Reports(
        name,
        [reports[member] for member in members if member in reports],
        count_trials(results, [instance.id for instance in chosen.values()]),
        entries,
        [unmeasured(other, claim) for other, claim in claims.items() if other not in listed],
        [member for member in members if member not in reports],
    )


def by_source(report: Report, claims: Mapping[str, Claim]) -> dict[str, Entry]:
    """The entries of a report by the names that their claims have in the file."""
    named = sources(claims, report.instance)
    return {named[finding.name]: _entry(finding, report) for finding in report.findings if finding.name in named}


def _entry(finding: Finding, report: Report) -> Entry:
    """A claim whose arms a normalizer has made the same is tested by nothing in the report."""
    return Entry(finding, report if finding.claim.experiment else None)


def latest_alike(instances: Sequence[InstanceInfo], members: Sequence[str]) -> dict[str, InstanceInfo]:
    """The latest instance of each of `members` that has the overrides of the one run last, whatever its seeds.
    `instances` are in order, the latest run first."""
    ours = [instance for instance in instances if instance.name in members]
    alike = [instance for instance in ours if but_seeds(instance.overrides) == but_seeds(ours[0].overrides)]
    return {instance.name: instance for instance in reversed(alike)}


def at_first_look(finding: Finding, before: Sequence[Decided], margin: float) -> Finding:
    """The finding, unless the claim was decided at an earlier look: looks end at the first verdict, and more seeds, run
    for other claims, do not undo it. `margin` is the dataset's, in points."""
    key, looks = finding.claim.key(finding.name), finding.claim.looks
    ours = [one for one in before if one.claim_key == key and one.n in looks and one.n < finding.n]
    if finding.look is None or not ours or finding.answer == ours[0].verdict:
        return finding
    earlier = ours[0]
    answer: Answer = "supported" if earlier.verdict == "supported" else "refuted"
    words = finding.claim.supported if answer == "supported" else finding.claim.refuted
    note = f"decided at {earlier.n} seeds, where its looks ended; by all {finding.n} it would be {finding.answer}"
    decided = replace(finding, answer=answer, sentence=words, notes=[note, *finding.notes], advice="")
    return with_deciding(decided, margin)


def unmeasured(name: str, claim: Claim, overrides: str = "") -> Finding:
    """The finding about a claim of which nothing was run."""
    how = f"Measured by `{run_command([claim.experiment], overrides)}`." if claim.experiment else claim.needs
    return Finding(name, claim, "not tested", how)


def _by_depth(network: tuple[str, str | None]) -> tuple[str, int, str]:
    model, hidden = network
    return model, (hidden or "").count(","), hidden or ""


def _counts(results: Results, instance: InstanceInfo, data: Data) -> Counts:
    """Of the instance's trials. One that two variants want stands twice in a row, and counts once."""
    if data.tuning is not None and length(data.tuning):
        return count_trials(results, [instance.id])
    keys = data.trials["trial_key"]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    return Counts(counts(take(data.trials, first), "status"))
