"""What stands beside a table of the paper: the same numbers of an instance's own trials. Pure functions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bnexp.claims.arms import by_seed, choose, exactly
from bnexp.claims.course import Counts, Course, Seen, counted, mean_of, rates
from bnexp.claims.data import Data
from bnexp.claims.findings import Finding, Number
from bnexp.claims.partial import columns_of, shown
from bnexp.claims.statistics import Interval, Values
from bnexp.columns import combinations, counts, length, levels, take
from bnexp.paper import PaperRow, PaperTable
from bnexp.records import Columns

Top5 = Callable[[Sequence[str]], Values]
"""Top-5 accuracy on the test set of trials, by key, 0 to 1; NaN where it was not measured."""


@dataclass(frozen=True)
class Errors:
    """The errors of single networks on the test set, in percent: mean over the seeds, and its 95% interval."""

    crops: tuple[int, ...]
    top1: Interval
    top5: Interval | None
    """None where it was not measured."""


@dataclass(frozen=True)
class Line:
    """A row of the paper's table, and ours beside it."""

    name: str
    paper: PaperRow
    ours: str
    """What our trials are called; empty where they are called as the row, or the row is about no variant."""
    rates: tuple[float, ...] = ()
    """Initial learning rates of our trials, each once, the smallest first."""
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0))
    course: Course | None = None
    errors: Errors | None = None
    claimed: dict[str, Number] = field(default_factory=dict)
    """What the row's claim has measured in the place of each error, top1_error and top5_error."""
    doubt: str = ""
    """Why there are no numbers of ours."""


@dataclass(frozen=True)
class Beside:
    """The paper's table with ours beside it."""

    table: PaperTable
    lines: list[Line]
    target: float | None
    """The best validation accuracy, in percent, of the mean curve of the control's seeds; None where it has none."""
    scale: dict[str, list[Any]]
    """What our trials have of dataset, network, steps, batch size and number of seeds, each value once."""

    @property
    def control(self) -> Line | None:
        return next((line for line in self.lines if line.name == self.table.control), None)


def beside(table: PaperTable, data: Data, findings: Sequence[Finding], top5: Top5) -> Beside:
    """The instance's numbers beside each row of `table`; `findings` are those about its claims."""
    sides = {name: trials_beside(name, row, data) for name, row in table.rows.items()}
    if table.of_errors:
        numbers = {finding.name: finding.numbers for finding in findings}
        lines = [
            _claimed(name, row, numbers) if row.claim else _errors(name, row, sides[name], top5)
            for name, row in table.rows.items()
        ]
        return Beside(table, lines, None, _scale(data.trials))
    seen = {name: Seen(name, trials, data) for name, trials in sides.items()}
    control = seen[table.control or ""]
    target = control.peak
    own = control.course(target)
    steps = own.steps if own else None
    lines = [_line(name, row, seen[name], target, steps) for name, row in table.rows.items()]
    return Beside(table, lines, target, _scale(data.trials))


def _line(name: str, row: PaperRow, ours: Seen, target: float | None, control: float | None) -> Line:
    """A row about curves, the target in percent and the control's steps to it given."""
    course = ours.course(target)
    if course and course.steps and control:
        course = replace(course, ratio=control / course.steps)
    return Line(name, row, _called(name, row), ours.rates, ours.counts, course, doubt=ours.doubt)


def _called(name: str, row: PaperRow) -> str:
    """What our variant is called, where the row has another name."""
    return "" if row.variant in (None, name) else str(row.variant)


def trials_beside(name: str, row: PaperRow, data: Data) -> Columns:
    """Our trials beside a row."""
    found = data.trials
    named = row.variant if row.variant is not None else name
    if not length(found):
        return found
    if row.variant is not None or named in levels(found, "variant"):
        found = exactly(found, {"variant": named})
    elif not row.where and row.crops is None:
        return take(found, np.zeros(length(found), dtype=bool))
    if row.crops is not None and length(found):
        ours = [crops for crops in counts(found, "crops") if (crops > 1) == (row.crops > 1)]
        found = choose(found, {"crops": ours})
    return choose(found, columns_of(row.where))


def _errors(name: str, row: PaperRow, trials: Columns, top5: Top5) -> Line:
    """Beside a row about single networks. Those of one seed, such as the members of an ensemble, count as one, by their
    mean; one that diverged has no error of its own."""
    found, doubt = counted(trials)
    whole = take(trials, trials["status"] == "finished") if length(trials) else trials
    errors = None if doubt or not length(whole) else _measured(whole, top5(whole["trial_key"].tolist()))
    return Line(name, row, _called(name, row), rates(trials), found, errors=errors, doubt=doubt)


def _measured(trials: Columns, fifth: Values) -> Errors:
    chance = 1 / trials["classes"].astype(np.float64)
    first = trials["scored_accuracy"].astype(np.float64)
    first = np.where(np.isnan(first), chance, first)  # of a network that ended without numbers
    crops = tuple(int(count) for count in sorted(counts(trials, "crops")))
    known = bool(np.isfinite(fifth).all())
    top1, top5 = (by_seed(trials, 100 * (1 - accuracy)).values for accuracy in (first, fifth))
    return Errors(crops, mean_of(top1), mean_of(top5) if known else None)


def _claimed(name: str, row: PaperRow, numbers: Mapping[str, Sequence[Number]]) -> Line:
    """Beside a row that a claim answers."""
    measured = {number.name: number for number in numbers.get(row.claim or "", [])}
    names: dict[str, str | None] = {"top1_error": next(iter(measured), None)}
    if row.measures is not None:
        names = {"top1_error": row.measures.top1_error, "top5_error": row.measures.top5_error}
    found = {place: measured[wanted] for place, wanted in names.items() if wanted in measured}
    return Line(name, row, "", claimed=found, doubt="" if found else "not tested")


def _scale(trials: Columns) -> dict[str, list[Any]]:
    """On what our numbers were measured."""
    if not length(trials):
        return {}
    named = [name for name in ("model", "hidden", "model_width") if name in trials]
    networks, _ = combinations(trials, named)
    return {
        "datasets": sorted(counts(trials, "dataset")),
        "networks": [_network(dict(zip(named, values, strict=True))) for values in networks],
        "steps": sorted(map(int, counts(trials, "steps"))),
        "batch_sizes": sorted(map(int, counts(trials, "batch_size"))),
        "seeds": [len(counts(trials, "seed"))],
    }


def _network(parts: Mapping[str, Any]) -> str:
    hidden, width = parts.get("hidden"), parts.get("model_width")
    size = f" {shown(hidden)}" if isinstance(hidden, str) and hidden else ""
    wide = f" of width {width:g}" if isinstance(width, int | float) and not math.isnan(width) else ""
    return f"{parts['model']}{size}{wide}"
