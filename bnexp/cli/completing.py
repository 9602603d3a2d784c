"""What a shell may complete: experiments, claims, trial keys, fields. Where something cannot be read there is nothing
to complete, and no message: a person is typing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from bnexp.experiments import ExperimentsFile

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_BNEXP_COMPLETE"
"""By which a shell asks; its name is click's."""
MOST_KEYS = 200
"""Trials that begin as was typed, to be shown at once."""
KEY = 12
"""Digits of a trial's key that are shown, as in reports."""


def script(command: click.Command, shell: str) -> str:
    """What the shell runs to have `bnexp` completed."""
    found = get_completion_class(shell)
    assert found is not None
    return found(command, {}, "bnexp", VARIABLE).source()


def _completes(function: Callable[[click.Context, str], Iterable[CompletionItem]]) -> Complete:
    """A callback of click's of a function that yields what there is."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found: list[CompletionItem] = []
        with suppress(Exception):  # of whatever kind: the line that is typed stays as it is
            found += [item for item in function(ctx, incomplete) if item.value.startswith(incomplete)]
        return found

    return complete


def _file(ctx: click.Context) -> "ExperimentsFile":
    from bnexp.experiments import default_file, load

    given = ctx.params.get("file")
    return load(Path(given) if given else default_file())


@_completes
def experiments(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Experiments of the file, and its suites."""
    file = _file(ctx)
    for name, experiment in file.experiments.items():
        yield CompletionItem(name, help=experiment.about)
    for name, members in file.suites.items():
        yield CompletionItem(name, help=f"{len(members)} experiments")


@_completes
def claims(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Claims of the file."""
    from bnexp.claims.parse import parse_claims

    for name, claim in parse_claims(_file(ctx)).items():
        yield CompletionItem(name, help=claim.question)


@_completes
def figures(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """What `bnexp plot` draws."""
    from bnexp import registry
    from bnexp.reports.charts.figures import about

    for name in registry.FIGURES:
        yield CompletionItem(name, help=about(name))


@_completes
def assignments(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """FIELD= of every field, and FIELD=VALUE where the values are names."""
    from bnexp import registry
    from bnexp.config import columns_by_name

    names = {
        "dataset": registry.DATASETS,
        "model": registry.MODELS,
        "norm": registry.NORMS,
        "nonlinearity": registry.NONLINEARITIES,
        "optimizer": registry.OPTIMIZERS,
        "schedule": registry.SCHEDULES,
    }
    field, equals, _ = incomplete.partition("=")
    if equals:
        yield from (CompletionItem(f"{field}={value}") for value in names.get(field, ()))
    else:
        yield from (CompletionItem(f"{name.removesuffix('.name')}=") for name in columns_by_name())


@_completes
def trials(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """The keys of trials in the database."""
    from bnexp.db.results import Results

    results = Results(ctx.params.get("database") or "bnexp.db")
    for key, status in results.keys(incomplete, MOST_KEYS):
        yield CompletionItem(key[: max(KEY, len(incomplete))], help=status)
    results.close()
