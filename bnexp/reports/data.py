"""A report as JSON, for other programs. Effects in "log2" are logarithms of ratios; infinite numbers are text."""

from dataclasses import asdict
from typing import Any

from bnexp.claims.beside import Beside
from bnexp.claims.findings import Finding, Number
from bnexp.claims.report import Entry, Report, Reports
from bnexp.reports.dumping import dump


def to_json(reports: Reports) -> str:
    """Everything in the report: the instances, and a flat list of all findings."""
    content = {
        "name": reports.name,
        "instances": [instance(report) for report in reports.reports],
        "findings": [finding(entry) for entry in reports.entries],
        "not_tested_here": [finding(Entry(other)) for other in reports.elsewhere],
        "not_run": reports.missing,
    }
    return dump(content)


def instance(report: Report) -> dict[str, Any]:
    return {
        "instance": report.instance.id,
        "experiment": report.instance.name,
        "overrides": report.instance.overrides,
        "last_run_at": report.instance.last_run_at,
        "datasets": report.datasets,
        "models": report.models,
        "seeds": report.seeds,
        "margin": report.instance.margin,
        "counts": report.counts.statuses,
        "tuning_trials": report.counts.tuning,
        "machines": list(map(str, report.origins)),
        "paper": None if report.beside is None else beside(report.beside),
    }


def beside(values: Beside) -> dict[str, Any]:
    """The paper's table, and beside each row our numbers; null where there are none."""
    return {
        "title": values.table.title,
        "scale": values.table.scale,
        "control": values.table.control,
        "target": values.target,
        "our_scale": values.scale,
        "rows": [
            {
                "name": line.name,
                "paper": line.paper.model_dump(exclude_none=True, exclude={"variant", "where", "claim", "measures"}),
                "variant": line.paper.variant,
                "claim": line.paper.claim,
                "ours": {
                    "learning_rates": list(line.rates),
                    **asdict(line.counts),
                    "course": asdict(line.course) | {"steps": line.course.steps} if line.course else None,
                    "errors": asdict(line.errors) if line.errors else None,
                    "claimed": {place: number(one) for place, one in line.claimed.items()} or None,
                    "doubt": line.doubt or None,
                },
            }
            for line in values.lines
        ],
    }


def number(values: Number) -> dict[str, Any]:
    """One measure of a claim."""
    unpaired = values.unpaired()
    return asdict(values) | {"unpaired": asdict(unpaired) if unpaired else None}


def finding(entry: Entry) -> dict[str, Any]:
    """One claim's finding, and the instance that it is about: `effect`, `unit` and `n` are those of the number
    `deciding`."""
    values: Finding = entry.finding
    numbers = [number(one) for one in values.numbers]
    shown = number(values.shown) if values.shown else {}
    return {
        **asdict(values),
        "numbers": numbers,
        "deciding": shown.get("name"),
        "effect": shown.get("effect"),
        "unit": shown.get("unit"),
        "n": shown.get("n"),
        "claim": values.claim.definition(),
        "claim_key": values.claim.key(values.name),
        "post_hoc": entry.post_hoc,
        "instance": entry.report.instance.id if entry.report else None,
        "margin": entry.report.instance.margin if entry.report else None,
    }
