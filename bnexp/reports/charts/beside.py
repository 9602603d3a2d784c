"""What the figures about the paper's section 4.2 are drawn of: an instance beside the paper's table of variants."""

from dataclasses import dataclass

from bnexp.claims.beside import Beside, Line, beside, trials_beside
from bnexp.db.results import InstanceInfo
from bnexp.design import Experiment
from bnexp.records import Columns
from bnexp.reports.charts.arms import arms_of
from bnexp.reports.charts.asked import Asked, nothing_ended

NEEDS = "with a `paper` table of learning curves and its control"


@dataclass(frozen=True)
class Variants:
    """The rows of the table for which there are trials of ours."""

    instance: InstanceInfo
    beside: Beside
    trials: dict[str, Columns]
    """By the row's name."""
    names: dict[str, str]
    """What each row's trials are called in every chart, by the row's name."""
    order: list[str]
    """The names of all lines of the instance."""
    scale: str
    """The dataset, the networks and the number of seeds."""

    @property
    def absent(self) -> str:
        """A sentence about the rows of which nothing has ended here."""
        names = [line.name for line in self.beside.lines if line.name not in self.trials]
        return f"Not drawn, since nothing of it has ended here: {', '.join(names)}." if names else ""

    @property
    def lines(self) -> list[Line]:
        """The rows that are drawn, in the order of their names."""
        known = [line for line in self.beside.lines if line.name in self.trials]
        return sorted(known, key=lambda line: self.order.index(self.names[line.name]))


def variants(asked: Asked) -> Variants:
    """The instance asked for beside its table. Raises UsageError where there is no table, or nothing has ended."""
    instance = asked.instance(_fits, NEEDS)
    experiment = asked.file.experiments.get(instance.name)
    if experiment is None or not _fits(experiment) or experiment.paper is None:
        raise asked.refusal(_fits, NEEDS, instance.name)
    data, table = asked.data(instance), experiment.paper
    found = beside(table, data, [], asked.results.top5)
    names = [line.name for line in found.lines if line.counts.ended]
    if not names:
        raise nothing_ended(instance)
    scale = found.scale
    about = f"{', '.join(scale['datasets'])}, {', '.join(scale['networks'])}, {scale['seeds'][0]} seeds"
    trials = {name: trials_beside(name, table.rows[name], data) for name in names}
    arms = arms_of(data, experiment)
    for name, own in trials.items():
        arms = arms.joined(name, own)
    named = {name: arms.known(own) or name for name, own in trials.items()}
    return Variants(instance, found, trials, named, list(arms.lines), about)


def _fits(experiment: Experiment) -> bool:
    return experiment.paper is not None and not experiment.paper.of_errors


def steps_of(line: Line) -> str:
    """The steps to the target in words."""
    if line.course is None:
        return "not ended"
    if 2 * line.counts.diverged > line.counts.trials:
        return "diverged"
    return "not reached" if line.course.steps is None else f"{line.course.steps:,.0f}"
