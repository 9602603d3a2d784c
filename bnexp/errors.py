"""Errors that a user can act on. Each is a name and a sentence; the command line prints the sentence.

BnexpError                 exit code 1: something failed while doing what was asked
├── UsageError             exit code 2: what was asked cannot be done
│   └── ConfigurationError   a value in an experiments file or after --set is wrong; knows its place
├── DatasetError           a dataset is missing or damaged
└── DatabaseError          a database cannot be opened, read or written
    └── MissingFileError     a file that a database names is gone or damaged

What cannot happen is asserted, not raised.
"""

import difflib
from collections.abc import Iterable

MOST_NAMES = 100
"""That an error lists."""


class BnexpError(Exception):
    """Something failed while doing what was asked."""

    exit_code = 1


class UsageError(BnexpError):
    """What was asked cannot be done as asked."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A configured value is wrong. `place` is "file:line:column", where one is known."""

    def __init__(self, message: str, place: str | None = None) -> None:
        self.place = place
        super().__init__(f"{place}: {message}" if place else message)


class DatasetError(BnexpError):
    """A dataset is missing or damaged."""


class DatabaseError(BnexpError):
    """A database cannot be opened, read or written."""


class MissingFileError(DatabaseError):
    """A file that a database names is gone or damaged, or none was kept."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """What was meant by an unknown `name`, as far as that can be guessed: dotted names that end with it, else the one
    that is most alike."""
    names = sorted(known)
    ending = [each for each in names if each.endswith(f".{name}")]
    return ending or difflib.get_close_matches(name[:MOST_NAMES], names[:1000], n=1, cutoff=0.5)


def did_you_mean(name: str, known: Iterable[str], also: Iterable[str] = ()) -> str:
    """The end of a sentence about an unknown `name`: what is known, and the nearest of it and of what is `also` known,
    but too much to be listed."""
    names = sorted(known)
    near = nearest(name, {*names, *also})
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"known: {', '.join(names[:MOST_NAMES])}{more}{hint}"
