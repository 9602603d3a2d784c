"""The command that takes data out: export."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnexp.cli import completing
from bnexp.cli.commands import Choice, Command
from bnexp.cli.options import DATABASE, INSTANCE, OUTPUT_FILE

if TYPE_CHECKING:
    from bnexp.db.views import What

WHAT = ("trials", "curves", "probes", "verdicts")


@click.command(
    cls=Command,
    examples=[
        ("bnexp export trials --output trials.csv", "every trial, a row each"),
        ("bnexp export curves --experiment grid --output curves.parquet", "an experiment's curves"),
    ],
)
@click.argument("what", type=Choice(WHAT))
@DATABASE
@click.option(
    "--experiment",
    metavar="NAME",
    help="Only what this experiment wants.  [default: everything in the database]",
    shell_complete=completing.instances,
)
@INSTANCE
@click.option(
    "--output",
    type=OUTPUT_FILE,
    help="Write to this file: CSV or Parquet, by its ending.  [default: CSV to standard output]",
)
def export(what: "What", database: str, experiment: str | None, instance: int | None, output: Path | None) -> None:
    """Write trials, curves, probes or verdicts as CSV or Parquet.

    The columns are those of the views, which docs/schema.md tells of. With --experiment,
    the instance that was run last is meant. Parquet needs pyarrow: pip install
    'bnexp[parquet]', or '.[parquet]' in a clone.
    """
    from bnexp.db.database import Database
    from bnexp.reports.exporting import export as write
    from bnexp.text import counted

    with Database(database) as opened:
        count = write(opened.batches(what, experiment, instance), output)
    if output is not None:
        click.echo(f"wrote {output}: {counted(count, 'row')}", err=True)
