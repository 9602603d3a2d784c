"""Blocks as Markdown."""

import re
from collections.abc import Iterable

from bnexp.reports.blocks import Block, Code, Gap, Grid, Heading, Line, Quote, Row
from bnexp.text import printable

ANSWERS = ("supported", "refuted", "inconclusive", "not tested")


def render(blocks: Iterable[Block], level: int = 1) -> str:
    """The same as in the terminal, as Markdown; its first heading is of this level."""
    text = "\n\n".join(_block(block, level) for block in blocks if not isinstance(block, Gap)) + "\n"
    return printable(text)


def _block(block: Heading | Line | Quote | Code | Grid, level: int) -> str:
    match block:
        case Heading(text, depth):
            return f"{'#' * (level + depth - 1)} {plain(text)}"
        case Line(text, tone, lead):
            if lead:
                return f"**{plain(lead.strip())}** {plain(text)}"
            mark = {"strong": "**", "aside": "*"}.get(tone, "")
            return f"{mark}{plain(text)}{mark}" if mark else _paragraph(text)
        case Quote(text):
            return f"> {plain(text)}"
        case Code(text, language):
            longest = max(map(len, re.findall("`+", text)), default=0)
            fence = "`" * max(3, longest + 1)  # that nothing in the text ends it
            return f"{fence}{language}\n{text}\n{fence}"
        case Grid():
            parts = [f"{plain(block.title)}:"] if block.title else []
            return "\n\n".join([*parts, _table(block), *map(plain, block.notes)])


def plain(text: str) -> str:
    """Text that Markdown leaves alone, but for what stands in backticks."""
    parts = re.split(r"(`[^`\n]+`)", text)
    return "".join(part if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _paragraph(text: str) -> str:
    """Text that begins no list, rule or block of code by its first characters."""
    return re.sub(r"^\s*(\d*)(?=[-+=~.)])", r"\1\\", plain(text)).strip()


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#&" else " " if char == "\n" else char for char in text)


def _table(grid: Grid) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def cells(row: Row) -> list[str]:
        first, second, *others = row.cells if row.of else ["", "", *row.cells]
        shown = [_cell(cell) for cell in ([first, f"{row.of}: {second}"] if row.of else []) + others]
        if row.tone in ANSWERS:
            shown[-1] = f"**{shown[-1]}**"
        return [shown[0], _cell(row.under), *shown[1:]] if grid.under else shown

    names = [grid.columns[0], *([grid.under] if grid.under else []), *grid.columns[1:]]
    right = {number + bool(grid.under and number) for number in grid.right}
    rule = ["---:" if number in right else "---" for number in range(len(names))]
    return "\n".join([line(map(_cell, names)), line(rule), *(line(cells(row)) for row in grid.rows)])


def _cell(text: str) -> str:
    """A cell has no line breaks, and needs no escapes for brackets unless they would make a link. A bar ends it even
    inside backticks."""
    shown = re.sub(r"(?<!\\)\|", r"\\|", plain(text))
    return shown if re.search(r"\](\(|\\?\[)", shown) else shown.replace("\\[", "[").replace("\\]", "]")
