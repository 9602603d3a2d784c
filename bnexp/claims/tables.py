"""The table under a claim: a row for each combination of levels, measured like the claim or as it says."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from bnexp.claims.arms import NotEstimableError, choose, exactly
from bnexp.claims.data import Data
from bnexp.claims.model import Arms, Claim, Estimator, Unit
from bnexp.claims.partial import columns_of
from bnexp.claims.statistics import Interval, Values, wilson
from bnexp.columns import counts


@dataclass(frozen=True)
class Cell:
    """An arm's mean over n seeds; a rate of seeds also has its Wilson interval, in percent."""

    mean: float
    n: int
    rate: Interval | None = None


@dataclass(frozen=True)
class Row:
    """One line of a claim's table; without numbers where there is nothing to compare."""

    levels: dict[str, object]
    unit: Unit = "points"
    treatment: Cell | None = None
    control: Cell | None = None
    effect: Interval | None = None
    n: int = 0
    doubt: str = ""
    """Why its numbers decide nothing, if so."""


def table_parts(claim: Claim) -> tuple[Arms, Estimator]:
    """What the table compares, and how: as it says, else as the claim's first measure."""
    first = next(iter(claim.parts().values()))
    table = claim.table
    return (table and table.arms) or first.arms, (table and table.estimator) or first.estimator


def rows(claim: Claim, data: Data) -> list[Row]:
    """The claim's table. Its trials are those of the claim's `where`, whatever its measures narrow further."""
    if claim.table is None:
        return []
    arms, how = table_parts(claim)
    about = choose(data.trials, columns_of(claim.where))
    if claim.table.estimator:
        about = choose(about, columns_of(how.at))
    axes = [sorted(counts(about, factor), key=_order) for factor in claim.table.by]
    found = []
    for levels in itertools.product(*axes):
        named = dict(zip(claim.table.by, levels, strict=True))
        try:
            estimate = data.estimate(arms, how, exactly(about, named))
        except NotEstimableError:
            found.append(Row(named))
            continue
        found.append(
            Row(
                named,
                estimate.unit,
                _cell(estimate.treatment, estimate.unit),
                _cell(estimate.control, estimate.unit) if len(estimate.control) else None,
                estimate.test().interval(),
                len(estimate.effect),
                estimate.undecidable,
            )
        )
    return found


def _order(level: object) -> tuple[bool, object]:
    """Numbers by size; names with those that mean absence first; lists by length."""
    if isinstance(level, str) and level.startswith("["):
        return False, (level.count(","), level)
    return (level != "none", level) if isinstance(level, str) else (False, level)


def _cell(values: Values, unit: Unit) -> Cell:
    mean = float(np.mean(values)) if np.isfinite(values).all() else math.inf
    if unit == "share" or (unit == "rate" and np.isin(values, (0.0, 100.0)).all()):
        share = wilson(int((values > 0).sum()), len(values))
        return Cell(mean, len(values), Interval(100 * share.point, 100 * share.low, 100 * share.high))
    return Cell(mean, len(values))
