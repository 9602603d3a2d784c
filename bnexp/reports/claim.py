"""Everything about one claim: its definition, its numbers, and the trials they rest on."""

from dataclasses import asdict
from datetime import datetime

from bnexp.claims.evidence import ArmSeen, Evidence
from bnexp.claims.findings import Finding, Number
from bnexp.claims.partial import called
from bnexp.records import Choice
from bnexp.reports import data, numbers, words
from bnexp.reports.blocks import Block, Code, Grid, Heading, Line, Row
from bnexp.reports.claims import definition
from bnexp.reports.document import machines_of
from bnexp.reports.dumping import dump
from bnexp.reports.overview import answer
from bnexp.reports.section import advice, rows_of, significance, verdict
from bnexp.reports.sparkline import sparkline
from bnexp.text import counted

KEYS = 12
"""Characters of a trial's key that tell it from others, and that `bnexp show` takes."""
MOST_KEYS = 40
NOT_BY_SEED = ("tolerated_range", "largest_error", "rate")
"""Estimators that have no number of their own for each seed."""


def document(evidence: Evidence) -> list[Block]:
    """All that is known of a claim. Without data, its definition and what would test it."""
    entry = evidence.entry
    finding, report = entry.finding, entry.report
    blocks: list[Block] = [Heading(f"{finding.name}: {answer(entry)}", 1), *definition(finding.name, finding.claim)]
    if report is None:
        return [*blocks, Heading("What the data say"), verdict(entry)]
    blocks += [Heading(words.titled(report.instance.name, [report])), verdict(entry), *advice(finding)]
    blocks += measured(finding)
    blocks += _curves(evidence.arms)
    blocks += rates(evidence)
    return [*blocks, *trials(evidence), *machines_of(report)]


def measured(finding: Finding) -> list[Block]:
    """Its table, its numbers, their significance, and what is to be known of them."""
    blocks: list[Block] = []
    if any(row.effect for row in finding.rows):
        blocks.append(rows_of(finding))
    if finding.numbers:
        blocks += [_numbers(finding), *significance(finding)]
    return [*blocks, *(Line(words.sentence(note), "faint") for note in finding.notes)]


def _numbers(finding: Finding) -> Grid:
    """Every number, and the interval that an analysis without pairing would give."""
    rows = [_number(number) for number in finding.numbers]
    columns = ["measure", "effect", "95% interval", "unpaired (Welch)", "n"]
    return Grid(columns, rows, right=(1, 2, 3, 4))


def _number(number: Number) -> Row:
    ends = numbers.ends(number.effect, number.unit)
    found = number.unpaired()
    unpaired = numbers.ends(found, number.unit) if found else "-"
    return Row([number.name, numbers.short(number), ends, unpaired, str(number.n)])


def _curves(arms: list[ArmSeen]) -> list[Block]:
    """Each arm's mean validation accuracy over its training."""
    drawn = [arm for arm in arms if arm.steps]
    if not drawn:
        return []
    low = min(min(arm.accuracy) for arm in drawn)
    high = max(max(arm.accuracy) for arm in drawn)
    first, last = drawn[0].steps[0], drawn[0].steps[-1]
    blocks: list[Block] = [
        Heading("Mean validation accuracy"),
        Line(f"From step {first:,.0f} to {last:,.0f}, logarithmic; chance after a divergence.", "faint"),
    ]
    for arm in drawn:
        line = sparkline(arm.steps, arm.accuracy, low, high)
        count = f"{counted(arm.trials, 'trial')}, {counted(arm.seeds, 'seed')}"
        blocks += [
            Line(f"{words.partial(arm.about)} ({count})"),
            Code(f"{arm.accuracy[0]:5.1f}% {line} {arm.accuracy[-1]:.1f}%"),
        ]
    return blocks


def rates(evidence: Evidence) -> list[Block]:
    """The rates that its arms were compared at."""
    if not evidence.choices:
        return []
    found = [Row(_rate(choice)) for choice in evidence.choices]
    columns = ["arm", "chosen", "validation accuracy", "at the edge"]
    return [Heading("Chosen beforehand, on seeds of their own"), Grid(columns, found, right=(2,))]


def _rate(choice: Choice) -> list[str]:
    chosen = f"{words.spaced(choice.factor)} {choice.level:g}"
    return [called(choice.arm) or "all", chosen, f"{100 * choice.score:.1f}%", "yes" * choice.at_edge]


def trials(evidence: Evidence) -> list[Block]:
    """Which trials, how to select them, and what was fixed when."""
    finding = evidence.entry.finding
    report = evidence.entry.report
    assert report is not None
    keys = finding.trial_keys
    blocks: list[Block] = [Heading(f"Trials: {len(keys):,}" if keys else "Trials"), Code(evidence.sql, "sql")]
    if keys:
        more = f" and {len(keys) - MOST_KEYS:,} more" if len(keys) > MOST_KEYS else ""
        listed = " ".join(key[:KEYS] for key in keys[:MOST_KEYS])
        blocks.append(Line(f"{listed}{more} (`bnexp show KEY`; all with --format json)", "faint"))
    times = evidence.times
    locked = f"locked at {time_of(times.locked_at)}" if times.locked_at else "never stored as it stands"
    began = (
        f"the first trial began at {time_of(times.first_trial_at)}" if times.first_trial_at else "no trial has begun"
    )
    return [*blocks, Line(f"The claim ({finding.claim.key(finding.name)[:KEYS]}) was {locked}; {began}.")]


def time_of(when: datetime) -> str:
    """A time, UTC, to the second."""
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def to_json(evidence: Evidence) -> str:
    """All of it, every trial's key too."""
    entry = evidence.entry
    content = {
        "finding": data.finding(entry),
        "instance": data.instance(entry.report) if entry.report else None,
        "arms": [asdict(arm) for arm in evidence.arms],
        "choices": [asdict(choice) for choice in evidence.choices],
        "sql": evidence.sql,
        **asdict(evidence.times),
    }
    return dump(content)
