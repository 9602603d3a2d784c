"""A server that does not answer for a while: which errors pass by themselves, and how what met one is tried again.

A file of SQLite has none of this: whoever holds its lock is waited for in `bnexp.db.connection`.
"""

import random
import sqlite3
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

from bnexp.errors import DatabaseError

RETRY_SECONDS = 300.0
"""How long a server that does not answer is asked again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two tries; each pause is twice the one before."""

COLLISIONS = {"40001", "40P01"}
"""PostgreSQL's codes for a transaction that it has undone for the sake of another: a deadlock, say."""
UNREADY = {"53300", "57P03", "55P03"}
"""It has no connection left, or is about to start or to stop; or somebody holds a lock for too long."""
UNREADY_WORDS = ("the database system is", "too many clients", "too many connections", "remaining connection slots")
"""A connection that is refused has no code."""
LOST = ("08", "57P01", "57P02", "57P05", "25P03")
"""Codes that begin so: of a connection, and of a server that ends it."""

Trouble = Literal["collided", "unready", "lost"]
T = TypeVar("T")
P = ParamSpec("P")


class PassingError(DatabaseError):
    """What was tried may succeed when it is tried again. A transaction that met it left no trace, unless the
    connection was lost while it was being committed: then nobody knows."""

    def __init__(self, message: str, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(message)


def trouble(error: Exception) -> Trouble | None:
    """What an error of the database library says of the server, if it is anything that passes."""
    if not isinstance(error, DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return None
    code, said = getattr(error.orig, "sqlstate", None) or "", str(error.orig)
    if code in COLLISIONS:
        return "collided"
    if code in UNREADY or (not code and any(words in said for words in UNREADY_WORDS)):
        return "unready"
    connecting = isinstance(error, OperationalError) and error.statement is None and not code
    return "lost" if error.connection_invalidated or connecting or code.startswith(LOST) else None


class Patience:
    """Tries things again, and tells a person so once each time that the server is away."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` is called with a sentence."""
        self.say = say
        self.seconds, self.once = RETRY_SECONDS, False

    def hurry(self, seconds: float) -> None:
        """From now on, try things once; only what others were just faster with is tried again, for so long."""
        self.seconds, self.once = seconds, True

    def __call__(self, work: Callable[[], T], *, opening: bool = False) -> T:
        """What `work` gives, which is called again when it has raised PassingError. When `opening`, a server that
        nobody has reached yet is not waited for, unless it answers that it is not ready: its name may be wrong.

        Raises DatabaseError where that has lasted too long."""
        began, pause, told = 0.0, FIRST_PAUSE, False
        while True:
            try:
                return work()
            except PassingError as error:
                if (opening and error.trouble == "lost") or (self.once and error.trouble != "collided"):
                    raise
                began = began or time.monotonic()
                if time.monotonic() + pause > began + self.seconds:
                    raise DatabaseError(f"{error}; gave up after {self.seconds:.0f} s; run again to go on") from error
                if error.trouble != "collided" and not told:
                    told = True
                    self.say(f"the database does not answer; trying again for {_duration(self.seconds)} ({error})")
            time.sleep(pause * random.uniform(0.5, 1))  # many runs lose their server at one moment
            pause = min(2 * pause, LONGEST_PAUSE)


class Patient(Protocol):
    """Whoever has patience."""

    patience: Patience


S = TypeVar("S", bound=Patient)


def repeated(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """A method of one transaction, that is made again where it was lost."""

    @wraps(method)
    def again(self: S, /, *arguments: P.args, **named: P.kwargs) -> T:
        return self.patience(partial(method, self, *arguments, **named))

    return again


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
