"""Whether an experiment has what a claim about it compares: judged by its arms, before anything is trained."""

from collections.abc import Iterable
from typing import Any, NoReturn

from bnexp.claims.model import Arms, Claim, Estimator, Measure
from bnexp.claims.partial import Partial, columns_of
from bnexp.config import columns
from bnexp.design import Experiment
from bnexp.errors import ConfigurationError
from bnexp.experiments import ExperimentsFile

MOST_CELLS = 20_000
"""An experiment with more is not searched: that would take longer than reading its file should."""

PROBED = {
    "percentile_drift": "percentiles",
    "growth_per_layer": "gradient-norms",
    "largest_error": "scale-invariance",
}
"""The probe that an estimator reads."""

Cells = list[dict[str, Any]]
"""The columns of each of an experiment's configurations, seeds apart, and its variant."""

Path = tuple[str | int, ...]


def as_written(claim: Claim) -> list[tuple[Path, Measure]]:
    """What is measured, and where it stands in the claim."""
    if claim.measures:
        return [(("measures", name), measure) for name, measure in claim.measures.items()]
    return [((), measure) for measure in claim.parts().values()]


def cells_of(experiment: Experiment) -> Cells:
    """Empty where there are too many."""
    if experiment.points() > MOST_CELLS:
        return []
    return [columns(arm.config) | {"variant": arm.variant} for arm in experiment.arms()]


def check_reach(file: ExperimentsFile, name: str, claim: Claim, cells: Cells) -> None:
    """Raise ConfigurationError, with the place, where a claim compares what its experiment does not contain: arms,
    levels of a factor, or probes; and where its arms overlap."""
    if cells:
        search = _Search(file, name, claim, cells)
        for path, measure in as_written(claim):
            search.check(path, measure)
        if claim.table and (claim.table.arms or claim.table.estimator):
            arms, how = claim.table.arms, claim.table.estimator
            first = next(iter(claim.parts().values()))
            search.find(("table",), claim.where, arms or first.arms, how or first.estimator)


class _Search:
    """The search of an experiment for what one claim is about."""

    def __init__(self, file: ExperimentsFile, name: str, claim: Claim, cells: Cells) -> None:
        self.file, self.name, self.claim, self.cells = file, name, claim, cells

    def refuse(self, sentence: str, *path: str | int) -> NoReturn:
        place = self.file.document.place(("claims", self.name, *path))
        raise ConfigurationError(f"claim {self.name}: {sentence}", place)

    def check(self, path: Path, measure: Measure) -> None:
        """Refuse a measure that cannot be taken."""
        how = measure.estimator
        found = self.find(path, self.claim.where | measure.where, measure.arms, how)
        if len(found) == 2 and set(found[0]) & set(found[1]):
            self.refuse("its arms overlap; a trial can be in both", *path, "arms", "control")
        if how.factor is not None:
            for arm in found:
                self._check_factor(path, how.factor, [self.cells[n].get(how.factor) for n in arm])
        choices = [{str(self.cells[n].get(factor)) for n in arm} for factor in how.over for arm in found]
        if choices and all(len(levels) < 2 for levels in choices):
            self.refuse(f"no arm has more than one level of {', '.join(how.over)}", *path, "estimator", "over")
        if how.name == "ensemble_gain":
            self._check_members(path, how.members, [self.cells[n] for arm in found for n in arm])
        probe = PROBED.get(how.name)
        if probe and not all(f'"{probe}"' in self.cells[n]["probes"] for arm in found for n in arm):
            self.refuse(f"{how.name} needs `probes: [{probe}]` in {self.claim.experiment}", *path, "estimator", "name")

    def _check_factor(self, path: Path, factor: str, levels: list[Any]) -> None:
        where = (*path, "estimator", "factor")
        if not all(isinstance(level, int | float) and not isinstance(level, bool) and level >= 0 for level in levels):
            self.refuse(f"the levels of {factor} are no numbers from 0", *where)
        if len(set(levels)) < 2:
            self.refuse(f"an arm has one level of {factor} only", *where)

    def _check_members(self, path: Path, members: str, cells: Cells) -> None:
        if len({str(cell.get(members)) for cell in cells}) < 2:
            self.refuse(f"an arm has one level of {members} only", *path, "estimator", "members")
        if not all('"predictions"' in cell["keep"] for cell in cells):
            experiment = self.claim.experiment
            self.refuse(f"ensemble_gain needs `keep: [predictions]` in {experiment}", *path, "estimator", "name")

    def find(self, path: Path, where: Partial, arms: Arms, how: Estimator) -> list[list[int]]:
        """The cells of each arm, by number. Refuses arms that are empty, with any part of a `gain` too."""
        pinned = {**where, **how.at}
        about = self.having(range(len(self.cells)), pinned)
        inner = [partial for partial in vars(how.gain).values() if partial] if how.gain else [{}]
        found = []
        for which, arm in (("treatment", arms.treatment), ("control", arms.control)):
            if arm is None:
                continue
            found.append(self.having(about, arm))
            for partial in inner:
                if not self.having(found[-1], partial):
                    among = f" among those with {_words(pinned)}" if pinned else ""
                    self.refuse(
                        f"{self.claim.experiment} has no trials with {_words(arm | partial)}{among}",
                        *path,
                        "arms",
                        which,
                    )
        return found

    def having(self, among: Iterable[int], partial: Partial) -> list[int]:
        wanted = columns_of(partial)
        return [n for n in among if all(_is_one(self.cells[n].get(name), values) for name, values in wanted.items())]


def _is_one(value: Any, values: tuple[Any, ...]) -> bool:
    """Whether it is one of the values; yes and no are no numbers."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)


def _words(partial: Partial) -> str:
    return ", ".join(f"{name}: {value}" for name, value in partial.items()) or "nothing given"
