"""bnexp tests the claims of the Batch Normalization paper (Ioffe and Szegedy, 2015) and says what the data say.

From Python, `bnexp.open("bnexp.db")` reads what has been stored.
"""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnexp.db.database import Database

__all__ = ["open"]
__version__ = "0.1.0"


def open(database: "str | PathLike[str]" = "bnexp.db") -> "Database":
    """A results database, open for reading only: a path, or a URL such as postgresql://user@host/name.

        with bnexp.open("bnexp.db") as database:
            trials = database.trials(experiment="grid")
        trials["lr"], trials.to_pandas()

    `bnexp.db.database.Database` says what it gives. Raises `bnexp.errors.UsageError` where there is no such database,
    `bnexp.errors.DatabaseError` where it cannot be used."""
    from bnexp.db.database import Database  # only who reads waits for what it takes

    return Database(database)
