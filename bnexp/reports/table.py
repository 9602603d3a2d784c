"""Blocks in a terminal. Text from files never is markup, and no number is broken in two."""

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from bnexp.reports.blocks import Block, Code, Gap, Grid, Heading, Line, Quote, Row, Tone

STYLES: dict[Tone, str] = {
    "plain": "",
    "strong": "bold",
    "faint": "dim",
    "aside": "italic",
    "supported": "green",
    "refuted": "red",
    "inconclusive": "yellow",
    "not tested": "dim",
}
VERDICTS: tuple[Tone, ...] = ("supported", "refuted", "inconclusive", "not tested")
BETWEEN = 2
"""Between columns."""
NARROWEST = 12
"""A column's heading is not broken into shorter lines, unless its words are."""


def render(blocks: Iterable[Block], console: Console) -> None:
    """Print blocks as wide as the console is."""
    before: Block | None = None
    for block in blocks:
        if _apart(before, block):
            console.print()
        _print(block, console)
        before = block


def _apart(before: Block | None, block: Block) -> bool:
    """Whether an empty line belongs between two blocks."""
    if before is None or isinstance(before, Gap) or isinstance(block, Gap):
        return False
    if isinstance(before, Heading) and before.level > 1:
        return False
    return isinstance(block, Grid | Heading) or isinstance(before, Grid)


def _print(block: Block, console: Console) -> None:
    match block:
        case Heading(text, level):
            console.print(Rule(Text(text, "bold"), align="left") if level > 1 else Text(text, "bold"))
        case Line(text, tone, lead):
            style = STYLES[tone]
            _paragraph(Text.assemble((lead, style), text) if lead else Text(text, style), console)
        case Quote(words):
            _paragraph(Text(words), console)
        case Code(source):
            for line in source.splitlines():
                console.print(Text(f"  {line}"), soft_wrap=True)  # whoever copies it wants its own line ends
        case Gap():
            console.print()
        case Grid():
            for row in _grid(block, console):
                console.print(row, soft_wrap=True)


def _grid(grid: Grid, console: Console) -> Iterator[Text]:
    yield from _wrapped(Text(grid.title, "dim"), console)
    yield from _two_lines(grid, console.width) if grid.under else _table(grid, console.width)
    for note in grid.notes:
        yield from _wrapped(Text(note, "dim"), console)


def _paragraph(text: Text, console: Console) -> None:
    for line in _wrapped(text, console):
        console.print(line, soft_wrap=True)


def _wrapped(text: Text, console: Console) -> list[Text]:
    """Lines no wider than the console, without spaces at their ends. What stands in brackets stays together, if it
    can, and signs with their numbers."""
    if not text.plain:
        return []
    characters, inside = list(text.plain), False
    for index, char in enumerate(characters):
        inside = (inside or char == "[") and char != "]"
        beside = text.plain[index - 1 : index + 2] if index else ""
        if char == " " and (inside or any(sign in beside for sign in GLUED)):
            characters[index] = GLUE
    glued = text.copy()
    glued.plain = "".join(characters)
    lines = [*glued.wrap(console, console.width)]
    for line in lines:
        line.rstrip()
        line.plain = line.plain.replace(GLUE, " ")
    return lines


GLUED = "=≥≤"
GLUE = "\ue000"
"""Stands for a space at which no line ends: a private character, since rich breaks lines at all kinds of space."""


def _two_lines(grid: Grid, width: int) -> Iterator[Text]:
    """Rows with text on lines of its own below each. A name that is too long for its column has a line to itself."""
    lines = [grid.columns, *(row.cells for row in grid.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[0] = min(widths[0], max(8, width - sum(widths[1:]) - BETWEEN * (len(widths) - 1)))
    yield Text(_aligned(grid.columns, widths, grid.right), "dim")
    for row in grid.rows:
        cells = row.cells
        if len(cells[0]) > widths[0]:
            yield Text(cells[0], "bold")
            cells = ["", *cells[1:]]
        yield _styled(_aligned(cells, widths, grid.right), row, cells)
        of = f"{grid.columns[1]}: {row.of}\n" if row.of else ""
        for part in f"{of}{row.under}".splitlines():
            yield from (Text(f"  {line}", "dim") for line in textwrap.wrap(part, width - 2))


def _aligned(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    placed = [
        f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return (" " * BETWEEN).join(placed).rstrip()


def _styled(line: str, row: Row, cells: Sequence[str]) -> Text:
    text = Text(line)
    text.stylize("bold", 0, len(cells[0]))
    if row.tone != "plain":
        text.stylize(STYLES[row.tone], len(line) - len(cells[-1]), len(line))
    return text


def _table(grid: Grid, width: int) -> Iterator[Text]:
    """A table as wide as it needs to be. Where that is too wide, intervals go under their numbers, and names wrap."""
    rows = [row.cells for row in grid.rows]
    if sum(_widths(grid, rows)) > width - BETWEEN * (len(grid.columns) - 1):
        rows = [[cell.replace(" [", "\n[") for cell in row] for row in rows]
    widths = _widths(grid, rows)
    room = width - BETWEEN * (len(widths) - 1) - sum(widths[column] for column in grid.right)
    left = [column for column in range(len(widths)) if column not in grid.right]
    if sum(widths[column] for column in left) > room:
        for column in left:
            widths[column] = min(widths[column], max(4, room // len(left)))
    headings = [textwrap.wrap(name, own) or [""] for name, own in zip(grid.columns, widths, strict=True)]
    tallest = max(map(len, headings))
    for line in zip(*([""] * (tallest - len(heading)) + heading for heading in headings), strict=True):
        yield Text(_aligned(line, widths, grid.right))
    yield Text("─" * min(width, sum(widths) + BETWEEN * (len(widths) - 1)))
    for row in rows:
        cells = [
            cell.split("\n") if column in grid.right else textwrap.wrap(cell, widths[column]) or [""]
            for column, cell in enumerate(row)
        ]
        for line in itertools.zip_longest(*cells, fillvalue=""):
            text = Text(_aligned(line, widths, grid.right))
            for verdict in VERDICTS if grid.verdicts else ():
                text.highlight_words([verdict], STYLES[verdict])
            yield text


def _widths(grid: Grid, rows: Sequence[Sequence[str]]) -> list[int]:
    """Of the columns: of the longest cell, and of the heading where it is narrow."""
    widths = []
    for column, name in enumerate(grid.columns):
        cells = [len(line) for row in rows for line in row[column].split("\n")]
        words = max(map(len, name.split()), default=0)
        widths.append(max([*cells, words, min(len(name), NARROWEST)]))
    return widths
