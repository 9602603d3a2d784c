"""The command line: parse, call, print. Everything slow to import is imported where it is used."""

import gc
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import bnexp
from bnexp.errors import BnexpError
from bnexp.options import DATA_DIR, DATABASE, DEVICE, EXPERIMENTS, FILE, WORKERS, Commands

if TYPE_CHECKING:
    from bnexp.experiments import ExperimentsFile
    from bnexp.stages import Wish


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(bnexp.__version__, prog_name="bnexp")
def main() -> None:
    """Test the claims of the Batch Normalization paper (Ioffe and Szegedy, 2015) on this machine.

    \b
      bnexp run grid      train every trial of the grid that is missing
      bnexp report        what the results say of each claim
      bnexp query "select norm, seed, scored_accuracy from trial_results"
    """


def _load(file: Path | None) -> "ExperimentsFile":
    from bnexp.experiments import default_file, load

    return load(file or default_file())


def _wishes(
    file: "ExperimentsFile", names: tuple[str, ...], assignments: tuple[str, ...], seeds: str | None, data: Path | None
) -> "list[Wish]":
    """Every experiment named, as it would be run here. Says what overrides take away from it."""
    from bnexp.stages import Wish

    overrides = " ".join([*assignments, *([f"seeds={seeds}"] if seeds else [])])
    chosen = [experiment.override(assignments, seeds) for experiment in file.named(names)]
    for experiment in chosen:
        for note in experiment.notes:
            click.echo(f"{experiment.name}: {note}", err=True)
    return [Wish.of(experiment, overrides, data) for experiment in chosen]


@main.command()
@EXPERIMENTS
@DEVICE
@WORKERS
@click.option("--retry-failed", is_flag=True, help="Try trials again that failed before.")
def run(
    names: tuple[str, ...],
    file: Path | None,
    database: str,
    data_dir: Path | None,
    seeds: str | None,
    assignments: tuple[str, ...],
    device: str,
    workers: int | None,
    retry_failed: bool,
) -> None:
    """Train the trials of EXPERIMENT... that are missing.

    Where an experiment has a `tune` stage, its trials come first; then each arm's
    level is chosen, and frozen, and the others train.

    Run it again after whatever happened: what has ended stays, and only what is missing is trained.
    """
    from bnexp.claims.parse import parse_claims
    from bnexp.db.store import Store
    from bnexp.executors.local import LocalExecutor
    from bnexp.reports.progress import Progress
    from bnexp.stages import Course

    signal.signal(signal.SIGTERM, _interrupt)
    experiments = _load(file)
    claims = parse_claims(experiments)
    wishes = _wishes(experiments, names, assignments, seeds, data_dir)
    store = Store(database)
    try:
        with Progress([wish.instance.name for wish in wishes]) as progress:
            course = Course(store, wishes, lambda: LocalExecutor(device, workers, data_dir), progress)
            try:
                failed = course.go(claims, retry_failed)
            except KeyboardInterrupt:
                progress.interrupted(shlex.join(["bnexp", *sys.argv[1:]]))
                raise
    finally:
        store.close()
    progress.done(failed)
    if failed:
        sys.exit(BnexpError.exit_code)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@main.command()
@EXPERIMENTS
def plan(
    names: tuple[str, ...],
    file: Path | None,
    database: str,
    data_dir: Path | None,
    seeds: str | None,
    assignments: tuple[str, ...],
) -> None:
    """Show what `run` would do, and what is done.

    Factors, arms and their tuning, trials, cohorts, what the database has already and
    how long the rest may take.
    """
    from bnexp.claims.parse import parse_claims
    from bnexp.db.connection import exists
    from bnexp.db.results import Results
    from bnexp.executors.local import cores
    from bnexp.reports.plan import show_plan
    from bnexp.stages import outlook

    experiments = _load(file)
    claims = parse_claims(experiments)
    wishes = _wishes(experiments, names, assignments, seeds, data_dir)
    results = Results(database) if exists(database) else None
    for wish in wishes:
        show_plan(outlook(wish, results, claims), results, cores())


@main.command()
@DATABASE
def status(database: str) -> None:
    """Show what has been run: finished, diverged, failed, running."""
    from bnexp.db.results import Results
    from bnexp.reports.screens import show_status

    show_status(Results(database))


@main.command()
@click.argument("name", required=False)
@FILE
@DATABASE
@click.option("--experiment", metavar="NAME", help="The same as NAME.")
@click.option("--instance", type=int, metavar="NO", help="Which instance's, by its number in `bnexp status`.")
@click.option("--claim", metavar="ID", help="Everything about this claim: curves, rates, trials, the SQL.")
@click.option("--format", "form", type=click.Choice(["table", "json", "markdown"]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
def report(
    name: str | None,
    file: Path | None,
    database: str,
    experiment: str | None,
    instance: int | None,
    claim: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Say for each of the paper's claims what the results show.

    NAME is an experiment or a suite; without it, the report is about the experiment run last.
    """
    from bnexp.claims.evidence import gather
    from bnexp.claims.parse import parse_claims
    from bnexp.claims.report import report_on
    from bnexp.db.results import Results
    from bnexp.reports import claim as one_claim
    from bnexp.reports import data, document
    from bnexp.reports.formats import render

    experiments = _load(file)
    claims = parse_claims(experiments)
    results = Results(database)
    gc.disable()  # looking for garbage among a million rows takes a tenth of the time
    try:
        if claim is not None:
            evidence = gather(results, experiments, claims, claim, name or experiment, instance)
            render(one_claim.document(evidence), form, output, lambda: one_claim.to_json(evidence))
        else:
            reports = report_on(results, experiments, claims, name or experiment, instance)
            render(document.document(reports), form, output, lambda: data.to_json(reports))
    finally:
        gc.enable()


@main.command("claims")
@click.argument("names", metavar="[ID]...", nargs=-1)
@FILE
def list_claims(names: tuple[str, ...], file: Path | None) -> None:
    """List the claims of the experiments file, or show ID in full.

    What is quoted, how it is measured, and what was fixed beforehand to support or refute it.
    """
    from bnexp.claims.parse import parse_claims
    from bnexp.reports.claims import definitions, listing
    from bnexp.reports.formats import show as show_blocks

    claims = parse_claims(_load(file))
    show_blocks(definitions(claims, names) if names else listing(claims))


@main.command()
@click.argument("sql")
@DATABASE
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
def query(sql: str, database: str, form: str) -> None:
    """Run a reading SQL statement.

    The views are trial_results, experiment_results, learning_curves, probe_values,
    tuning_choices and claim_verdicts.
    """
    from bnexp.db.results import Results
    from bnexp.reports.screens import show_rows

    show_rows(*Results(database).query(sql), form)


@main.command()
@click.argument("trial")
@DATABASE
def show(trial: str, database: str) -> None:
    """Show everything about the trial whose key begins with TRIAL."""
    from bnexp.db.results import Results
    from bnexp.reports.screens import show_trial

    show_trial(Results(database).trial(trial))


@main.command()
@DATABASE
@DATA_DIR
@click.option("--experiment", metavar="NAME", help="Of its latest instance only.  [default: of the whole database]")
@click.option("--sample", type=click.IntRange(1), default=8, show_default=True, help="How many trials.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other trials.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=1e-6,
    show_default=True,
    help="Largest relative difference of a number that is no drift.",
)
@DEVICE
@WORKERS
def verify(
    database: str,
    data_dir: Path | None,
    experiment: str | None,
    sample: int,
    seed: int,
    tolerance: float,
    device: str,
    workers: int | None,
) -> None:
    """Train some stored trials again and compare every number.

    They are chosen at random among those that have ended. Nothing is written. Exit code 1: a trial drifted or failed.
    """
    from bnexp.comparison import WRONG
    from bnexp.db.results import Results
    from bnexp.executors.local import LocalExecutor
    from bnexp.reports.progress import Progress
    from bnexp.reports.verification import show_verification
    from bnexp.verify import Verification, choose

    signal.signal(signal.SIGTERM, _interrupt)
    work = Verification(choose(Results(database), experiment, sample, seed), data_dir)
    with Progress(["verify"]) as progress:
        if work.tally.total:
            progress.begin(work.tally, tuning=0)
        verified = work.go(lambda: LocalExecutor(device, workers or work.workers, data_dir), tolerance, progress.show)
        progress.end(work.tally)
    show_verification(verified, work.machine)
    if any(one.comparison.answer in WRONG for one in verified):
        sys.exit(BnexpError.exit_code)


@main.group(cls=Commands)
def data() -> None:
    """Datasets: what there is, and how to get the rest."""


@data.command("list")
@DATA_DIR
def list_datasets(data_dir: Path | None) -> None:
    """Show every dataset, where it was found, or how to get it."""
    from bnexp.data.dataset import sources
    from bnexp.reports.screens import show_datasets

    show_datasets(sources(data_dir))
