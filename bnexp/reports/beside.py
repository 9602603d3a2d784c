"""The paper's tables, each row with our numbers below the paper's, and how far apart the scales are."""

from collections.abc import Iterator

from bnexp.claims.beside import Beside, Line
from bnexp.claims.findings import Number
from bnexp.claims.report import Reports
from bnexp.claims.statistics import Interval
from bnexp.paper import PaperRow
from bnexp.reports import numbers, words
from bnexp.reports.blocks import Block, Grid, Heading, Row
from bnexp.reports.blocks import Line as Paragraph

NONE = "-"
MILLION = 1e6
CURVES = ["variant", "rate", "steps", "ratio", "seeds", "best accuracy"]
ERRORS = ["network", "crops", "models", "top-1 error", "top-5 error"]


def tables(reports: Reports) -> list[Block]:
    """Those of all experiments that have one."""
    blocks: list[Block] = []
    for report in reports.reports:
        if report.beside is not None:
            blocks.append(Heading(f"{report.beside.table.title} of the paper, and ours ({report.instance.name})"))
            blocks += table(report.beside)
    return blocks


def table(beside: Beside) -> list[Block]:
    """The table, what stands in it, and the scales."""
    of_errors = beside.table.of_errors
    rows = []
    for line in beside.lines:
        paper = _errors_there(line.paper) if of_errors else _curves_there(line.paper, beside)
        ours = _errors_here(line) if of_errors else _curves_here(line)
        rows.append(Row([line.name, *paper]))
        rows.append(Row([f"  ours: {line.ours}" if line.ours else "  ours", *ours]))
    columns = ERRORS if of_errors else CURVES
    grid = Grid(columns, rows, tuple(range(1, len(columns))), "The paper's numbers, and ours below them")
    return [grid, *(Paragraph(f"{note}.", "faint") for note in [*_meaning(beside), *_notes(beside)])]


def _curves_there(row: PaperRow, beside: Beside) -> list[str]:
    control = beside.table.rows[beside.table.control or ""].steps
    steps, ratio = row.outcome or NONE, NONE
    if isinstance(row.steps, str):
        steps = row.steps
    elif row.steps is not None:
        steps = _steps(row.steps)
        ratio = NONE if control is None or isinstance(control, str) else _times(control / row.steps)
    rate = NONE if row.learning_rate is None else f"{row.learning_rate:g}"
    return [rate, steps, ratio, NONE, _percent(row.accuracy)]


def _curves_here(line: Line) -> list[str]:
    course = line.course
    rate = " to ".join(f"{rate:g}" for rate in sorted({*line.rates[:1], *line.rates[-1:]})) or NONE
    if course is None:
        return [rate, _missing(line), NONE, NONE, NONE]
    steps = "not reached" if course.steps is None else _steps(course.steps)
    if 2 * line.counts.diverged > line.counts.trials:
        steps = "diverged"
    ratio = NONE if course.ratio is None else _times(course.ratio)
    return [rate, steps, ratio, f"{course.reached}/{line.counts.trials}", _interval(course.best)]


def _errors_there(row: PaperRow) -> list[str]:
    counted = [NONE if count is None else str(count) for count in (row.crops, row.models)]
    return [*counted, _percent(row.top1_error), _percent(row.top5_error)]


def _errors_here(line: Line) -> list[str]:
    if line.paper.claim is not None:
        missing = NONE if line.claimed else "not tested"
        found = [line.claimed.get(place) for place in ("top1_error", "top5_error")]
        return [NONE, NONE, *(_claimed_number(one) if one else missing for one in found)]
    if line.errors is None:
        return [NONE, NONE, "diverged" if line.counts.trials and not line.doubt else _missing(line), NONE]
    crops = ", ".join(map(str, line.errors.crops))
    return [crops, "1", _interval(line.errors.top1), _interval(line.errors.top5)]


def _claimed_number(number: Number) -> str:
    """The error itself, as the paper has it, where the claim measures a gain."""
    if number.alone is not None:
        return _interval(number.alone)
    return numbers.both(number.effect, number.unit, number.n)


def _missing(line: Line) -> str:
    """Why a row has no numbers of ours, where that can be said in a cell."""
    if not line.counts.trials:
        return "not run"
    return "not ended" if line.counts.ended < line.counts.trials else NONE


def _steps(steps: float) -> str:
    return f"{steps / MILLION:.1f}M" if steps >= MILLION else f"{steps:,.0f}"


def _times(ratio: float) -> str:
    return f"{numbers.significant(ratio)}x"


def _percent(value: float | None) -> str:
    """One digit after the point, or as many as the paper gives."""
    if value is None:
        return NONE
    return f"{value:.1f}%" if round(value, 1) == value else f"{value:g}%"


def _interval(mean: Interval | None) -> str:
    """A mean in percent, and its interval where so many seeds allow one."""
    if mean is None:
        return NONE
    if numbers.unbounded(mean):
        return f"{mean.point:.1f}%"
    return f"{mean.point:.1f}% [{mean.low:.1f}, {mean.high:.1f}]"


def _meaning(beside: Beside) -> Iterator[str]:
    """What our numbers are."""
    if beside.table.of_errors:
        yield "Ours: errors of single networks on the test set, mean over seeds [95%]"
        for line in beside.lines:
            yield from _claimed(line)
        return
    control = beside.control
    if beside.target is None or control is None:
        yield f"There is no target: {beside.table.control} has no curves that have ended"
    else:
        ours = control.ours or control.name
        yield (
            f"Steps: until half of the seeds have come to a validation accuracy of {beside.target:.1f}%, the best of "
            f"the mean curve of {ours} (where fewer do: until their mean has); seeds: how many have; "
            f"ratio: the steps of {ours} over these; the claims about steps count each seed's to the plateau of {ours}"
        )
    yield "Best accuracy: the largest validation accuracy on a seed's curve, mean over seeds [95%]"


def _claimed(line: Line) -> Iterator[str]:
    """What a claim's numbers are, in a row that one answers."""
    if line.paper.claim is not None and not line.claimed:
        yield f"{line.name}: the claim {line.paper.claim} says it, when it is tested"
    for number in line.claimed.values():
        unit = numbers.LONG.get(number.unit, "").strip()
        what = f"{number.name} of the claim {line.paper.claim}"
        if number.alone is None:
            what += f", in {unit}" if unit else ""
        else:
            what += f" is {numbers.sentence(number)}"
        yield "; ".join([f"{line.name}: {what}", *number.notes])


def _notes(beside: Beside) -> Iterator[str]:
    """What a row cannot say, and the scales."""
    for line in beside.lines:
        name = line.ours or line.name
        if line.doubt and line.counts.trials:
            yield f"{name}: {line.doubt}"
        elif line.counts.diverged == line.counts.trials > 0:
            yield f"{name}: all {line.counts.trials} seeds diverged"
        elif line.counts.diverged:
            diverged = f"{line.counts.diverged} of {line.counts.trials} seeds diverged"
            yield f"{name}: {diverged}; its accuracies and errors are those of the others"
    if beside.table.scale:
        yield f"The paper's scale: {beside.table.scale}"
    yield f"Our scale: {_scale(beside)}"


def _scale(beside: Beside) -> str:
    scale = beside.scale
    if not scale:
        return "nothing was run"

    def span(name: str) -> str:
        first, last = scale[name][0], scale[name][-1]
        return f"{first:,}" if first == last else f"{first:,} to {last:,}"

    trained_on, networks = words.listed(scale["datasets"]), words.listed_networks(scale["networks"])
    seeds = f"{scale['seeds'][0]:,} seed{'s' * (scale['seeds'][0] != 1)}"
    return f"{trained_on}, {networks}, {span('steps')} steps of batches of {span('batch_sizes')}, {seeds}"
