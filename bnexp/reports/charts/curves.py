"""The figure of any curves: those of single trials by their keys, or of an experiment's arms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bnexp.claims.data import Data
from bnexp.claims.partial import described
from bnexp.columns import combinations, length, levels, take
from bnexp.config import columns_by_name, recorded_columns
from bnexp.db.reading import CURVE
from bnexp.errors import UsageError
from bnexp.records import Columns
from bnexp.reports import words
from bnexp.reports.charts import lines
from bnexp.reports.charts.asked import Asked, nothing_ended, one_of
from bnexp.reports.charts.means import Series, is_accuracy, notes, series_of
from bnexp.reports.charts.names import titled
from bnexp.reports.charts.themes import SERIES, WIDTH
from bnexp.text import with_overrides

FIRST = ("variant", "norm", "nonlinearity")
"""What series differ in before anything else does."""
LONG = 24
"""Characters of a series' name, from which on names stand below the chart."""
FARTHEST = 100.0
"""How many times the largest mean a loss may be, to be drawn where it is."""
KEY = 12
"""Digits of a trial's key that tell it from others."""


def curves(asked: Asked) -> Any:
    """Any curve by steps: of trials (--trial) or of an experiment's arms, by --metric."""
    metric = one_of("metric", asked.metric, CURVE)
    if asked.trials:
        title, groups, about = _single(asked)
    else:
        instance = asked.instance(lambda _: True, "of any kind")
        order = asked.variants(instance.name)
        title, (groups, about) = with_overrides(instance.name, instance.overrides), split(asked.data(instance), order)
    series = {name: series_of(trials, asked.results.curves, metric) for name, trials in groups.items()}
    if all(one.waiting == length(groups[name]) for name, one in series.items()):
        raise nothing_ended(title)
    if not any(one.mean or one.ended for one in series.values()):
        raise UsageError(f"the trials of {title} were evaluated at no step that all of a series share")
    unit = ", %" if is_accuracy(metric) else ", nats"
    named = metric.replace("_", " ")
    series, cut = within(series, metric)
    log = not is_accuracy(metric)
    if max(map(len, series)) > LONG:
        drawn = lines.chart(series, named + unit, width=WIDTH - 60, height=320, log=log, legend="bottom")
    else:
        drawn = lines.chart(series, named + unit, width=WIDTH - 220, height=320, log=log)
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
        wanted = ("trial_key", "status", "seed", "classes")
        found[row["trial_key"]] = {name: np.array([row[name]], dtype=object) for name in wanted}
    groups = {f"{key[:KEY]} ({trial['status'][0]})": trial for key, trial in found.items()}
    return ("a trial" if len(groups) == 1 else f"{len(groups)} trials"), groups, ""


def split(data: Data, order: Sequence[str] = ()) -> tuple[dict[str, Columns], str]:
    """An instance's trials in as many groups as have a colour each: its arms, where these are few, else by what differs
    most plainly. And a sentence that says over what the means go. Variants come in the given `order`."""
    trials = data.trials
    varied = factors(trials)
    arms = levels(trials, "arm") if length(trials) else np.empty(0)
    if len(arms) <= SERIES and (len(arms) > 1 or not varied):  # those of an older database have no names
        rank = {name: index for index, name in enumerate(order)}
        ordered = sorted(arms, key=lambda arm: (rank.get(str(arm).partition(", ")[0], len(rank)), _absent_last(arm)))
        return {str(arm) or "all trials": take(trials, trials["arm"] == arm) for arm in ordered}, ""
    chosen: list[str] = []
    for name in varied:
        if len(combinations(trials, [*chosen, name])[0]) <= SERIES:
            chosen.append(name)
    rest = [words.spaced(name) for name in varied if name not in chosen]
    about = f"Each seed's mean over all levels of {words.listed(rest)}." if rest else ""
    if not chosen:
        return {"all trials": trials}, about
    found, place = combinations(trials, chosen)
    return {_named(chosen, values): take(trials, place == index) for index, values in enumerate(found)}, about


def _absent_last(arm: str) -> tuple[bool, str]:
    """Arms with a normalization before those without, so that colours mean the same in every figure."""
    return "norm none" in arm, arm


def factors(trials: Columns) -> list[str]:
    """The columns in which the trials differ, the plainest first: the variant and fields, but for the seed and what is
    only recorded. A column that the others before it determine, as the norm does its eps, is left out."""
    columns = [name for name in columns_by_name().values() if name not in recorded_columns() and name != "seed"]
    names = sorted({"variant", *columns} & set(trials), key=lambda name: (name not in FIRST, _rank(name), name))
    found: list[str] = []
    count = 1
    for name in names if length(trials) else []:
        more = len(combinations(trials, [*found, name])[0])
        if more > count:
            found, count = [*found, name], more
    return found


def _rank(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _named(chosen: Sequence[str], values: Sequence[Any]) -> str:
    return described({name: value for name, value in zip(chosen, values, strict=True) if name != "variant" or value})
