"""The command that tests normalizers: battery."""

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from bnexp import registry
from bnexp.cli import completing
from bnexp.cli.commands import Choice, Command
from bnexp.cli.options import CHECKPOINTS, DEVICE, EXECUTOR, OUTPUT, OVERRIDES, WORKERS, load_file
from bnexp.cli.training import stored, train
from bnexp.errors import BnexpError, DatabaseError
from bnexp.stopping import stop_as_by_hand


@click.command(
    cls=Command,
    examples=[
        ("bnexp battery --norm group", "some minutes on two cores"),
        ("bnexp battery --norm batch --norm '{name: group, groups: 2}'", "the paper's column, and another beside it"),
        ("bnexp battery --norm group --format markdown --output card.md", "the scorecard into a file"),
        ("bnexp battery --norm group --format html --output battery.html", "a page, with all that it rests on"),
    ],
)
@click.option(
    "--norm",
    "norms",
    multiple=True,
    required=True,
    metavar="NORM",
    help="What to test, as `norm` of an experiments file has it; repeatable.",
    shell_complete=completing.norms,
)
@OVERRIDES
@DEVICE
@WORKERS
@EXECUTOR
@CHECKPOINTS
@click.option("--retry-failed", is_flag=True, help="Try trials again that failed before.")
@click.option(
    "--format",
    "form",
    type=Choice(["table", "json", "markdown", "html"]),
    default="table",
    show_default=True,
    help="For people, or for programs; html is a page.",
)
@OUTPUT
def battery(
    norms: tuple[str, ...],
    file: Path | None,
    database: str,
    data_dir: Path | None,
    seeds: str | None,
    assignments: tuple[str, ...],
    device: str,
    workers: int | None,
    executor: str,
    checkpoints: Path | None,
    retry_failed: bool,
    form: str,
    output: Path | None,
) -> None:
    """Test normalizers by the paper's claims, side by side.

    Runs the suite `battery` with each NORM in the place of batch normalization, as far as
    its trials are missing, judges the same claims by the same limits, and prints a scorecard.
    """
    from bnexp.battery import batteries, normalizers, possible, score
    from bnexp.claims.parse import parse_claims
    from bnexp.db.results import Results
    from bnexp.reports import scorecard
    from bnexp.reports.formats import render

    stop_as_by_hand()
    make_executor = partial(registry.load(registry.EXECUTORS[executor]), device, workers, data_dir)
    wanted, experiments = normalizers(norms), load_file(file)
    claims = parse_claims(experiments)
    asked = batteries(experiments, wanted, assignments, seeds, data_dir, partial(click.echo, err=True))
    with suppress(DatabaseError), stored(database) as results:
        asked = [possible(one, results) for one in asked]
    called = [f"battery of {', '.join(one.label for one in wanted)}"]
    wishes = [wish for one in asked for wish in one.wishes]
    failed = train(wishes, called, claims, make_executor, database, checkpoints, retry_failed)
    results = Results(database, checkpoints)
    card = score(results, claims, asked)
    if form == "html":
        from bnexp.reports.page.writing import write_page

        write_page(results, experiments, card, output)
    else:
        blocks = scorecard.document(card, None if form == "markdown" else scorecard.NARROW)
        render(blocks, form, output, lambda: scorecard.to_json(card))
    if failed:
        sys.exit(BnexpError.exit_code)
