"""How numbers and findings are put into words, the same in every format."""

import math

from bnexp.claims.model import described, shown
from bnexp.claims.report import Report
from bnexp.claims.statistics import Interval
from bnexp.claims.verdicts import Cell, Finding, Row


def number(value: float, unit: str) -> str:
    """An effect: signed points (of a share of seeds without decimals), or a ratio."""
    if unit == "rate" and math.isfinite(value):
        return f"{value:+.0f}"
    if unit == "log2":
        return "0x" if value == -math.inf else "inf" if math.isinf(value) else f"{2**value:.3g}x"
    return f"{value:+.1f}" if math.isfinite(value) else "-inf" if value < 0 else "+inf"


def interval(effect: Interval, unit: str) -> str:
    """An effect and its 95% interval."""
    return f"{number(effect.point, unit)} [{number(effect.low, unit)}, {number(effect.high, unit)}]"


def cell(value: Cell | None, unit: str) -> str:
    """An arm's mean; a rate of seeds with its count and Wilson interval."""
    if value is None:
        return "-"
    if value.rate is not None:
        count = round(value.rate.point * value.n / 100)
        return f"{count}/{value.n} [{value.rate.low:.0f}, {value.rate.high:.0f}]"
    if math.isinf(value.mean):
        return "never"
    return f"{value.mean:.0f} steps" if unit == "log2" else f"{value.mean:.1f}"


def p_value(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}" if p >= 0.001 else "<0.001"


def spaced(name: str) -> str:
    """A field's name for people."""
    return name.replace("_", " ")


def contrast(finding: Finding) -> str:
    """The effect as a formula."""
    assert finding.claim.arms is not None
    treatment, control = described(finding.claim.arms.treatment), described(finding.claim.arms.control)
    return f"{control} / {treatment}" if finding.unit == "log2" else f"{treatment} - {control}"


def levels(row: Row) -> list[str]:
    return [shown(level) for level in row.levels.values()]


def evidence(finding: Finding) -> str:
    """The line under a table: effect, interval, n and p."""
    assert finding.effect is not None
    unit = "" if finding.unit == "log2" else " points"
    return (
        f"{contrast(finding)}: {interval(finding.effect, finding.unit)}{unit}, 95% interval, "
        f"n = {finding.n} seeds, p = {p_value(finding.p)}, adjusted {p_value(finding.p_adjusted)}"
    )


def pins(finding: Finding) -> str:
    """Which trials the claim is about."""
    return described(finding.claim.where)


def scale(report: Report) -> str:
    """What the verdicts are about; they never come without it."""
    instance = report.instance
    overrides = f" ({instance.overrides})" if instance.overrides else ""
    return f"{instance.name}{overrides}: {' and '.join(report.models)} on {' and '.join(report.datasets)}"


def counts(report: Report) -> str:
    """How the trials ended."""
    return ", ".join(f"{count:,} {status}" for status, count in sorted(report.instance.counts.items()))


def no_claims(report: Report) -> str:
    """What to say of an experiment about which the file claims nothing."""
    return (
        f"The experiments file makes no claim about {report.instance.name}: add one under `claims:`, "
        "or look at experiment_results with `bnexp query`."
    )


def effect_title(finding: Finding) -> str:
    """The heading of the column of effects."""
    return "ratio [95%]" if any(row.unit == "log2" for row in finding.rows) else "difference [95%]"


def effect(row: Row) -> str:
    """A row's effect, with a mark where it decides nothing."""
    return "-" if row.effect is None else interval(row.effect, row.unit) + (" ?" if row.doubt else "")


def doubts(finding: Finding) -> list[str]:
    """What the marks in the table mean."""
    return [f"? {doubt}" for doubt in dict.fromkeys(row.doubt for row in finding.rows) if doubt]


def table_title(finding: Finding) -> str:
    """What the table's cells are, and of which trials."""
    table = finding.claim.table
    how = (table.estimator if table else None) or finding.claim.estimator
    assert how is not None
    if how.name == "steps_ratio":
        what = "Mean steps to the target"
    elif how.of == "trained":
        what = "Seeds that trained [95%]"
    else:
        what = "Test accuracy, % (chance where diverged)"
    best = f", best {' and '.join(map(spaced, how.over))} by validation" if how.name == "best_difference" else ""
    where = pins(finding)
    return what + best + (f"; {where}" if where else "")
