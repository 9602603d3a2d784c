"""The command that draws: plot."""

from pathlib import Path

import click

from bnexp import registry
from bnexp.cli import completing
from bnexp.cli.commands import Choice, Command
from bnexp.cli.options import CHECKPOINTS, DATABASE, FILE, INSTANCE, OUTPUT, load_file
from bnexp.errors import UsageError, did_you_mean

METRIC = "validation_accuracy"


@click.command(
    cls=Command,
    examples=[
        ("bnexp plot --list", "the figures, and what each shows"),
        ("bnexp plot claims --output claims.pdf", "effects against their limits"),
        ("bnexp plot grid --experiment grid --output grid.html", "a page without a network"),
        ("bnexp plot curves --trial 3f6a --output curves.png", "of trials whose keys begin so"),
    ],
)
@click.argument("figure", required=False, shell_complete=completing.figures)
@FILE
@DATABASE
@click.option(
    "--experiment",
    metavar="NAME",
    help="Of this experiment or suite.  [default: the one run last that has what it takes]",
    shell_complete=completing.experiments,
)
@INSTANCE
@click.option(
    "--trial",
    "trials",
    multiple=True,
    metavar="KEY",
    help="curves: of this trial, whose key begins so; repeatable.",
    shell_complete=completing.trials,
)
@click.option(
    "--metric",
    default=METRIC,
    show_default=True,
    metavar="COLUMN",
    help="curves: a column of learning_curves.",
)
@OUTPUT
@click.option(
    "--theme", type=Choice(["light", "dark"]), default="light", show_default=True, help="Of letters and ground."
)
@click.option("--list", "listed", is_flag=True, help="List the figures.")
@CHECKPOINTS
def plot(
    figure: str | None,
    file: Path | None,
    database: str,
    experiment: str | None,
    instance: int | None,
    trials: tuple[str, ...],
    metric: str,
    output: Path | None,
    theme: str,
    listed: bool,
    checkpoints: Path | None,
) -> None:
    """Draw FIGURE into a file whose ending chooses the format.

    PNG, SVG, PDF, HTML (one page that needs no network) or JSON (the Vega-Lite specification).
    """
    from bnexp.reports.charts import figures
    from bnexp.reports.charts import output as written

    if listed:
        lines = click.HelpFormatter(width=80)
        lines.write_dl([(name, figures.about(name)) for name in registry.FIGURES])
        click.echo(lines.getvalue(), nl=False)
        return
    if figure is None:
        raise UsageError(f"which figure? ({did_you_mean('', registry.FIGURES)})")
    if figure not in registry.FIGURES:
        raise UsageError(f"no figure {figure!r} ({did_you_mean(figure, registry.FIGURES)})")
    if output is None:
        raise UsageError(f"plot needs --output FILE, whose name ends in one of {', '.join(written.ENDINGS)}")
    written.ending_of(output)  # before anything is read
    if figure != "curves" and (trials or metric != METRIC):
        raise UsageError(f"--trial and --metric are for the figure curves, not for {figure}")
    if trials and (experiment is not None or instance is not None):
        raise UsageError("--trial names trials wherever they are; --experiment and --instance have no place beside it")
    from bnexp.db.results import Results
    from bnexp.reports.charts.asked import Asked

    asked = Asked(Results(database, checkpoints), load_file(file), experiment, instance, trials, metric)
    written.write(figures.draw(figure, asked), output, theme)
    click.echo(f"wrote {output}", err=True)
