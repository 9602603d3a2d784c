"""The figure of any curves: those of single trials by their keys, or of an experiment's arms."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bnexp.columns import length
from bnexp.db.reading import CURVE
from bnexp.errors import UsageError
from bnexp.records import Columns
from bnexp.reports.charts import lines
from bnexp.reports.charts.arms import arms_of
from bnexp.reports.charts.asked import Asked, nothing_ended, one_of
from bnexp.reports.charts.means import Series, is_accuracy, notes, series_of
from bnexp.reports.charts.names import titled
from bnexp.reports.charts.themes import SERIES, WIDTH
from bnexp.text import with_overrides

FARTHEST = 100.0
"""How many times the largest mean a loss may be, to be drawn where it is."""
KEY = 12
"""Digits of a trial's key that tell it from others."""


def curves(asked: Asked) -> Any:
    """Any curve by steps: of trials (--trial) or of an experiment's arms, by --metric."""
    metric = one_of("metric", asked.metric, CURVE)
    if asked.trials:
        title, groups, about = _single(asked)
        nothing = UsageError(f"{title} has not ended yet")
    else:
        anything = asked.name is None and asked.number is None  # of another file perhaps
        instance = asked.results.latest() if anything else asked.instance(lambda _: True, "of any kind")
        arms = arms_of(asked.data(instance), asked.file.experiments.get(instance.name))
        nothing = nothing_ended(instance)
        title, groups, about = with_overrides(instance.name, instance.overrides), arms.sets, arms.about
    series = {name: series_of(trials, asked.results.curves, metric) for name, trials in groups.items()}
    if all(one.waiting == length(groups[name]) for name, one in series.items()):
        raise nothing
    if not any(one.mean or one.ended for one in series.values()):
        raise UsageError(f"the trials of {title} were evaluated at no step that all of a series share")
    unit = ", %" if is_accuracy(metric) else ", nats"
    named = metric.replace("_", " ")
    series, cut = within(series, metric)
    log = not is_accuracy(metric)
    drawn = lines.chart(series, named + unit, width=WIDTH - 60, height=320, log=log)
    title = f"{named.capitalize()} by training steps: {title}"
    return drawn.properties(title=titled(title, about, *notes(series, metric), cut))


def within(series: Mapping[str, Series], metric: str) -> tuple[dict[str, Series], str]:
    """The series without losses that would leave no room for the others, as those of trials that diverge may be: these
    stand at a highest loss. And a sentence that says so."""
    means = [row["high"] or row["mean"] for one in series.values() for row in one.mean]
    most = FARTHEST * max(means, default=math.inf)
    if is_accuracy(metric) or all(row["value"] <= most for one in series.values() for row in one.ended):
        return dict(series), ""
    lowered = {
        name: replace(one, ended=[{**row, "value": min(row["value"], most)} for row in one.ended])
        for name, one in series.items()
    }
    return lowered, f"Losses above {most:.3g} are drawn there."


def _single(asked: Asked) -> tuple[str, dict[str, Columns], str]:
    """A series a trial."""
    if len(asked.trials) > SERIES:
        raise UsageError(f"--trial: at most {SERIES} trials have a colour each; --experiment draws the means of many")
    found: dict[str, Columns] = {}
    for prefix in asked.trials:
        row = asked.results.trial(prefix)["trial"]
        wanted = ("trial_key", "status", "seed", "classes", "steps")
        found[row["trial_key"]] = {name: np.array([row[name]], dtype=object) for name in wanted}
    groups = {f"{key[:KEY]} ({trial['status'][0]})": trial for key, trial in found.items()}
    [first, *others] = groups
    return (f"{len(groups)} trials" if others else f"trial {first}"), groups, ""
