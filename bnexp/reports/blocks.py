"""What a report is made of, before it is a terminal's text or Markdown."""

from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["plain", "strong", "faint", "aside", "supported", "refuted", "inconclusive", "not tested"]


@dataclass(frozen=True)
class Heading:
    """Where something new begins; a section of the report unless told."""

    text: str
    level: Literal[1, 2] = 2


@dataclass(frozen=True)
class Line:
    """A paragraph."""

    text: str
    tone: Tone = "plain"
    lead: str = ""
    """Its first words, in the tone; the rest is plain."""


@dataclass(frozen=True)
class Quote:
    """What somebody says."""

    text: str


@dataclass(frozen=True)
class Code:
    """To be copied as it stands."""

    text: str
    language: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a grid."""

    cells: list[str]
    tone: Tone = "plain"
    """Of the last cell."""
    under: str = ""
    """What stands on a line of its own below it in a terminal, and in the second column elsewhere."""
    of: str = ""
    """What the number in its second cell is of, where the row is about several: in a terminal on a line of its own,
    elsewhere in front of the number."""


@dataclass(frozen=True)
class Grid:
    """A table."""

    columns: list[str]
    rows: list[Row]
    right: tuple[int, ...] = ()
    """The columns of numbers."""
    title: str = ""
    under: str = ""
    """What the text under its rows is; empty where there is none."""
    notes: list[str] = field(default_factory=list)
    verdicts: bool = False
    """Whether there are verdicts in its cells, which have their tones."""


@dataclass(frozen=True)
class Gap:
    """An empty line in a terminal, where one thought ends; paragraphs of Markdown stand apart anyway."""


Block = Heading | Line | Quote | Code | Grid | Gap
