"""The schema: which one a database has, and the way to ours."""

import shlex
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL

from bnexp.db.url import shown
from bnexp.errors import DatabaseError

REVISION = "0007"
"""The schema that this program reads and writes."""


def revision(engine: Engine) -> str | None:
    """The schema's revision; None where there is no schema of ours."""
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        found = connection.execute(text("select version_num from alembic_version")).scalar()
        return None if found is None else str(found)


def migrate(connection: Connection) -> None:
    """Bring the schema to our revision, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def unusable(url: URL, found: str | None) -> DatabaseError:
    """What to do about a database without a schema of ours, or with that of an older or newer bnexp."""
    name = shown(url)
    if found is None or not found.isdigit():  # other programs name their revisions otherwise
        return DatabaseError(f"{name}: not a bnexp database; name another with --db")
    if found > REVISION:
        newer = f"written by a newer bnexp (schema {found}; this one reads {REVISION})"
        return DatabaseError(f"{name}: {newer}: pip install --upgrade bnexp")
    return DatabaseError(
        f"{name}: its schema is revision {found}, this bnexp reads {REVISION}; "
        f"`bnexp db upgrade --db {shlex.quote(name)}` upgrades it"
    )
