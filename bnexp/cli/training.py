"""Commands that train, or would: run, plan, verify."""

import gc
import shlex
import sys
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnexp import registry
from bnexp.cli import completing
from bnexp.cli.commands import Command, Number
from bnexp.cli.options import CHECKPOINTS, DATA_DIR, DATABASE, DEVICE, EXECUTOR, EXPERIMENTS, WORKERS, load_file
from bnexp.errors import BnexpError, DatabaseError
from bnexp.stopping import stop_as_by_hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bnexp.claims.model import Claim
    from bnexp.db.results import Results
    from bnexp.executors import Executor
    from bnexp.experiments import ExperimentsFile
    from bnexp.stages import Wish


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
    gc.disable()  # of a million trials nothing is garbage, and looking takes longer than making them
    try:
        return [Wish.of(experiment, overrides, data) for experiment in chosen]
    finally:
        gc.freeze()
        gc.enable()


def _refuse_impossible(wishes: "list[Wish]", database: str) -> None:
    """Before the database is made. What one has that cannot be read, since it is older, may have been run before: it is
    not looked at, and what cannot train fails in its turn."""
    from bnexp.stages import refuse_impossible

    with suppress(DatabaseError), stored(database) as results:
        refuse_impossible(wishes, results)


@contextmanager
def stored(database: str) -> "Iterator[Results | None]":
    """What is stored so far; None where nothing is. Raises DatabaseError where that cannot be read."""
    from bnexp.db.results import Results
    from bnexp.db.url import exists

    results = Results(database) if exists(database) else None
    try:
        yield results
    finally:
        if results is not None:
            results.close()


@click.command(
    cls=Command,
    examples=[
        ("bnexp run grid", "some minutes on two cores"),
        ("bnexp run paper --db paper.db", "a suite, into a database of its own"),
        ("bnexp run grid --seeds 20", "twice the seeds; what has ended stays"),
        ("bnexp run grid --set dataset=fashion-mnist --set model.hidden=2x100", "an instance with other fields"),
    ],
)
@EXPERIMENTS
@DEVICE
@WORKERS
@EXECUTOR
@CHECKPOINTS
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
    executor: str,
    checkpoints: Path | None,
    retry_failed: bool,
) -> None:
    """Train the trials of EXPERIMENT... that are missing.

    Where an experiment has a `tune` stage, its trials come first; then each arm's
    level is chosen, and frozen, and the others train.

    Run it again after whatever happened: what has ended stays, and only what is missing is trained.
    """
    from bnexp.claims.parse import parse_claims

    stop_as_by_hand()
    make_executor = partial(registry.load(registry.EXECUTORS[executor]), device, workers, data_dir)
    experiments = load_file(file)
    claims = parse_claims(experiments)
    wishes = _wishes(experiments, names, assignments, seeds, data_dir)
    _refuse_impossible(wishes, database)
    called = [wish.instance.name for wish in wishes]
    if train(wishes, called, claims, make_executor, database, checkpoints, retry_failed):
        sys.exit(BnexpError.exit_code)


def train(
    wishes: "Sequence[Wish]",
    called: list[str],
    claims: "Mapping[str, Claim]",
    make_executor: "Callable[[], Executor]",
    database: str,
    checkpoints: Path | None,
    retry_failed: bool,
) -> int:
    """Train what is missing of `wishes`, which messages call so, and judge them; the number of trials that failed.
    Raises UsageError, before the database is made, where they could not be judged."""
    from bnexp.artifacts import folder_for
    from bnexp.db.store import Store
    from bnexp.reports.progress import Progress
    from bnexp.stages import Course, refuse_unjudgeable
    from bnexp.text import without_passwords

    refuse_unjudgeable(wishes, claims)
    store = Store(database, say=partial(click.echo, err=True))
    try:
        with Progress(called) as progress:
            course = Course(store, wishes, make_executor, folder_for(database, checkpoints), progress)
            try:
                failed = course.go(claims, retry_failed)
            except KeyboardInterrupt:
                again = map(without_passwords, sys.argv[1:])
                progress.interrupted(shlex.join(["bnexp", *again]))
                raise
    finally:
        store.close()
    progress.done(failed)
    return failed


@click.command(
    cls=Command,
    examples=[
        ("bnexp plan grid", "what is done, what is left"),
        ("bnexp plan steps --seeds 20 --set steps=500", "with what would be other"),
    ],
)
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
    from bnexp.db.results import Results
    from bnexp.db.url import exists
    from bnexp.executors.local import cores
    from bnexp.reports.plan import show_plan
    from bnexp.stages import outlook

    experiments = load_file(file)
    claims = parse_claims(experiments)
    wishes = _wishes(experiments, names, assignments, seeds, data_dir)
    results = Results(database) if exists(database) else None
    for wish in wishes:
        show_plan(outlook(wish, results, claims), results, cores())


@click.command(
    cls=Command,
    examples=[
        ("bnexp verify", "8 trials of the whole database"),
        ("bnexp verify --experiment grid --sample 20 --seed 1", "20 others, of one experiment"),
    ],
)
@DATABASE
@DATA_DIR
@click.option(
    "--experiment",
    metavar="NAME",
    help="Of its latest instance only.  [default: of the whole database]",
    shell_complete=completing.instances,
)
@click.option("--sample", type=click.IntRange(1), metavar="N", default=8, show_default=True, help="How many trials.")
@click.option("--seed", type=int, metavar="NUMBER", default=0, show_default=True, help="Another seed, other trials.")
@click.option(
    "--tolerance",
    type=Number(0, 1),
    metavar="SHARE",
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

    stop_as_by_hand()
    work = Verification(choose(Results(database), experiment, sample, seed), data_dir)
    with Progress(["verify"]) as progress:
        if work.tally.total:
            progress.begin(work.tally, tuning=0)
        verified = work.go(lambda: LocalExecutor(device, workers or work.workers, data_dir), tolerance, progress.show)
        progress.end(work.tally)
    show_verification(verified, work.machine)
    if any(one.comparison.answer in WRONG for one in verified):
        sys.exit(BnexpError.exit_code)
