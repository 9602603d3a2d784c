"""The arms of an experiment as charts have them: in one order, each with one name, one colour and one dash in every
figure.

Where arms are too many for a colour each, those are put together that differ least plainly. What a claim compares is
drawn by the same lines, where it is made of them.
"""

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bnexp.claims.data import Data
from bnexp.claims.model import Claim
from bnexp.claims.partial import called
from bnexp.columns import combinations, counts, length, take
from bnexp.config import columns_by_name, recorded_columns
from bnexp.design import Experiment
from bnexp.records import Columns
from bnexp.reports import words
from bnexp.reports.charts.themes import SERIES

FIRST = ("variant", "norm", "nonlinearity")
"""What arms differ in before anything else does."""
PLAIN = ("none", "batch")
"""Levels that stand before others."""
ALL = "all trials"


@dataclass(frozen=True)
class Arms:
    """What is drawn as a line each of one experiment instance."""

    sets: dict[str, Columns]
    """The trials of each line by its name, in order; no trial stands in two."""
    whole: dict[str, int]
    """How many trials each arm of the instance has, in the order of the arms."""
    about: str = ""
    """A sentence that says over what the lines go; empty where each is an arm."""
    others: dict[str, Columns] = field(default_factory=dict)
    """What claims compare that is not made of these lines, each a line of its own."""

    @property
    def lines(self) -> dict[str, Columns]:
        """All of them. A name's place is that of its colour and its dash."""
        return self.sets | self.others

    def known(self, trials: Columns) -> str | None:
        """The name of the line of just these trials; None where there is no such line."""
        wanted = self._which(trials)
        return next((name for name, own in self.lines.items() if self._which(own) == wanted), None)

    def made_of(self, trials: Columns) -> list[str] | None:
        """The lines of `sets` that together are these trials; None where they are not made of such."""
        wanted = self._which(trials)
        parts = {name: self._which(own) for name, own in self.sets.items()}
        inside = [name for name, part in parts.items() if part == wanted]
        if not inside and isinstance(wanted, frozenset):
            inside = [name for name, part in parts.items() if isinstance(part, frozenset) and part <= wanted]
        return inside if sum(length(self.sets[name]) for name in inside) == length(trials) else None

    def first(self, trials: Columns) -> int:
        """The place of the first of the arms that these trials are of."""
        own = counts(trials, "arm")
        return next((place for place, arm in enumerate(self.whole) if arm in own), len(self.whole))

    def joined(self, name: str, trials: Columns) -> "Arms":
        """With a line for these trials, unless there is one. Where another has its name, it is numbered."""
        if self.known(trials) is not None:
            return self
        names = [name, *(f"{name} ({number})" for number in range(2, len(self.lines) + 2))]
        return replace(self, others=self.others | {next(one for one in names if one not in self.lines): trials})

    def _which(self, trials: Columns) -> Hashable:
        """What tells trials from others: their arms where these are whole, else their keys."""
        own = counts(trials, "arm") if length(trials) else {}
        if "" not in own and all(self.whole.get(arm) == count for arm, count in own.items()):
            return frozenset(own)
        return tuple(trials["trial_key"].tolist())


def arms_of(data: Data, experiment: Experiment | None = None) -> Arms:
    """The lines of an instance: its arms, where these are few, else arms together by what differs most plainly. The
    experiment of the file gives variants their order, and the paper's names; None where the file has none."""
    trials = data.trials
    varied, variants = factors(trials), list(experiment.variants) if experiment else []
    count = counts(trials, "arm") if length(trials) else {}
    named = {arm: count[arm] for arm in _in_order(trials, varied, variants)}
    if len(named) <= SERIES and (len(named) > 1 or not varied):  # those of an older database have no names
        papers = _papers(experiment)
        sets = {papers.get(arm, called(arm)) or ALL: take(trials, trials["arm"] == arm) for arm in named}
        return Arms(sets, named)
    chosen: list[str] = []
    for name in varied:
        if len(combinations(trials, [*chosen, name])[0]) <= SERIES:
            chosen.append(name)
    rest = [words.spaced(name) for name in varied if name not in chosen]
    about = f"Each seed's mean over all levels of {words.listed(rest)}." if rest else ""
    if not chosen:
        return Arms({ALL: trials}, named, about)
    found, place = combinations(trials, chosen)
    order = sorted(range(len(found)), key=lambda index: _ranks(chosen, found[index], variants))
    names = [named_by(dict(zip(chosen, found[index], strict=True))) for index in order]
    return Arms({n: take(trials, place == index) for n, index in zip(names, order, strict=True)}, named, about)


def with_claims(arms: Arms, claims: Iterable[Claim], data: Data) -> Arms:
    """With lines for what these claims compare that is not made of whole lines."""
    for claim in claims:
        sides = list(_sides(claim, data))
        if any(arms.made_of(trials) is None for _, trials in sides):
            for name, trials in sorted(sides, key=lambda side: arms.first(side[1])):
                arms = arms.joined(name, trials)
    return arms


def of_claim(arms: Arms, claim: Claim, data: Data) -> dict[str, Columns]:
    """The lines that show what a claim compares, in their order; `arms` has those of its own."""
    sides = [trials for _, trials in _sides(claim, data)]
    parts = [arms.made_of(trials) for trials in sides]
    own = [[arms.known(trials)] for trials in sides] if None in parts else parts
    wanted = {name for part in own for name in part or ()}
    return {name: trials for name, trials in arms.lines.items() if name in wanted}


def _sides(claim: Claim, data: Data) -> Iterable[tuple[str, Columns]]:
    """What a claim compares, each once, by its name."""
    for measure in claim.parts().values():
        for partial, trials in data.sides(measure):
            if length(trials):
                arm, *others = counts(trials, "arm")
                yield named_by(partial | measure.where | measure.estimator.at) if others else called(arm), trials


def _papers(experiment: Experiment | None) -> dict[str, str]:
    """The names of arms that a row of the paper's table is about: ours, and the paper's where it has another."""
    rows = experiment.paper.rows if experiment and experiment.paper else {}
    ours = {name: row.variant for name, row in rows.items() if row.variant not in (None, name) and not row.where}
    return {variant: f"{variant} ({name})" for name, variant in ours.items() if variant}


def named_by(partial: Mapping[str, Any]) -> str:
    """Trials by what they have in common; a variant by its name alone."""
    variant = partial.get("variant") or ""
    rest = {name: value for name, value in partial.items() if name != "variant"}
    told = " or ".join(map(str, variant)) if isinstance(variant, list | tuple) else str(variant)
    return ", ".join(filter(None, [told, words.partial(rest) if rest else ""])) or ALL


def _in_order(trials: Columns, varied: Sequence[str], variants: Sequence[str]) -> list[str]:
    """The arms in the order of their levels."""
    if not length(trials):
        return []
    found, _ = combinations(trials, [*varied, "arm"])
    ordered = sorted(found, key=lambda values: (_ranks(varied, values[:-1], variants), values[-1]))
    return list(dict.fromkeys(str(values[-1]) for values in ordered))


def _ranks(names: Sequence[str], values: Sequence[Any], variants: Sequence[str]) -> list[tuple[Any, ...]]:
    """What sorts a combination of levels: variants as the file has them, all else as `rank` says."""
    place = {name: index for index, name in enumerate(variants)}
    return [
        (place.get(value, len(place)), str(value)) if name == "variant" else rank(value)
        for name, value in zip(names, values, strict=True)
    ]


def rank(level: Any) -> tuple[int, float, str]:
    """What sorts levels of a factor: those that are missing, numbers, sizes of networks, then words, of which "none"
    and "batch" come first."""
    if level is None or level != level or level == "":
        return 0, 0.0, ""
    if isinstance(level, int | float | np.number):
        return 1, float(level), ""
    text = str(level)
    if text.startswith("["):
        return 2, float(len(json.loads(text))), text
    return 3, float(PLAIN.index(text) if text in PLAIN else len(PLAIN)), text


def factors(trials: Columns) -> list[str]:
    """The columns in which the trials differ, the plainest first: the variant and fields, but for the seed and what is
    only recorded. A column that the others before it determine, as the norm does its eps, is left out."""
    columns = [name for name in columns_by_name().values() if name not in recorded_columns() and name != "seed"]
    names = sorted({"variant", *columns} & set(trials), key=lambda name: (name not in FIRST, _plainness(name), name))
    found: list[str] = []
    count = 1
    for name in names if length(trials) else []:
        more = len(combinations(trials, [*found, name])[0])
        if more > count:
            found, count = [*found, name], more
    return found


def _plainness(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)
