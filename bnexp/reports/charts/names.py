"""Text in charts: names from files and databases as text only, and lines that fit a figure's width."""

import re
import textwrap
from collections.abc import Iterable

from bnexp.text import printable

LONGEST = 60
"""Characters of a name; tooltips would else cover the chart."""
LINE = 100
"""Characters of a line of a subtitle."""
TITLE = 76
"""Characters of a line of a title."""
_IN_NO_XML = re.compile("[\ufffe\uffff]")


def label(name: str, longest: int = LONGEST) -> str:
    """A name as it stands in a chart: one line, without control characters, and not endless. It is cut in its middle,
    where words end, since the numbers that tell arms apart stand at the end, and half a number is another."""
    shown = _IN_NO_XML.sub("?", printable(" ".join(str(name).split())))
    if len(shown) <= longest:
        return shown
    room = longest // 3
    head, tail = shown[:room], shown[room + 1 - longest :]
    return f"{head.rpartition(' ')[0] or head}…{tail.partition(' ')[2] or tail}"


def labels(names: Iterable[str]) -> dict[str, str]:
    """A label for each name; names that would have the same one are numbered."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        shown, number = label(name), 2
        while shown in found.values():
            shown, number = f"{label(name, LONGEST - 6)} ({number})", number + 1
        found[name] = shown
    return found


def titled(title: str, *sentences: str) -> dict[str, object]:
    """A title and, below it, sentences broken into lines, as Altair's title has them."""
    words = " ".join(label(each, 1000) for each in sentences if each)
    return {"text": _lines(label(title, 300), TITLE), "subtitle": _lines(words, LINE)}


def _lines(text: str, longest: int) -> list[str]:
    """Text in lines; a name with a hyphen in it is not broken there."""
    return textwrap.wrap(text, longest, break_on_hyphens=False)
