"""Text from outside (files, databases, arguments), made fit for a person's terminal."""

import re

HIDDEN = "***"
LONGEST_MESSAGE = 1500

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no terminal should be told by a name: control characters but for tab and line feed, marks that reorder a line,
and halves of characters."""

_PASSWORD = re.compile(r"(\w://[^\s:/@]*:)\S*(?=@)|((?:password|passwd|pwd)(?:=|%3D))[^\s&'\"]*", re.IGNORECASE)


def counted(count: int, thing: str) -> str:
    """Such as "1 trial" and "1,000 trials"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def last_line(text: str) -> str:
    """Of an error or its traceback, what it says; empty where there is no text."""
    return text.strip().rpartition("\n")[2]


def printable(text: str) -> str:
    """The text with its control characters written out, such as \\x1b."""
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def without_passwords(text: str) -> str:
    """The text without the passwords of the URLs in it."""
    return _PASSWORD.sub(lambda found: (found[1] or found[2]) + HIDDEN, text)


def message(text: str) -> str:
    """An error's text as it may be shown: without passwords and control characters, in a line, and not endless."""
    shown = printable(without_passwords(text)).replace("\n", "\\n")
    half = LONGEST_MESSAGE // 2
    return shown if len(shown) <= LONGEST_MESSAGE else f"{shown[:half]} ... {shown[-half:]}"


def with_overrides(name: str, overrides: str) -> str:
    """An experiment instance, or a suite's, for people: its name, and with what it was run where that is other."""
    return f"{name} ({overrides})" if overrides else name
