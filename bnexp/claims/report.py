"""An instance's report: its findings, and the scale that they speak of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from bnexp.claims.data import Data
from bnexp.claims.findings import Finding
from bnexp.claims.model import Claim
from bnexp.claims.verdicts import judge
from bnexp.columns import combinations, counts, take
from bnexp.db.results import InstanceInfo, Results
from bnexp.db.rows import Judged
from bnexp.records import Columns

POST_HOC = "post hoc: this claim, as it stands, is younger than its data"


@dataclass(frozen=True)
class Report:
    """Every claim's finding for one experiment instance."""

    instance: InstanceInfo
    counts: dict[str, int]
    """Trial status to number of trials."""
    datasets: list[str]
    models: list[str]
    machines: list[str]
    """What the trials ran on: device and versions."""
    findings: list[Finding]

    @property
    def about_it(self) -> list[Finding]:
        """Findings of claims that this experiment was made for."""
        return [finding for finding in self.findings if finding.claim.experiment == self.instance.name]

    @property
    def elsewhere(self) -> list[Finding]:
        """Findings of claims that it cannot test."""
        return [finding for finding in self.findings if finding.claim.experiment != self.instance.name]


def make_report(results: Results, instance: InstanceInfo, claims: Mapping[str, Claim]) -> Report:
    """Judge `claims` by what is stored of `instance`."""
    trials = results.trials(instance.id)
    # A claim and a line of its table may be about the same trials.
    data = Data(
        instance.name,
        trials,
        cache(results.curves),
        instance.margin,
        results.probes,
        results.trials(instance.id, "tune"),
        results.choices(instance.id),
        instance.overrides,
    )
    locked = results.locked_before_data(instance.id)
    findings = [
        replace(finding, notes=[*finding.notes, POST_HOC])
        if finding.effect and finding.claim.key(finding.name) not in locked
        else finding
        for finding in judge(claims, data)
    ]
    networks, _ = combinations(trials, ("model", "hidden"))
    return Report(
        instance,
        _statuses(trials),
        sorted(counts(trials, "dataset")),
        sorted(f"{model} {hidden}" if hidden else model for model, hidden in networks),
        results.machines(instance.id),
        findings,
    )


def _statuses(trials: Columns) -> dict[str, int]:
    """How many trials have each status; one that two variants want stands twice in a row, and counts once."""
    keys = trials["trial_key"]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    return dict(sorted(counts(take(trials, first), "status").items()))


def judged(finding: Finding) -> Judged:
    """A finding as it is stored. Ratios are stored as ratios."""
    name, effect = finding.name, finding.effect
    ratio = finding.unit == "log2"

    def stored(number: float) -> float:
        return 2**number if ratio else number

    return Judged(
        finding.claim.key(name),
        finding.answer,
        effect=stored(effect.point) if effect else None,
        low=stored(effect.low) if effect else None,
        high=stored(effect.high) if effect else None,
        unit=("times" if ratio else "points") if effect else None,
        n=finding.n if effect else None,
        p=finding.p,
        p_adjusted=finding.p_adjusted,
        sentence=finding.sentence,
    )
