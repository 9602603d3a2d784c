"""How commands are explained and refused: their order, their examples, errors as a sentence and an exit code, and what
was meant by a name that there is not."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click

from bnexp.errors import BnexpError, UsageError, did_you_mean, nearest
from bnexp.stopping import ignore_stops
from bnexp.text import message
from bnexp.unread import UNREAD, silent

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

EXIT_CODES = {
    0: "done",
    BnexpError.exit_code: "something failed",
    UsageError.exit_code: "what was asked cannot be done",
    INTERRUPTED: "stopped with Ctrl-C, SIGTERM or SIGHUP",
    UNREAD: "whoever read the output stopped before its end",
}

BESIDE = 42
"""The longest example with what it does beside it, not below."""

Examples = Sequence[tuple[str, str]]
"""Command lines, and what each does."""


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *arguments: Any, examples: Examples = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


class Commands(click.Group):
    """Commands in the order in which they are used; our errors become a sentence and an exit code."""

    command_class = Command

    def __init__(self, *arguments: Any, examples: Examples = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)
        if ctx.parent is None:
            with formatter.section("Exit codes"):
                formatter.write_dl([(str(code), about) for code, about in EXIT_CODES.items()])
        super().format_epilog(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            within = [path for path in paths(self) if path.endswith(f" {args[0]}")]
            hint = f"did you mean {' or '.join(map(repr, within))}?" if within else did_you_mean(args[0], self.commands)
            ctx.fail(f"No such command {args[0]!r} ({hint}).")
        return super().resolve_command(ctx, args)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with silent():  # --help prints here
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:  # a shell has closed it
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack a character that we print
        try:
            with silent():
                return super().invoke(ctx)
        except BnexpError as error:
            _fail(error, error.exit_code)
        except KeyboardInterrupt:
            ignore_stops()
            sys.exit(INTERRUPTED)
        except OSError as error:
            _fail(error, BnexpError.exit_code)


class Choice(click.Choice):  # type: ignore[type-arg]  # an older click's takes none
    """One of some words; the nearest is named where it is another."""

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(list(words))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = nearest(str(value), map(str, self.choices))
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.BadParameter(f"{error.message}{hint}", ctx, param) from error


class Number(click.FloatRange):
    """A number in a range. NaN is in none, which click does not see."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail("nan is not a number in a range", param, ctx)
        return number


def paths(group: click.Group) -> Iterator[str]:
    """Every command under a group, by the words that lead to it."""
    for name, command in group.commands.items():
        yield name
        if isinstance(command, click.Group):
            yield from (f"{name} {inner}" for inner in paths(command))


def write_examples(examples: Examples, formatter: click.HelpFormatter) -> None:
    """The section Examples: each command line whole, and what it does beside it where there is room, else below."""
    if not examples:
        return
    column = max((len(line) for line, _ in examples if len(line) <= BESIDE), default=0)
    with formatter.section("Examples"):
        for line, about in examples:
            indent = " " * formatter.current_indent
            if len(line) <= column and len(indent) + column + 2 + len(about) <= formatter.width:
                formatter.write(f"{indent}{line:{column}}  {about}\n")
            else:
                formatter.write(f"{indent}{line}\n{indent}    {about}\n")


def _fail(error: Exception, code: int) -> NoReturn:
    click.echo(f"Error: {message(str(error))}", err=True)
    sys.exit(code)
