"""What `bnexp plan` shows: an instance's design, what of it is stored, and what the rest takes."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from bnexp.claims.expectations import Expectation
from bnexp.config import TrialConfig, columns, leaves
from bnexp.db.results import Network, Results
from bnexp.db.rows import Instance, WantedTrial
from bnexp.db.summaries import Counts
from bnexp.design import Experiment
from bnexp.engine.cohort import CAPACITY, group
from bnexp.identity import cohort_key
from bnexp.records import Choice
from bnexp.reports.fitted import show_table
from bnexp.reports.numbers import amount
from bnexp.reports.progress import duration
from bnexp.reports.screen import Screen
from bnexp.reports.tallies import tallied
from bnexp.settings import in_words
from bnexp.text import counted

MOST_ARMS = 40
"""In the table of arms."""
MOST_GROUPED = 20_000
"""Trials that are cut into cohorts to count these; of more, the number is estimated."""


@dataclass(frozen=True)
class Outlook:
    """An experiment before it is run, or run again."""

    experiment: Experiment
    instance: Instance
    """Its confirming trials at the levels chosen, where they are."""
    choices: Sequence[Choice]
    expected: Sequence[Expectation] = ()
    """Of the claims about it."""

    @property
    def chosen(self) -> bool:
        """Whether the confirming trials are known."""
        return bool(self.choices) or not self.instance.tune


class Kind(NamedTuple):
    """Trials that differ in per-trial fields only."""

    variant: str
    config: TrialConfig
    """Of one of them."""
    trials: int


def show_plan(outlook: Outlook, results: Results | None, workers: int) -> None:
    """An experiment's factors, arms, trials and cohorts, what of it is stored already, and what the rest may take so
    many workers."""
    console, instance = Screen(), outlook.instance
    every = [*instance.tuning, *instance.trials]
    known = results.statuses([trial.key for trial in every]) if results else {}
    console.print(Text.assemble((instance.name, "bold"), f"  {instance.about}"))
    tuning = list({trial.key: trial for trial in instance.tuning}.values())
    confirming = list({trial.key: trial for trial in instance.trials}.values())
    _show_factors(console, outlook, instance.trials)
    if outlook.experiment.tune:
        _show_arms(console, outlook)
    lines = []
    if tuning:
        lines.append(f"{counted(len(tuning), 'trial')} to tune: {_statuses(tuning, known)}")
    if outlook.chosen:
        stage = " to confirm" if tuning else ""
        lines.append(f"{counted(len(confirming), 'trial')}{stage}: {_statuses(confirming, known)}")
        left = [_left(tuning, known), _left(confirming, known)]
    else:
        lines.append(f"{counted(len(confirming), 'trial')} to confirm when the levels are chosen")
        left = [_left(tuning, known), confirming]
    if any(left):
        lines += _what_is_left(left, results, workers)
    console.print(Text("\n".join(lines)))
    if outlook.expected:
        _show_expected(console, outlook)


def _statuses(trials: Iterable[WantedTrial], known: dict[str, str]) -> str:
    counts = Counter(known.get(trial.key, "pending") for trial in trials)
    return tallied(Counts(counts))


def _left(trials: Iterable[WantedTrial], known: dict[str, str]) -> list[WantedTrial]:
    return [trial for trial in trials if known.get(trial.key) in (None, "pending", "running")]


def _kinds(trials: Iterable[WantedTrial]) -> list[Kind]:
    """The trials of each arm."""
    first: dict[tuple[str, str], TrialConfig] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for trial in trials:
        key = (trial.variant, trial.arm)
        first.setdefault(key, trial.config)
        counts[key] += 1
    return [Kind(key[0], config, counts[key]) for key, config in first.items()]


def _show_factors(console: Console, outlook: Outlook, trials: Sequence[WantedTrial]) -> None:
    """Whatever differs among the confirming trials, and the points beside the grid. A field of which each variant has
    one level is no factor beside the variants."""
    values: dict[str, dict[object, set[str]]] = {}
    """Of each field, its levels, and which variants have them."""
    for kind in _kinds(trials):
        for leaf in (leaf for leaf in leaves(kind.config) if leaf.mark.column):
            values.setdefault(leaf.name, {}).setdefault(leaf.value, set()).add(kind.variant)
    values["seed"] = {trial.config.seed: set() for trial in trials}
    values["variant"] = {trial.variant: set() for trial in trials if trial.variant}
    rows = []
    for name, levels in values.items():
        if len(levels) > 1 or (name == "variant" and levels):
            text = ", ".join(map(in_words, list(levels)[:12])) + (", ..." if len(levels) > 12 else "")
            follows = 0 < len(values["variant"]) == sum(map(len, levels.values()))
            rows.append([name.removesuffix(".name"), text + (" (by variant)" if follows else "")])
    show_table(console, ["factor", "levels"], rows)
    beside = {"include": len(outlook.experiment.include), "exclude": len(outlook.experiment.exclude)}
    if any(beside.values()):
        console.print(Text(", ".join(f"{count:,} under {name}" for name, count in beside.items() if count)))


def _show_arms(console: Console, outlook: Outlook) -> None:
    """Every arm with its chosen level."""
    tune, arms = outlook.experiment.tune, outlook.experiment.arms()
    assert tune
    levels = ", ".join(in_words(setting.value) for setting in tune.levels)
    console.print(
        Text(f"{len(arms):,} arms; {tune.factor} is chosen from {levels} by {tune.by} on {len(tune.seeds):,} seeds")
    )
    chosen = {choice.arm: choice for choice in outlook.choices}
    rows = []
    for arm in arms[:MOST_ARMS]:
        choice = chosen.get(arm.source)
        edge = "at the edge" if choice and choice.at_edge else ""
        lent = f"as {arm.source}" if arm.source != arm.name else ""
        level = in_words(choice.level) if choice else "to be chosen"
        rows.append([arm.name, level, ", ".join(filter(None, (lent, edge)))])
    if len(arms) > MOST_ARMS:
        rows.append([f"and {len(arms) - MOST_ARMS:,} more", "", ""])
    show_table(console, ["arm", tune.factor, ""], rows)


def _show_expected(console: Console, outlook: Outlook) -> None:
    """What the claims have to expect of so many seeds."""
    rows = []
    for expected in outlook.expected:
        width, finds = (_distance(number, expected) for number in (expected.half_width, expected.finds))
        power = "underpowered" if expected.underpowered else ""
        rows.append([expected.name, f"± {width}" if width else "none", finds or "never", power])
    console.print(Text(f"What {counted(len(outlook.experiment.seeds), 'seed')} can tell:"))
    show_table(console, ["claim", "95% interval", "80% power from", ""], rows)
    console.print(
        Text(
            "Power: how far beyond its limit an effect must be to be found in 4 of 5 such experiments; underpowered: "
            "the effect measured before is nearer. sd: of the seeds' differences, where none were measured before."
        )
    )
    if any(math.isinf(expected.finds) for expected in outlook.expected):
        console.print(Text("never: so few seeds decide nothing, whatever they show; give the experiment more."))


def _distance(number: float, expected: Expectation) -> str:
    """In the claim's unit, or in standard deviations; empty where so few seeds have none."""
    if math.isinf(number):
        return ""
    return amount(number, expected.unit) if expected.in_units else f"{number:.2g} sd"


def _what_is_left(stages: Sequence[Sequence[WantedTrial]], results: Results | None, workers: int) -> list[str]:
    """How much is left, and how long it may take."""
    kinds = [kind for trials in stages for kind in _kinds(trials)]
    trials, steps = sum(map(len, stages)), sum(kind.trials * kind.config.steps for kind in kinds)
    lines = [f"left to train: {counted(trials, 'trial')} in {_cohorts(stages)}, {steps:,} trial-steps"]
    paces = results.paces() if results else {}
    if paces:
        seconds, guessed = _seconds(kinds, paces)
        others = f", {counted(guessed, 'trial')} by other networks" if guessed else ""
        lines.append(
            f"about {duration(seconds / workers)} with {counted(workers, 'worker')}, at {steps / seconds:,.0f} "
            f"trial-steps/s each as measured here{others}"
        )
    return lines


def _seconds(kinds: Sequence[Kind], paces: dict[Network, tuple[float, float]]) -> tuple[float, int]:
    """What the trials left may cost one worker, and for how many trials their own network was never measured."""
    overall = sum(seconds for _, seconds in paces.values()) / sum(steps for steps, _ in paces.values())
    total, guessed = 0.0, 0
    for kind in kinds:
        network = Network.of(columns(kind.config))
        if network in paces:
            steps, seconds = paces[network]
            total += kind.trials * kind.config.steps * seconds / steps
        else:
            total += kind.trials * kind.config.steps * overall
            guessed += kind.trials
    return total, guessed


def _cohorts(stages: Iterable[Sequence[WantedTrial]]) -> str:
    """How many cohorts the trials left of each stage will be, if a CPU trains them."""
    left = list(filter(None, stages))
    if sum(map(len, left)) <= MOST_GROUPED:
        pairs = ([(trial.config, trial.fingerprint) for trial in trials] for trials in left)
        return counted(sum(len(list(group(trials))) for trials in pairs), "cohort")
    return f"about {sum(map(_about_cohorts, left)):,} cohorts"


def _about_cohorts(trials: Sequence[WantedTrial]) -> int:
    """What `group` comes to where all arms have equally many trials left: it keeps those of a seed together."""
    together: dict[str, list[int]] = {}
    for kind in _kinds(trials):
        together.setdefault(cohort_key(kind.config, trials[0].fingerprint), []).append(kind.trials)
    most = CAPACITY["cpu"]
    return sum(
        -(-max(counts) // (most // len(counts))) if len(counts) <= most else max(counts) * -(-len(counts) // most)
        for counts in together.values()
    )
