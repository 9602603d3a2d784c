"""A scorecard: the same claims about several normalizers, each in the place of batch normalization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bnexp.claims.about import about, called, replaced
from bnexp.claims.model import Claim
from bnexp.claims.report import Entry, Report, by_source, make_report, unmeasured
from bnexp.db.results import InstanceInfo, Results
from bnexp.normalizer import Normalizer


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
    counts: dict[str, int]
    """Trial status to number of trials; one that several want counts once."""

    @property
    def reports(self) -> list[Report]:
        return [report for column in self.columns for report in column.reports]


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
