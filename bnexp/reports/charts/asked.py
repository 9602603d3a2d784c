"""What a figure is asked to show, and the experiment instance that has it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from bnexp.claims.data import Data
from bnexp.claims.overrides import run_command
from bnexp.claims.parse import parse_claims
from bnexp.claims.report import Reports, data_of, report_on
from bnexp.db.results import InstanceInfo, Results
from bnexp.design import Experiment
from bnexp.errors import UsageError, did_you_mean
from bnexp.experiments import ExperimentsFile

Fits = Callable[[Experiment], bool]
"""Whether a figure can be drawn of an experiment."""


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

    def instance(self, fits: Fits, needs: str) -> InstanceInfo:
        """The instance to draw: the one asked for, else the one run last of those experiments of the file that `fits`
        says can be drawn. `needs` says what such an experiment has. Raises UsageError where there is none."""
        if self.number is not None or (self.name is not None and self.name not in self.file.suites):
            return self.results.latest(None if self.name in self.file.suites else self.name, self.number)
        members = None if self.name is None else self.file.suites[self.name]
        makers = [name for name in self._makers(fits) if members is None or name in members]
        for instance in self.results.instances():
            if instance.name in makers:
                return instance
        if members is not None and not makers:
            raise self.refusal(fits, needs, self.name or "")
        raise UsageError(f"nothing that was run into this database is an experiment {needs}; {_remedy(makers)}")

    def refusal(self, fits: Fits, needs: str, name: str) -> UsageError:
        """The error about an experiment, or a suite, that cannot be drawn."""
        return UsageError(f"{name} is no experiment {needs}; {_remedy(self._makers(fits))}")

    def _makers(self, fits: Fits) -> list[str]:
        return [name for name, experiment in self.file.experiments.items() if fits(experiment)]

    def data(self, instance: InstanceInfo) -> Data:
        """What is stored of the instance."""
        return data_of(self.results, instance)


def _remedy(makers: Sequence[str]) -> str:
    """How the data of a figure are made."""
    commands = [f"`bnexp run {name}`" for name in makers]
    return f"{' or '.join(commands)} makes one" if commands else "nor does the experiments file have one"


def nothing_ended(instance: InstanceInfo) -> UsageError:
    """The error about an instance that has no results yet."""
    again = run_command([instance.name], instance.overrides)
    return UsageError(f"no trial of {instance.name} has ended yet; `{again}` goes on with them")


def one_of(what: str, name: str, known: Iterable[str]) -> str:
    """`name`, which must be one of `known`. Raises UsageError."""
    listed = list(known)
    if name not in listed:
        raise UsageError(f"no {what} {name!r} ({did_you_mean(name, listed)})")
    return name
