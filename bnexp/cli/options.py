"""The options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnexp import registry
from bnexp.cli import completing
from bnexp.cli.commands import Choice

if TYPE_CHECKING:
    from bnexp.experiments import ExperimentsFile


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
    type=Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto takes CUDA where it is, else the CPU.",
)
WORKERS = click.option(
    "--workers", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one a core, or one a GPU]"
)
EXECUTOR = click.option(
    "--executor",
    type=Choice(registry.EXECUTORS),
    default="local",
    show_default=True,
    help="Where: processes here, or tasks of the Ray cluster at $RAY_ADDRESS, else of one that is started here.",
)
INSTANCE = click.option("--instance", type=int, metavar="NO", help="Which instance's, by its number in `bnexp status`.")
OUTPUT_FILE = click.Path(path_type=Path, dir_okay=False)
OUTPUT = click.option("--output", type=OUTPUT_FILE, help="Write to this file.")
CHECKPOINTS = click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="BNEXP_CHECKPOINTS",
    metavar="FOLDER",
    help="Where unfinished training and kept files are.  [default: beside the database]",
)
OVERRIDES = _options(
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
EXPERIMENTS = _options(
    click.argument("names", metavar="EXPERIMENT...", nargs=-1, required=True, shell_complete=completing.experiments),
    OVERRIDES,
)


def load_file(file: Path | None) -> "ExperimentsFile":
    """The experiments file that a command is about."""
    from bnexp.experiments import default_file, load

    return load(file or default_file())
