"""Commands about a results database as a whole: db upgrade, check, merge, delete."""

import sys

import click

from bnexp.cli.options import DATABASE, Commands
from bnexp.errors import BnexpError, UsageError


@click.group(cls=Commands)
def db() -> None:
    """Results databases: upgrade, check, merge, delete."""


@db.command()
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


@db.command()
@DATABASE
def check(database: str) -> None:
    """Look whether a database is whole; nothing is written.

    The file, the schema and its views, foreign keys, and what must be true of the rows:
    a finished trial has its numbers, one attempt ended it, and so on. Exit code 1: something is wrong.
    """
    from bnexp.db.upkeep.checking import check as make_checks
    from bnexp.reports.databases import show_checks

    if show_checks(make_checks(database)):
        sys.exit(BnexpError.exit_code)


@db.command()
@click.argument("other")
@DATABASE
def merge(other: str, database: str) -> None:
    """Join the database OTHER, a path or URL, into this one.

    Trials are joined by their keys. What has ended here stays as it is; what has ended
    only in OTHER comes along, with curves, probes and where it was trained. OTHER is
    only read. All of it is written, or nothing.
    """
    from bnexp.db.upkeep.merging import merge as join
    from bnexp.db.url import parse_url, shown
    from bnexp.reports.databases import show_merged

    show_merged(join(database, other), shown(parse_url(other)))


@db.command()
@click.argument("experiment")
@DATABASE
@click.option("--instance", type=int, metavar="NO", help="Only this one, by its number in `bnexp status`.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(experiment: str, database: str, instance: int | None, yes: bool) -> None:
    """Forget EXPERIMENT: all its instances, or one.

    Its trials go with it, unless another instance wants them, and its verdicts and
    choices. Claims stay, with the time when they were fixed.
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
