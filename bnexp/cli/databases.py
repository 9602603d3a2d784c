"""Commands about a results database as a whole: db upgrade, check, merge, delete, prune."""

import sys
from pathlib import Path

import click

from bnexp.cli import completing
from bnexp.cli.commands import Commands
from bnexp.cli.options import CHECKPOINTS, DATABASE
from bnexp.errors import BnexpError, UsageError


@click.group(
    cls=Commands,
    examples=[
        ("bnexp db check", "is everything in bnexp.db as it must be?"),
        ("bnexp db merge other.db", "joins what two machines trained"),
    ],
)
def db() -> None:
    """Results databases: upgrade, check, merge, delete, prune."""


@db.command(
    examples=[
        ("bnexp db upgrade", "bnexp.db, here"),
        ("bnexp db upgrade --db old.db", "another file"),
    ],
)
@DATABASE
def upgrade(database: str) -> None:
    """Bring a database that an older bnexp wrote to this one's schema.

    Nothing is lost. Reading and merging ask for it; `bnexp run` does it by itself.
    """
    from bnexp.db.connection import upgrade as bring_up
    from bnexp.db.schema import REVISION
    from bnexp.db.url import parse_url

    found = bring_up(parse_url(database))
    click.echo(
        f"nothing to do: the schema is revision {REVISION}, which this bnexp reads"
        if found == REVISION
        else f"upgraded from revision {found} to {REVISION}"
    )


@db.command(
    examples=[
        ("bnexp db check", "bnexp.db, here"),
        ("bnexp db check --db postgresql://me@dbhost/bnexp", "a server's"),
    ],
)
@DATABASE
@CHECKPOINTS
def check(database: str, checkpoints: Path | None) -> None:
    """Look whether a database is whole; nothing is written.

    The file, the schema and its views, foreign keys, and what must be true of the rows:
    a finished trial has its numbers, one attempt ended it, and so on. Kept files must be
    there, and be what their hashes say. Exit code 1: something is wrong.
    """
    from bnexp.db.upkeep.checking import check as make_checks
    from bnexp.reports.databases import show_checks

    if show_checks(make_checks(database, checkpoints)):
        sys.exit(BnexpError.exit_code)


@db.command(
    examples=[
        ("bnexp db merge other.db", "what another machine has trained"),
        ("bnexp db merge bnexp.db --db postgresql://me@dbhost/bnexp", "a file into a server"),
    ],
)
@click.argument("other")
@DATABASE
@CHECKPOINTS
def merge(other: str, database: str, checkpoints: Path | None) -> None:
    """Join the database OTHER, a path or URL, into this one.

    Trials are joined by their keys. What has ended here stays as it is; what has ended
    only in OTHER comes along, with curves, probes, kept files and where it was trained.
    OTHER is only read. All of it is written, or nothing.
    """
    from bnexp.db.upkeep.merging import merge as join
    from bnexp.db.url import parse_url, shown
    from bnexp.reports.databases import show_merged

    show_merged(join(database, other, checkpoints), shown(parse_url(other)))


@db.command(
    examples=[
        ("bnexp db delete grid", "all instances of grid; asks first"),
        ("bnexp db delete grid --instance 3 --yes", "one of them, without asking"),
    ],
)
@click.argument("experiment", shell_complete=completing.instances)
@DATABASE
@click.option("--instance", type=int, metavar="NO", help="Only this one, by its number in `bnexp status`.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(experiment: str, database: str, instance: int | None, yes: bool) -> None:
    """Forget EXPERIMENT: all its instances, or one.

    Its trials go with it, unless another instance wants them, and its verdicts and
    choices. Claims stay, with the time when they were fixed. `bnexp db prune` reclaims
    the files that were kept of the trials.
    """
    from bnexp.db.upkeep.deleting import foresee, forget, instances_of
    from bnexp.reports.databases import show_forgotten

    instances = instances_of(database, experiment, instance)
    if not yes:
        show_forgotten(foresee(database, instances), done=False)
        if not sys.stdin.isatty():
            raise UsageError("nothing was deleted: there is no terminal to ask on; --yes deletes without asking")
        click.confirm("Delete this?", abort=True, err=True)
    show_forgotten(forget(database, instances), done=True)


@db.command(
    examples=[
        ("bnexp db prune", "says what would go, and asks"),
        ("bnexp db prune --yes", "does not ask"),
    ],
)
@DATABASE
@CHECKPOINTS
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(database: str, checkpoints: Path | None, yes: bool) -> None:
    """Remove the kept files of which no trial knows.

    Runs that crashed leave them, and trials that were deleted. What a worker may be about
    to store stays.
    """
    from bnexp.db.upkeep.pruning import foresee
    from bnexp.db.upkeep.pruning import prune as remove
    from bnexp.reports.databases import show_pruned

    if not yes:
        found = foresee(database, checkpoints)
        show_pruned(found, done=False)
        if not found.files:
            return
        if not sys.stdin.isatty():
            raise UsageError("nothing was removed: there is no terminal to ask on; --yes removes without asking")
        click.confirm("Remove them?", abort=True, err=True)
    show_pruned(remove(database, checkpoints), done=True)
