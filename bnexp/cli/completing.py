"""What a shell may complete: experiments, claims, trial keys, fields. Where something cannot be read there is nothing
to complete, and no message: a person is typing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, add_completion_class, get_completion_class

from bnexp.cli.bash import Bash
from bnexp.cli.shells import Fish, Zsh
from bnexp.text import printable

if TYPE_CHECKING:
    from bnexp.experiments import ExperimentsFile

for shell in (Bash, Zsh, Fish):
    add_completion_class(shell)

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
            for item in function(ctx, incomplete):
                if item.value.startswith(incomplete) and item.value.isprintable():
                    about = printable(" ".join((item.help or "").split()))  # shells are told line by line
                    found.append(CompletionItem(item.value, help=about or None))
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
    """FIELD= of every field, and FIELD=VALUE where the values are words."""
    from bnexp.fieldschema import definitions, dotted_names, words

    known = definitions()
    field, equals, _ = incomplete.partition("=")
    if equals:
        found = words(known[field]) if field in dotted_names() else {}
        yield from (CompletionItem(f"{field}={value}", help=about) for value, about in found.items())
    else:
        names = (name for name in dotted_names() if not name.endswith(".name"))
        yield from (CompletionItem(f"{name}=", help=known[name].get("description")) for name in names)


@_completes
def norms(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """What `norm` may be."""
    from bnexp.fieldschema import definitions, words

    yield from (CompletionItem(name, help=about) for name, about in words(definitions()["norm"]).items())


@_completes
def datasets(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Datasets that have files to be checked, those of a prepared folder by the name's beginning."""
    from bnexp import registry

    yield from (CompletionItem(name, help=registry.about(path)) for name, path in registry.DATASETS.items())
    yield CompletionItem("imagefolder/", help=registry.about(registry.PREPARED))


@_completes
def instances(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """Experiments that have been run into the database."""
    from bnexp.db.results import Results

    results = Results(ctx.params.get("database") or "bnexp.db")
    for name, about in {info.name: info.about for info in results.instances()}.items():
        yield CompletionItem(name, help=about)
    results.close()


@_completes
def trials(ctx: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    """The keys of trials in the database."""
    from bnexp.db.results import Results

    results = Results(ctx.params.get("database") or "bnexp.db")
    for key, status in results.keys(incomplete, MOST_KEYS):
        yield CompletionItem(key[: max(KEY, len(incomplete))], help=status)
    results.close()
