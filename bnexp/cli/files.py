"""Commands about the experiments file itself: init, schema."""

from pathlib import Path

import click

from bnexp.cli.commands import Command
from bnexp.cli.options import OUTPUT_FILE


@click.command(
    cls=Command,
    examples=[
        ("bnexp init", "experiments.yaml, which every command then reads"),
        ("bnexp init mine.yaml", "to be named with --file mine.yaml"),
    ],
)
@click.argument("file", type=OUTPUT_FILE, default="experiments.yaml", required=False)
def init(file: Path) -> None:
    """Write an experiments file of your own to FILE, to begin with.

    FILE is experiments.yaml unless told. It has one small experiment on the digits that
    come with bnexp, and one claim about it. Beside it stands experiments.schema.json, from
    which an editor knows the fields. Nothing is overwritten.
    """
    from bnexp.starting import start

    for path in start(file):
        click.echo(f"wrote {path}")
    given = "" if file == Path("experiments.yaml") else f" --file {file}"
    click.echo(f"next: bnexp plan first{given}", err=True)


@click.command(
    cls=Command,
    examples=[
        ("bnexp schema --output experiments.schema.json", "beside the file whose first line names it"),
        ("bnexp schema", "to standard output"),
    ],
)
@click.option("--output", type=OUTPUT_FILE, metavar="FILE", help="Write to this file.")
def schema(output: Path | None) -> None:
    """Print the JSON Schema of an experiments file (draft 2020-12).

    An editor completes and checks a file with it. In VS Code that takes the extension YAML
    (Red Hat) and, as the first line of the file:

    \b
      # yaml-language-server: $schema=experiments.schema.json
    """
    from bnexp.fileschema import schema_text
    from bnexp.reports.formats import write

    write(schema_text(), output)
