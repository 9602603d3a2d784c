"""What the commands share: how errors end them, and the options that several have."""

import errno
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bnexp import registry
from bnexp.cli import completing
from bnexp.errors import BnexpError
from bnexp.text import message

if TYPE_CHECKING:
    from bnexp.experiments import ExperimentsFile

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class Commands(click.Group):
    """Commands in the order in which they are used; our errors become a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack a character that we print
        try:
            return super().invoke(ctx)
        except BnexpError as error:
            _fail(error, error.exit_code)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends by now; a second Ctrl-C would change how
            sys.exit(INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever read our output has seen enough; click ends quietly
            _fail(error, BnexpError.exit_code)


def _fail(error: Exception, code: int) -> NoReturn:
    click.echo(f"Error: {message(str(error))}", err=True)
    sys.exit(code)


class Number(click.FloatRange):
    """A number in a range. NaN is in none, which click does not see."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail("nan is not a number in a range", param, ctx)
        return number


def _options(*options: Callable[..., Any]) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


DATABASE = click.option(
    "--db",
    "database",
    envvar="BNEXP_DB",
    default="bnexp.db",
    show_default=True,
    metavar="PATH|URL",
    help="The results database; also $BNEXP_DB.",
)
FILE = click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The experiments file.  [default: experiments.yaml here, else the one that comes with bnexp]",
)
DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where to look for datasets first; then $BNEXP_DATA and the system's folder.",
)
DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto takes CUDA where it is, else the CPU.",
)
WORKERS = click.option(
    "--workers", type=click.IntRange(1, 1024), help="Processes.  [default: one a core, or one a GPU]"
)
EXECUTOR = click.option(
    "--executor",
    type=click.Choice(list(registry.EXECUTORS)),
    default="local",
    show_default=True,
    help="Where: processes here, or tasks of the Ray cluster at $RAY_ADDRESS, else of one that is started here.",
)
CHECKPOINTS = click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="BNEXP_CHECKPOINTS",
    metavar="FOLDER",
    help="Where unfinished training and kept files are.  [default: beside the database]",
)
EXPERIMENTS = _options(
    click.argument("names", metavar="EXPERIMENT...", nargs=-1, required=True, shell_complete=completing.experiments),
    FILE,
    DATABASE,
    DATA_DIR,
    click.option("--seeds", metavar="N|LIST", help="Other seeds: a count, or a list such as 3,5,8."),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Override a field; repeatable.",
        shell_complete=completing.assignments,
    ),
)


def load_file(file: Path | None) -> "ExperimentsFile":
    """The experiments file that a command is about."""
    from bnexp.experiments import default_file, load

    return load(file or default_file())
