"""How numbers and findings are put into words, the same in every format."""

import math

from bnexp.claims.model import Rule, described, shown
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


def limits(finding: Finding, margin: float) -> str:
    """What was fixed beforehand, with the margin's value."""
    unit = "x" if finding.unit == "log2" else " points"

    def side(rule: Rule | None) -> str:
        if rule is None:
            return "not by this experiment"
        limit = {"margin": margin, "-margin": -margin}[rule.limit] if isinstance(rule.limit, str) else rule.limit
        named = f" (the {rule.limit})" if isinstance(rule.limit, str) else ""
        return f"if the whole interval is at or {'above' if rule.low else 'below'} {limit:g}{unit}{named}"

    return f"Supported {side(finding.claim.supported_if)}; refuted {side(finding.claim.refuted_if)}."


def spaced(name: str) -> str:
    """A field's name for people."""
    return name.replace("_", " ")


def contrast(finding: Finding) -> str:
    """The effect in words."""
    assert finding.claim.arms is not None and finding.claim.estimator is not None
    treatment, control = described(finding.claim.arms.treatment), described(finding.claim.arms.control)
    how = finding.claim.estimator
    outcome = "share of seeds trained" if how.of == "trained" else "test accuracy"
    match how.name:
        case "steps_ratio":
            return f"Steps, {control} over {treatment}"
        case "spread_difference":
            return f"Spread of {outcome} over {spaced(how.over[0])}, {treatment} minus {control}"
        case "best_difference":
            return f"Best {outcome}, {treatment} minus {control}"
        case _:
            return f"{outcome.capitalize()}, {treatment} minus {control}"


def levels(row: Row) -> list[str]:
    return [shown(level) for level in row.levels.values()]


def evidence(finding: Finding) -> str:
    """The line under a table: effect, interval, n and p."""
    assert finding.effect is not None
    unit = "" if finding.unit == "log2" else " points"
    at = described(finding.claim.estimator.at) if finding.claim.estimator else ""
    return (
        f"{contrast(finding)}{f' at {at}' if at else ''}: "
        f"{interval(finding.effect, finding.unit)}{unit}, 95% interval, "
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
    return ", ".join(f"{count:,} {status}" for status, count in sorted(report.counts.items()))


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
    """A row's effect."""
    return "-" if row.effect is None else interval(row.effect, row.unit)


def mark(finding: Finding, row: Row) -> str:
    """What refers a row to its doubt, where its numbers decide nothing."""
    return f"({_doubts(finding).index(row.doubt) + 1})" if row.doubt else ""


def _doubts(finding: Finding) -> list[str]:
    return list(dict.fromkeys(row.doubt for row in finding.rows if row.doubt))


def doubts(finding: Finding) -> list[str]:
    """What the marks in the table mean."""
    return [f"({number}) {doubt}" for number, doubt in enumerate(_doubts(finding), 1)]


GLOSSARY = (
    "Effects are differences in percentage points, or ratios of steps (x). Trained: the final training loss is "
    "finite and under half of ln(classes). Diverged: the loss ceased to be finite; such a trial counts as chance. "
    "p tests the limit that was fixed beforehand; adjusted: for all claims judged here (Holm)."
)
"""What the report's words mean."""


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
