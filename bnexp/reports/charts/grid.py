"""The grid as a heat map: final accuracy over learning-rate multiplier and init scale, for each norm."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnexp.claims.arms import by_seed
from bnexp.claims.data import ENDED
from bnexp.columns import combinations, length, take
from bnexp.design import Experiment
from bnexp.records import Columns
from bnexp.reports import words
from bnexp.reports.charts.arms import factors, named_by, rank
from bnexp.reports.charts.asked import Asked, nothing_ended
from bnexp.reports.charts.diverged import CROSS
from bnexp.reports.charts.lines import AROUND
from bnexp.reports.charts.means import Row, left_out, student
from bnexp.reports.charts.names import label, titled
from bnexp.reports.charts.themes import WIDTH
from bnexp.text import with_overrides

X, Y, COLUMN = "lr_multiplier", "init_scale", "norm"
NEEDS = "that crosses lr_multiplier, init_scale and norm"
MOST_PANELS = 6
"""Rows of panels; over what else the trials differ in, cells are means."""
NARROW = 46
"""Pixels, below which a cell has no room for its numbers."""
CELL = 44
"""Pixels of a cell's height."""
CORNER = -8, -16
"""Pixels right of and below a cell's middle, where the mark of what diverged stands, beside its share."""
DARK = 0.6
"""The share of the colours, from the darkest on, on which letters are white."""


def grid(asked: Asked) -> Any:
    """Final accuracy over learning-rate multiplier and init scale, each norm beside the others (heat map)."""
    import altair as alt

    instance = asked.instance(_fits, NEEDS)
    trials = asked.results.trials(instance.id)
    if not {X, Y} <= set(factors(trials)):
        raise asked.refusal(_fits, NEEDS, instance.name)
    ended = np.isin(trials["status"].astype(str), ENDED)
    if not ended.any():
        raise nothing_ended(instance)
    panels, averaged = _panels(trials)
    rows = cells(trials, panels)
    norms = sorted({row["norm"] for row in rows}, key=rank)
    charts = []
    named = list(dict.fromkeys(row["panel"] for row in rows))
    for panel, norm in itertools.product(named, norms):
        own = [row for row in rows if row["panel"] == panel and row["norm"] == norm]
        charts.append(_heat_map(own, rows, _heading(panel, norm), last=panel == named[-1]))
    about = [
        "Test accuracy in percent, mean over seeds; a trial that diverged counts as chance.",
        "±: half of the 95% interval of the mean over seeds (Student's t). ×: some diverged, with their share."
        if _room(rows) >= NARROW
        else "×: some diverged. Cells have no room for numbers, which are in the tooltips of an HTML page.",
        f"Mean over the levels of {words.listed(map(words.spaced, averaged))}." if averaged else "",
        *left_out(int((~ended).sum())),
    ]
    title = f"Accuracy by learning-rate multiplier and init scale: {with_overrides(instance.name, instance.overrides)}"
    return alt.concat(*charts, columns=len(norms), spacing=14).properties(title=titled(title, *about))


def _fits(experiment: Experiment) -> bool:
    return {X, Y, COLUMN} <= {factor.removesuffix(".name") for factor in experiment.factors}


def _panels(trials: Columns) -> tuple[list[str], list[str]]:
    """The columns whose levels have a row of panels each, and those over which cells are means."""
    others = [name for name in factors(trials) if name not in (X, Y, COLUMN)]
    chosen: list[str] = []
    for name in others:
        if len(combinations(trials, [*chosen, name])[0]) <= MOST_PANELS:
            chosen.append(name)
    return chosen, [name for name in others if name not in chosen]


def cells(trials: Columns, panels: Sequence[str]) -> list[Row]:
    """A row for each cell: the levels, accuracy in percent, half its interval, the number of seeds and of trials, and
    the share that diverged, in percent."""
    known = take(trials, np.isin(trials["status"].astype(str), ENDED))
    found, place = combinations(known, [*panels, COLUMN, X, Y])
    return [_cell(take(known, place == index), panels, values) for index, values in enumerate(found)]


def _cell(trials: Columns, panels: Sequence[str], values: Sequence[Any]) -> Row:
    levels: Mapping[str, Any] = dict(zip([*panels, COLUMN, X, Y], values, strict=True))
    chance = 1 / trials["classes"].astype(np.float64)
    accuracy = trials["scored_accuracy"].astype(np.float64)
    seeds = by_seed(trials, 100 * np.where(np.isnan(accuracy), chance, accuracy)).values
    low, high = student(seeds)
    half = None if low is None or high is None else (high - low) / 2
    diverged = 100 * float((trials["status"] == "diverged").mean())
    return {
        "panel": label(named_by({name: levels[name] for name in panels})) if panels else "",
        "norm": label(str(levels[COLUMN])),
        "rate": f"{levels[X]:g}",
        "scale": f"{levels[Y]:g}",
        "accuracy": float(seeds.mean()),
        "shown": f"{seeds.mean():.1f}",
        "half": half,
        "spread": "" if half is None else f"±{half:.1f}",
        "seeds": len(seeds),
        "trials": length(trials),
        "diverged": diverged,
        "share": "" if not diverged else "<1%" if diverged < 1 else f"{diverged:.0f}%",
    }


def colours(rows: list[Row]) -> tuple[float, float]:
    """The accuracies that have the first and the last colour; where there is one accuracy only, some around it."""
    known = [row["accuracy"] for row in rows]
    lowest, highest = min(known), max(known)
    return (lowest, highest) if lowest < highest else (max(0.0, lowest - AROUND), min(100.0, highest + AROUND))


def _room(rows: list[Row]) -> float:
    """Pixels of a cell's width."""
    return _width(rows) / len({row["rate"] for row in rows})


def _width(rows: list[Row]) -> float:
    """Pixels of a panel's width."""
    across = len({row["norm"] for row in rows})
    return (WIDTH - 60 * across - 70) / across


def _heading(panel: str, norm: str) -> str:
    return ", ".join(filter(None, [panel, f"norm {norm}"]))


def _heat_map(own: list[Row], rows: list[Row], heading: str, *, last: bool) -> Any:
    """One panel. All have the colours of all `rows`."""
    import altair as alt

    rates, scales = (sorted({row[name] for row in rows}, key=float) for name in ("rate", "scale"))
    room = _room(rows)
    lowest, highest = colours(rows)
    upright = alt.Axis(labelAngle=0 if room >= NARROW else -90)
    base = alt.Chart(alt.InlineData(values=own)).encode(
        x=alt.X("rate:N", sort=rates, title="learning-rate multiplier" if last else None, axis=upright),
        y=alt.Y("scale:N", sort=scales[::-1], title="init scale"),
    )
    colour = alt.Color("accuracy:Q", title="accuracy, %", scale=alt.Scale(domain=[lowest, highest]))
    heat = base.mark_rect().encode(color=colour, tooltip=_tooltip())
    ink = alt.condition(
        f"datum.accuracy > {lowest + DARK * (highest - lowest)!r}", alt.value("#000000"), alt.value("#FFFFFF")
    )
    crosses = base.transform_filter("datum.diverged > 0")
    layers = [heat]
    if room >= NARROW:
        layers += [
            base.mark_text(fontSize=12, dy=-3 if any(row["half"] is not None for row in rows) else 0).encode(
                text="shown:N", color=ink
            ),
            base.mark_text(fontSize=10, dy=11).encode(text="spread:N", color=ink),
            crosses.mark_text(fontSize=10, dy=-16, align="left", dx=2).encode(text="share:N", color=ink),
        ]
    right, down = CORNER if room >= NARROW else (0, 0)
    mark = crosses.mark_point(shape=CROSS, size=50, strokeWidth=2, opacity=1, xOffset=right, yOffset=down)
    layers.append(mark.encode(stroke=ink))
    return alt.layer(*layers).properties(
        width=_width(rows), height=CELL * len(scales), title=alt.Title(heading, fontSize=12)
    )


def _tooltip() -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip("norm:N"),
        alt.Tooltip("rate:N", title="lr multiplier"),
        alt.Tooltip("scale:N", title="init scale"),
        alt.Tooltip("accuracy:Q", title="test accuracy, %", format=".2f"),
        alt.Tooltip("half:Q", title="±", format=".2f"),
        alt.Tooltip("diverged:Q", title="diverged, %", format=".0f"),
        alt.Tooltip("seeds:Q"),
        alt.Tooltip("trials:Q"),
    ]
