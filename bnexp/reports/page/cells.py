"""An experiment's trials as the cells of its grid, for people to look at from any side: a row a cell, never a row a
trial."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bnexp.claims.data import ENDED
from bnexp.claims.partial import shown
from bnexp.columns import combinations, length
from bnexp.records import Columns
from bnexp.reports import words
from bnexp.reports.charts.arms import factors, rank
from bnexp.text import counted

MOST_CELLS = 20_000
"""Of a page, which stays usable with so many."""
DIGITS = 3
"""Of an accuracy in percent, after the point."""


@dataclass(frozen=True)
class Factor:
    """An axis of the grid."""

    name: str
    levels: list[str]


@dataclass(frozen=True)
class Cells:
    """The cells of a grid; every list but `factors` and `notes` has an entry a cell."""

    title: str
    factors: list[Factor]
    places: list[list[int]]
    """For each factor, which of its levels each cell has."""
    ended: list[int]
    """Trials that finished or diverged."""
    accuracy: list[float | None]
    """Mean scored accuracy of these in percent; None where none has ended."""
    diverged: list[int]
    waiting: list[int]
    """Trials that have not ended."""
    notes: list[str]
    """What was put together beforehand, in sentences."""


def cells(title: str, trials: Columns, tuning: int = 0, most: int = MOST_CELLS) -> Cells:
    """The cells of these trials, at most `most`: factors that would make them more are averaged over, and named. Of
    their experiment there are `tuning` others, to tune."""
    chosen: list[str] = []
    averaged: list[str] = []
    found: list[tuple[Any, ...]] = [()]
    place = np.zeros(length(trials), dtype=np.intp)
    for name in factors(trials):
        more, finer = combinations(trials, [*chosen, name])
        if len(more) > most:
            averaged.append(words.spaced(name))
        else:
            chosen, found, place = [*chosen, name], more, finer
    ended, diverged, accuracy = _outcomes(trials, place, len(found))
    sizes = np.bincount(place, minlength=len(found))
    axes, places = _axes(chosen, found)
    return Cells(
        title,
        axes,
        places,
        ended.tolist(),
        [None if not count else round(100 * float(mean), DIGITS) for mean, count in zip(accuracy, ended, strict=True)],
        diverged.tolist(),
        (sizes - ended).tolist(),
        _notes(trials, len(found), averaged, tuning),
    )


def _outcomes(
    trials: Columns, place: npt.NDArray[np.intp], count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """[cells] How many trials have ended, how many of these diverged, and their mean scored accuracy, 0 to 1."""
    status = trials["status"].astype(str)
    over = np.isin(status, ENDED)
    scored = trials["scored_accuracy"].astype(np.float64)
    chance = 1 / trials["classes"].astype(np.float64)
    scored = np.where(np.isfinite(scored), scored, chance)
    ended = np.bincount(place[over], minlength=count)
    diverged = np.bincount(place[status == "diverged"], minlength=count)
    total = np.bincount(place[over], weights=scored[over], minlength=count)
    return ended, diverged, total / np.maximum(ended, 1)


def _axes(names: Sequence[str], found: Sequence[tuple[Any, ...]]) -> tuple[list[Factor], list[list[int]]]:
    """Each factor with its levels in their order, and each cell's level of it."""
    axes, places = [], []
    for number, name in enumerate(names):
        ordered = sorted({row[number] for row in found}, key=rank)
        levels = [_level(level) for level in ordered]
        index = {level: at for at, level in enumerate(levels)}
        axes.append(Factor(words.spaced(name), levels))
        places.append([index[_level(row[number])] for row in found])
    return axes, places


def _level(level: Any) -> str:
    """A level as people write it; where it has none, a dash."""
    return "-" if level is None or level != level or level == "" else shown(level)


def _notes(trials: Columns, count: int, averaged: Sequence[str], tuning: int) -> list[str]:
    """What the cells are made of."""
    links = length(trials)
    there = len(np.unique(trials["trial_key"].astype(str)))
    notes = [f"{counted(there, 'trial')} in {counted(count, 'cell')}; the trials of a cell differ in their seeds."]
    if averaged:
        notes = [
            f"{counted(there, 'trial')} in {counted(count, 'cell')}, which are means over seeds and all levels of "
            f"{words.listed(averaged)}: with these there would be too many for a page."
        ]
    if links > there:
        notes.append(f"{counted(links - there, 'trial')} that another variant shares count in both.")
    if tuning:
        notes.append(f"{counted(tuning, 'trial')} to tune {'is' if tuning == 1 else 'are'} in no cell.")
    return notes
