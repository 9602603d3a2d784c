"""Trial keys near one that was mistyped."""

from sqlalchemy import Connection, text

MOST = 4
"""Keys that are named."""
SHOWN = 12
"""Digits of a key that are shown, as in reports."""
ALL = 64
"""Digits of a key."""


def nearest_keys(connection: Connection, prefix: str) -> str:
    """The end of a sentence about a `prefix` that is not one trial's: keys that share most first digits with it."""
    asked = text("select key from trials where key >= :first and key < :past order by key limit :most")
    for length in range(min(len(prefix), ALL), 0, -1):
        first = prefix[:length].lower()
        keys = connection.execute(asked, {"first": first, "past": f"{first}g", "most": MOST + 1}).scalars().all()
        if keys:
            near = ", ".join(key[: max(SHOWN, length + 1)] for key in keys[:MOST])
            more = " and more" if len(keys) > MOST else ""
            return f"there are {near}{more}" if first == prefix else f"did you mean {near}{more}?"
    return "keys are in the column trial_key of trial_results"
