"""What a figure is asked to show, and the experiment instance that has it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from bnexp.claims.data import Data
from bnexp.claims.parse import parse_claims
from bnexp.claims.report import Reports, data_of, report_on
from bnexp.db.results import InstanceInfo, Results
from bnexp.design import Experiment
from bnexp.errors import UsageError, did_you_mean
from bnexp.experiments import ExperimentsFile


@dataclass
class Asked:
    """What a figure is to be drawn of. Everything but the database and the file may be left open."""

    results: Results
    file: ExperimentsFile
    name: str | None = None
    """An experiment or a suite."""
    number: int | None = None
    """Which instance's."""
    trials: tuple[str, ...] = ()
    """Keys of trials, or their first digits; for figures of single trials."""
    metric: str = "validation_accuracy"
    """A column of learning_curves; for figures of any curve."""
    known: Reports | None = None
    """What has been judged already, so that it is not judged again."""

    @cached_property
    def reports(self) -> Reports:
        """What is reported of `name` or `number`, else of the instance that was run last, as `bnexp report` does."""
        if self.known is not None:
            return self.known
        return report_on(self.results, self.file, parse_claims(self.file), self.name, self.number)

    def instance(self, fits: Callable[[Experiment], bool], needs: str) -> InstanceInfo:
        """The instance to draw: the one asked for, else the one run last of those experiments of the file that `fits`
        says can be drawn. `needs` says what such an experiment has. Raises UsageError where there is none."""
        if self.number is not None or (self.name is not None and self.name not in self.file.suites):
            return self.results.latest(None if self.name in self.file.suites else self.name, self.number)
        fitting = {experiment.name for experiment in self._among() if fits(experiment)}
        for instance in self.results.instances():
            if instance.name in fitting:
                return instance
        raise UsageError(missing(needs, fitting))

    def data(self, instance: InstanceInfo) -> Data:
        """What is stored of the instance."""
        return data_of(self.results, instance)

    def variants(self, name: str) -> list[str]:
        """The variants of an experiment in the file's order; none where the file does not know it."""
        known = self.file.experiments.get(name)
        return list(known.variants) if known else []

    def _among(self) -> Iterable[Experiment]:
        if self.name is None:
            return self.file.experiments.values()
        return self.file.named([self.name])


def missing(needs: str, makers: Iterable[str]) -> str:
    """A sentence for a database that lacks what a figure needs, and how it is made."""
    commands = [f"`bnexp run {name}`" for name in sorted(makers)]
    remedy = f"{' or '.join(commands)} makes one" if commands else "the experiments file has no such experiment"
    return f"the figure needs an experiment {needs}, and none has been run into this database; {remedy}"


def one_of(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, which must be one of `known`. Raises UsageError."""
    listed = list(known)
    if name not in listed:
        raise UsageError(f"no {what} {name!r} ({did_you_mean(name, listed)})")
    return name
