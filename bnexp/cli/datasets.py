"""Commands about datasets."""

from pathlib import Path

import click

from bnexp.cli import completing
from bnexp.cli.commands import Commands
from bnexp.cli.options import DATA_DIR


@click.group(
    cls=Commands,
    examples=[
        ("bnexp data list", "what is here, and how to get the rest"),
        ("bnexp data prepare ~/pets", "makes the dataset imagefolder/pets"),
    ],
)
def data() -> None:
    """Datasets: which there are, how to get others, and to make one."""


@data.command(
    "list",
    examples=[
        ("bnexp data list", "in $BNEXP_DATA and the system's folder"),
        ("bnexp data list --data-dir /data", "in this folder first"),
    ],
)
@DATA_DIR
def list_datasets(data_dir: Path | None) -> None:
    """Show every dataset, where it was found, or how to get it."""
    from bnexp.data.dataset import sources
    from bnexp.reports.screens import show_datasets

    show_datasets(sources(data_dir))


@data.command(
    examples=[
        ("bnexp data prepare ~/pets --data-dir /data", "makes imagefolder/pets"),
        (
            "bnexp data prepare ~/imagenet --name imagenet --data-dir /data --skip-damaged",
            "of another name, whatever cannot be decoded left out",
        ),
    ],
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", metavar="NAME", help="The dataset is imagefolder/NAME.  [default: the folder's name]")
@click.option(
    "--size",
    type=click.IntRange(8, 2048),
    metavar="PIXELS",
    default=256,
    show_default=True,
    help="Of each picture's shorter side.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the result goes, into imagefolder/NAME; made if need be.  [default: $BNEXP_DATA]",
)
@click.option("--workers", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one a core]")
@click.option("--skip-damaged", is_flag=True, help="Leave pictures out that cannot be decoded.")
def prepare(
    folder: Path, name: str | None, size: int, data_dir: Path | None, workers: int | None, skip_damaged: bool
) -> None:
    """Make a dataset of FOLDER's pictures, decoded once.

    FOLDER has train/CLASS/PICTURE and val (or validation, or test)/CLASS/PICTURE; or
    CLASS/PICTURE only, and then a sixth becomes the test set. Each picture is turned
    upright and made small: its shorter side SIZE, a longer one at most twice that.
    Stopped or killed, the same command goes on. Needs Pillow: pip install
    'bnexp[images]', or '.[images]' in a clone.
    """
    from bnexp.data.imagefolder import layout, preparing
    from bnexp.data.imagefolder.place import place
    from bnexp.executors.local import cores
    from bnexp.reports.pictures import Pictures, show_prepared

    dataset, target = place(folder, name, data_dir)
    with Pictures(dataset) as pictures:
        pictures.begin(folder)
        listing = layout.find(folder)
        index = preparing.prepare(listing, target, size, workers or cores(), skip_damaged, pictures.show)
    show_prepared(dataset, index)


@data.command(
    examples=[
        ("bnexp data check digits", "the digits that come with bnexp"),
        ("bnexp data check imagefolder/imagenet --data-dir /data", "every byte of what was prepared"),
    ],
)
@click.argument("name", shell_complete=completing.datasets)
@DATA_DIR
def check(name: str, data_dir: Path | None) -> None:
    """Read all of the dataset NAME again, and compare its checksums."""
    from bnexp.data.checking import check as read_all
    from bnexp.reports.pictures import Pictures

    with Pictures(name) as pictures:
        found = read_all(name, data_dir, pictures.show)
    click.echo(found)
