"""A scorecard: the same claims about several normalizers, each in the place of batch normalization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bnexp.claims.about import about, called, replaced
from bnexp.claims.model import Claim
from bnexp.claims.overrides import but_seeds
from bnexp.claims.report import Entry, Report, Reports, by_source, make_report, unmeasured
from bnexp.db.results import InstanceInfo, Results
from bnexp.db.summaries import Counts, count_trials
from bnexp.errors import UsageError
from bnexp.replacement import REPLACED, Normalizer, split

SUITE = "battery"
"""What an experiments file calls the suite by which normalizers are tested."""


@dataclass(frozen=True)
class Column:
    """What was found about one normalizer."""

    normalizer: Normalizer
    reports: list[Report]
    entries: dict[str, Entry]
    """By the claim's name in the file."""


@dataclass(frozen=True)
class Scorecard:
    """Columns side by side, all about the same claims."""

    claims: Mapping[str, Claim]
    """As the file has them, of batch normalization."""
    columns: list[Column]
    counts: Counts

    @property
    def reports(self) -> list[Report]:
        return [report for column in self.columns for report in column.reports]

    def together(self) -> Reports:
        """All of it as one report, its claims normalizer by normalizer."""
        entries = [entry for column in self.columns for entry in column.entries.values()]
        return Reports(SUITE, self.reports, self.counts, entries, [], [])


def has_battery(results: Results, members: Sequence[str]) -> bool:
    """Whether a normalizer has been tested into this database by one of the experiments `members`."""
    return any(one.name in members and split(one.overrides)[0] for one in results.instances())


def latest(results: Results, claims: Mapping[str, Claim], members: Sequence[str]) -> Scorecard:
    """Everything that is stored of the experiments `members` with any normalizer in the place of batch normalization,
    batch itself first where it was run: the latest instances with the overrides of the one run last, whatever its
    seeds. Raises UsageError where there is none."""
    ours = [instance for instance in results.instances() if instance.name in members]
    if not ours:
        raise UsageError("no normalizer has been tested into this database yet; `bnexp battery` does")
    alike = [one for one in ours if but_seeds(one.overrides)[1:] == but_seeds(ours[0].overrides)[1:]]
    tested: dict[str, dict[str, InstanceInfo]] = {"": {}}
    for instance in reversed(alike):
        tested.setdefault(split(instance.overrides)[0], {})[instance.name] = instance
    about_them = {name: claim for name, claim in claims.items() if claim.experiment in members}
    columns = [
        column(results, about_them, Normalizer.parse(text or REPLACED, text), list(instances.values()), {})
        for text, instances in tested.items()
        if instances
    ]
    numbers = [instance.id for instances in tested.values() for instance in instances.values()]
    return Scorecard(about_them, columns, count_trials(results, numbers))


def column(
    results: Results,
    claims: Mapping[str, Claim],
    normalizer: Normalizer,
    instances: Sequence[InstanceInfo],
    impossible: Mapping[str, str],
) -> Column:
    """Judge `claims` by the normalizer's instances. `impossible` says of experiments why it cannot train in them; no
    claim about these is tested, nor about experiments that were not run."""
    reports = [make_report(results, instance, about(claims, instance)) for instance in instances]
    found: dict[str, Entry] = {}
    for report in reports:
        found |= by_source(report, claims)
    return Column(
        normalizer,
        reports,
        {name: found.get(name) or _untested(name, claim, normalizer, impossible) for name, claim in claims.items()},
    )


def _untested(name: str, claim: Claim, normalizer: Normalizer, impossible: Mapping[str, str]) -> Entry:
    if not normalizer.itself:
        name, claim = called(name, normalizer), replaced(claim, normalizer)
    finding = unmeasured(name, claim, normalizer.phrase)
    why = impossible.get(claim.experiment or "")
    return Entry(replace(finding, sentence=f"{why[:1].upper()}{why[1:]}.") if why else finding)
