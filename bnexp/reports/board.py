"""What is drawn of a run that goes on, by itself or from elsewhere: fitted to a terminal. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from bnexp.records import Standing
from bnexp.text import counted, printable

LONGEST_BAR = 40
SHORTEST_BAR = 8
BETWEEN = "  "


@dataclass(frozen=True)
class Column:
    """Of the cohorts."""

    name: str
    cells: Sequence[str]
    right: bool = True


@dataclass(frozen=True)
class Board:
    """What there is to show."""

    share: float
    """Of the trial-steps, between 0 and 1."""
    headline: str
    """How far it has come; it stands beside the bar."""
    details: str
    columns: Sequence[Column] = ()
    """A cell for each cohort; the first columns are the most important."""
    standings: Sequence[Standing] = ()


@dataclass(frozen=True)
class Space:
    """Where it is drawn, in cells and lines."""

    width: int
    height: int
    ascii: bool = False
    """Whether there are no other characters."""

    @classmethod
    def of(cls, console: Console, width: int, height: int) -> "Space":
        """So much of a console."""
        return cls(width, height, console.options.ascii_only)

    def fit(self, line: str) -> list[Text]:
        """A line as one or more that are not too long."""
        wrapped = Text(self.written(line)).wrap(Console(width=self.width), self.width)
        return [Text(part.plain.rstrip()) for part in wrapped] or [Text()]

    def written(self, text: str) -> str:
        """Text without what the terminal lacks or should not be told."""
        text = printable(text).replace("\n", " ").replace("\t", " ")
        return text.encode("ascii", "backslashreplace").decode() if self.ascii else text


def draw(board: Board, space: Space) -> list[Text]:
    """The lines of a board, no more and no longer than there is room for."""
    head = [*_bar(board, space), *space.fit(board.details)][: space.height]
    room = space.height - len(head)
    standings = [space.fit(said(standing)) for standing in by_need(board.standings)]
    cohorts = _cohorts(board.columns, space)
    for_cohorts, for_standings = sum(map(len, cohorts)), sum(map(len, standings))
    if for_cohorts + for_standings > room:
        for_standings = min(for_standings, max(room // 2, room - for_cohorts))
    return [
        *head,
        *_cut(cohorts, room - for_standings, "cohort", space),
        *_cut(standings, for_standings, "experiment", space),
    ]


def bar(share: float, width: int, ascii_only: bool) -> str:
    """A bar of so many cells."""
    full = round(min(1.0, max(0.0, share)) * width)
    done, rest = "=-" if ascii_only else "━┄"
    return done * full + rest * (width - full)


def said(standing: Standing) -> str:
    """How an instance stands, in a line. While seeds are missing it is no more than how many."""
    stage = "tuning, " if standing.stage == "tune" else ""
    line = f"{standing.name}: {stage}{standing.ended:,} of {counted(standing.seeds, 'seed')}"
    if standing.failed:
        line += f", {counted(standing.failed, 'trial')} failed"
    if standing.verdicts:
        return f"{line}; {', '.join(f'{claim} {verdict}' for claim, verdict in standing.verdicts)}"
    return f"{line}; to be judged" if standing.complete else line


def by_need(standings: Sequence[Standing]) -> Iterator[Standing]:
    """Those that have begun first, then those that are complete, then the others: of what is cut off, least is lost."""
    begun = [s for s in standings if not s.complete and s.ended]
    complete = [s for s in standings if s.complete]
    yield from (*begun, *complete, *(s for s in standings if not s.complete and not s.ended))


def _bar(board: Board, space: Space) -> Iterator[Text]:
    room = min(LONGEST_BAR, space.width - len(board.headline) - 1)
    if room < SHORTEST_BAR:
        yield from space.fit(board.headline)
        return
    yield Text.assemble((bar(board.share, room, space.ascii), "green"), " ", space.written(board.headline))


def _cohorts(columns: Sequence[Column], space: Space) -> list[list[Text]]:
    """A line for each, with those of the columns that there is room for, and above the first what they are called."""
    if not columns or not columns[0].cells:
        return []
    lines: list[list[str]] = [[] for _ in range(1 + len(columns[0].cells))]
    room = space.width + len(BETWEEN)
    for column in columns:
        cells = [column.name, *map(space.written, column.cells)]
        width = max(Text(cell).cell_len for cell in cells)
        room -= width + len(BETWEEN)
        if room < 0:
            break
        for line, cell in zip(lines, cells, strict=True):
            blank = " " * (width - Text(cell).cell_len)
            line.append(blank + cell if column.right else cell + blank)
    head, first, *others = (BETWEEN.join(line).rstrip() for line in lines)
    return [[Text(head, "bold"), Text(first)], *([Text(line)] for line in others)]


def _cut(entries: Sequence[list[Text]], room: int, thing: str, space: Space) -> list[Text]:
    """As many whole entries as there is room for, and how many more there are."""
    if sum(map(len, entries)) <= room:
        return [line for entry in entries for line in entry]
    lines: list[Text] = []
    for shown, entry in enumerate(entries):
        if len(lines) + len(entry) >= room:
            more = f"and {counted(len(entries) - shown, f'more {thing}')}"
            return [*lines, *space.fit(more)[:1]][: max(0, room)]
        lines += entry
    return lines
