"""Figure 1 of the paper: accuracy, and the inputs of the last hidden layer's nonlinearities, by training steps."""

from typing import Any

import numpy as np

from bnexp.claims.arms import exactly, scored
from bnexp.claims.data import ENDED
from bnexp.claims.partial import described
from bnexp.columns import combinations, length, levels, take
from bnexp.design import Experiment
from bnexp.records import Columns
from bnexp.reports.charts import inputs, lines
from bnexp.reports.charts.arms import factors, named_by, rank
from bnexp.reports.charts.asked import Asked, nothing_ended
from bnexp.reports.charts.means import left_out, notes, series_of
from bnexp.reports.charts.names import label, titled
from bnexp.reports.charts.percentiles import Inside, first_seeds, inside
from bnexp.settings import in_words
from bnexp.text import with_overrides

NEEDS = "with the probe `percentiles`"
MOST_SETTINGS = 12
"""That have a small panel each."""

Measured = dict[str, dict[str, Inside]]
"""By setting, and by norm."""


def figure_1(asked: Asked) -> Any:
    """Accuracy, and percentiles of the last hidden layer's inputs, by training steps, a panel a norm (Figure 1)."""
    import altair as alt

    instance = asked.instance(_fits, NEEDS)
    trials = asked.results.trials(instance.id)
    ended = np.isin(trials["status"].astype(str), ENDED) if length(trials) else np.zeros(0, dtype=bool)
    if not ended.any():
        raise nothing_ended(instance)
    known, fewer = first_seeds(take(trials, ended))
    settings = _settings(known)
    best = _best(settings)
    drawn = dict(list(settings.items())[:MOST_SETTINGS]) | {best: settings[best]}
    measured: Measured = {
        at: {norm: inside(own, asked.results.probes) for norm, own in _by_norm(these).items()}
        for at, these in drawn.items()
    }
    if not any(one.lines for by_norm in measured.values() for one in by_norm.values()):
        raise asked.refusal(_fits, NEEDS, instance.name)
    norms = list(_by_norm(known))
    series = {norm: series_of(own, asked.results.curves) for norm, own in _by_norm(settings[best]).items()}
    axis = lines.even_steps(lines.reach(series)[1])
    accuracy = lines.chart(
        series,
        "validation accuracy, %",
        width=inputs.WIDE,
        height=inputs.HIGH,
        order=norms,
        x=axis,
        legend="bottom-right",
    )
    row = [accuracy.properties(title=inputs.heading("(a) accuracy")), *inputs.panels(measured[best], norms)]
    parts = [alt.concat(*row, columns=3, spacing=10).resolve_scale(color="independent", strokeDash="independent")]
    if len(drawn) > 1:
        parts.append(inputs.surface(measured, norms))
    about = [
        f"(a) to ({'abcdefgh'[len(measured[best])]}): {label(best, 120)}, the setting in which networks without "
        "normalization come to the highest validation accuracy." * (len(settings) > 1),
        "Lines: 15th, 50th and 85th percentile over examples of what enters each unit, mean over all units and seeds.",
        "Pale: eight in ten units have their 15th and 85th percentiles within."
        + " Below: all settings." * (len(drawn) > 1),
        f"{len(settings) - len(drawn)} more settings are not drawn." if len(settings) > len(drawn) else "",
        *notes(series),
        *left_out(int((~ended).sum())),
        fewer,
    ]
    title = f"Accuracy and the inputs of the last hidden layer: {with_overrides(instance.name, instance.overrides)}"
    whole = alt.vconcat(*parts, spacing=20).resolve_scale(color="independent", strokeDash="independent")
    return whole.properties(title=titled(title, *about))


def _fits(experiment: Experiment) -> bool:
    probes = experiment.base.get("probes")
    return probes is not None and "percentiles" in in_words(probes.value)


def _settings(trials: Columns) -> dict[str, Columns]:
    """The trials of each combination of the factors but the norm, in words."""
    names = [name for name in factors(trials) if not name.startswith("norm")]
    if not names:
        return {"": trials}
    found, place = combinations(trials, names)
    return {
        described(dict(zip(names, values, strict=True))): take(trials, place == index)
        for index, values in enumerate(found)
    }


def _best(settings: dict[str, Columns]) -> str:
    """The setting in which the trials without normalization, or all where each has one, end most accurate."""

    def accuracy(trials: Columns) -> float:
        plain = exactly(trials, {"norm": "none"})
        own = plain if length(plain) else trials
        return float(scored(own).mean())

    return max(settings, key=lambda at: accuracy(settings[at]))


def _by_norm(trials: Columns) -> dict[str, Columns]:
    """The trials of each norm, by its name, in the order of all charts."""
    found = sorted(levels(trials, "norm").tolist(), key=rank)
    return {named_by({"norm": norm}): exactly(trials, {"norm": norm}) for norm in found}
