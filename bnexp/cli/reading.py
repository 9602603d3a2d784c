"""Commands that read what is stored: status, report, claims, query, show."""

import gc
from pathlib import Path

import click

from bnexp.cli import completing
from bnexp.cli.commands import Choice, Command, Number
from bnexp.cli.options import CHECKPOINTS, DATABASE, FILE, INSTANCE, OUTPUT, load_file
from bnexp.errors import UsageError
from bnexp.stopping import stop_as_by_hand

EVERY_SECONDS = 5


@click.command(
    cls=Command,
    examples=[
        ("bnexp status", "bnexp.db, here"),
        ("bnexp status --db postgresql://me@dbhost/bnexp", "a server's"),
        ("bnexp status --watch", "follows the runs that go on"),
    ],
)
@DATABASE
@click.option("--watch", is_flag=True, help="Follow what runs, here or elsewhere, until nothing is left to run.")
@click.option(
    "--every",
    type=Number(0.1, 86_400),
    metavar="SECONDS",
    help=f"How often --watch looks; seldomer where a look takes long.  [default: {EVERY_SECONDS}]",
)
def status(database: str, watch: bool, every: float | None) -> None:
    """Show what has been run: finished, diverged, failed, running."""
    from bnexp.db.results import Results

    if every is not None and not watch:
        raise UsageError("--every: says how often --watch looks, which is not given")
    results = Results(database)
    if not watch:
        from bnexp.reports.screens import show_status

        show_status(results)
        return
    from bnexp.reports.watching import Watcher

    stop_as_by_hand()
    Watcher(results, every or EVERY_SECONDS).go()


@click.command(
    cls=Command,
    examples=[
        ("bnexp report", "the experiment run last"),
        ("bnexp report paper", "a suite, all its claims"),
        ("bnexp report --claim fewer-steps-isolated", "everything about one claim"),
        ("bnexp report grid --format markdown --output grid.md", "into a file"),
        ("bnexp report paper --format html --output report.html", "a page"),
    ],
)
@click.argument("name", required=False, shell_complete=completing.experiments)
@FILE
@DATABASE
@click.option("--experiment", metavar="NAME", help="The same as NAME.", shell_complete=completing.experiments)
@INSTANCE
@click.option(
    "--claim",
    metavar="ID",
    help="Everything about this claim: curves, rates, trials, the SQL.",
    shell_complete=completing.claims,
)
@click.option(
    "--format",
    "form",
    type=Choice(["table", "json", "markdown", "html"]),
    default="table",
    show_default=True,
    help="For people, or for programs; html is a page.",
)
@OUTPUT
@CHECKPOINTS
def report(
    name: str | None,
    file: Path | None,
    database: str,
    experiment: str | None,
    instance: int | None,
    claim: str | None,
    form: str,
    output: Path | None,
    checkpoints: Path | None,
) -> None:
    """Say for each of the paper's claims what the results show.

    NAME is an experiment or a suite; without it, the report is about the experiment run last.
    HTML is one page, with charts and the grid, that needs no network.
    """
    if claim is not None and form == "html":
        raise UsageError("a page has all claims with their evidence: leave --claim out, or choose another --format")
    gc.disable()  # looking for garbage among what is imported, and a million rows, takes a tenth of the time
    try:
        from bnexp.claims.evidence import gather
        from bnexp.claims.parse import parse_claims
        from bnexp.claims.report import report_on
        from bnexp.db.results import Results
        from bnexp.reports import claim as one_claim
        from bnexp.reports import data, document
        from bnexp.reports.formats import render

        experiments = load_file(file)
        claims = parse_claims(experiments)
        results = Results(database, checkpoints)
        if claim is not None:
            evidence = gather(results, experiments, claims, claim, name or experiment, instance)
            render(one_claim.document(evidence), form, output, lambda: one_claim.to_json(evidence))
        else:
            reports = report_on(results, experiments, claims, name or experiment, instance)
            if form == "html":
                from bnexp.reports.page.writing import write_page

                write_page(results, experiments, reports, output)
                return
            render(document.document(reports), form, output, lambda: data.to_json(reports))
    finally:
        gc.freeze()  # nor is it looked for when the process ends
        gc.enable()


@click.command(
    "claims",
    cls=Command,
    examples=[
        ("bnexp claims", "all of them, by experiment"),
        ("bnexp claims higher-learning-rates", "what would support or refute it"),
    ],
)
@click.argument("names", metavar="[ID]...", nargs=-1, shell_complete=completing.claims)
@FILE
def list_claims(names: tuple[str, ...], file: Path | None) -> None:
    """List the claims of the experiments file, or show ID in full.

    What is quoted, how it is measured, and what was fixed beforehand to support or refute it.
    """
    from bnexp.claims.parse import parse_claims
    from bnexp.reports.claims import definitions, listing
    from bnexp.reports.formats import show as show_blocks

    claims = parse_claims(load_file(file))
    show_blocks(definitions(claims, names) if names else listing(claims))


@click.command(
    cls=Command,
    examples=[
        ('bnexp query "select norm, avg(scored_accuracy) from trial_results group by 1"', "a table"),
        ('bnexp query "select * from learning_curves" --format csv', "every curve, for other programs"),
    ],
)
@click.argument("sql")
@DATABASE
@click.option(
    "--format",
    "form",
    type=Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
@click.option(
    "--timeout",
    type=Number(0, 1_000_000, min_open=True),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long the database may take.",
)
def query(sql: str, database: str, form: str, timeout: float) -> None:
    """Run one SQL statement that reads; others are refused.

    The views are trial_results, experiment_results, learning_curves, probe_values,
    tuning_choices, kept_files and claim_verdicts.
    """
    from bnexp.db.results import Results
    from bnexp.reports.screens import show_rows

    with Results(database).query(sql, timeout) as answer:
        show_rows(answer, form)


@click.command(
    cls=Command,
    examples=[
        ("bnexp show 3fa81b", "the trial whose key begins so"),
        ("bnexp show 3fa81b --db other.db", "in another database"),
    ],
)
@click.argument("trial", shell_complete=completing.trials)
@DATABASE
@CHECKPOINTS
def show(trial: str, database: str, checkpoints: Path | None) -> None:
    """Show everything about the trial whose key begins with TRIAL."""
    from bnexp.db.results import Results
    from bnexp.reports.screens import show_trial

    show_trial(Results(database, checkpoints).trial(trial))
