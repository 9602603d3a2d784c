"""What `bnexp status --watch` shows of runs that go on elsewhere, from the database alone: a board in a terminal, plain
lines elsewhere. On standard output."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from rich.text import Text

from bnexp.budget import Budget
from bnexp.db.results import Results
from bnexp.db.retrying import Patience
from bnexp.db.standings import standings
from bnexp.db.watching import Count, Held, count, held
from bnexp.records import Standing
from bnexp.reports.board import Board, Column, Space, draw, said
from bnexp.reports.frame import Frame
from bnexp.reports.progress import LINE_SECONDS, cohort_columns, duration
from bnexp.reports.screen import Screen
from bnexp.text import counted

COUNTING_SHARE = 0.01
"""Of the time at most, for counting trials; of a million it takes seconds."""
COHORTS_SHARE = 0.05
"""Of the time at most, for reading what trains now."""
SHORTEST, LONGEST = 12.0, 60.0
"""Seconds over which throughput is measured. Leases tell the steps of cohorts every ten."""
SIZE_SECONDS = 0.25
"""Between two looks at the terminal's size."""
NOBODY = "nothing trains now; `bnexp run` goes on with what is left"


class Watcher:
    """Follows what a database says, until nothing is left to run."""

    def __init__(self, results: Results, every: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """`every` so many seconds it looks, and seldomer where a look takes long."""
        self.results, self.every, self.sleep = results, every, sleep
        self.console = Screen()
        self.frame = Frame(self.console)
        self.cohorts: list[Held] = []
        self.standings: list[Standing] = []
        self._watched: set[int] = set()
        self._judged: set[int] = set()
        self._counts: deque[Count] = deque()
        self._counting, self._looking = Budget(COUNTING_SHARE), Budget(COHORTS_SHARE)
        self._ask = Patience(lambda sentence: self.frame.say(Text(sentence)))
        self._printed: float | None = None

    def go(self) -> None:
        """Show it until nothing is left to run. On an exception, Ctrl-C included, what stands on the screen stays."""
        try:
            self._look()
            while self.now.unfinished:
                self._show()
                self._wait()
                self._look()
        finally:
            self.frame.leave()
        self._say_end()

    @property
    def now(self) -> Count:
        """As it was counted last."""
        return self._counts[-1]

    def _look(self) -> None:
        """Read what there is time for. Where nothing trains any more, it is counted at once."""
        first, trained = not self._counts, bool(self.cohorts)
        if first or self._looking.allows():
            with self._looking.spending():
                self.cohorts = self._ask(partial(held, self.results))
        if first or self._counting.allows() or (trained and not self.cohorts):
            with self._counting.spending():
                self._ask(self._count)

    def _count(self) -> None:
        self._counts.append(count(self.results))
        while len(self._counts) > 2 and self.now.at - self._counts[1].at >= LONGEST:
            self._counts.popleft()
        self._watched |= self.now.unfinished
        self.standings = standings(self.results, sorted(self._watched))

    def _show(self) -> None:
        if self.frame.drawable:
            space = Space.of(self.console, self.frame.width, self.frame.height)
            self.frame.draw(draw(board(self._counts, self.cohorts, self.standings, space.ascii), space))
            self._printed = time.monotonic()
            return
        for standing in self.standings:
            if standing.verdicts and standing.number not in self._judged:
                self._judged.add(standing.number)
                self.frame.say(Text(said(standing)))
        if self._printed is None or time.monotonic() - self._printed >= LINE_SECONDS:
            shown = board(self._counts, self.cohorts, self.standings, ascii_only=True)
            training = f", {counted(len(self.cohorts), 'cohort')} training" if self.cohorts else ""
            self.frame.say(Text(f"{shown.headline}, {shown.details}{training}"))
            self._printed = time.monotonic()

    def _wait(self) -> None:
        until = time.monotonic() + self.every
        while (rest := until - time.monotonic()) > 0:
            self.sleep(min(rest, SIZE_SECONDS))
            if self.frame.resized:
                self._show()

    def _say_end(self) -> None:
        ended = ", ".join(_statuses(self.now, "finished", "diverged", "failed"))
        self.frame.say(Text(f"Nothing is left to run: {ended or 'no trials'}. `bnexp report` shows the verdicts."))


def board(
    counts: Sequence[Count], cohorts: Sequence[Held], standings: Sequence[Standing], ascii_only: bool = False
) -> Board:
    """What there is to show after these looks, the last of which is the present."""
    now = counts[-1]
    steps = now.taken + now.left
    columns = cohort_columns([one.working for one in cohorts], ascii_only)
    columns[3:3] = [
        Column("lease", [f"{one.lease:.0f} s" if one.lease > 0 else "over" for one in cohorts]),
        Column("worker", [f"{one.host} {one.process}".rstrip() for one in cohorts], right=False),
    ]
    headline = f"{now.ended:,} of {counted(now.trials, 'trial')}"
    return Board(now.taken / steps if steps else 1.0, headline, _details(counts, bool(cohorts)), columns, standings)


def pace(counts: Sequence[Count]) -> float | None:
    """Trial-steps a second between the first of these looks and the last; None where they are too close, or where
    nothing was trained."""
    first, last = counts[0], counts[-1]
    seconds, steps = last.at - first.at, last.taken - first.taken
    return steps / seconds if seconds >= SHORTEST and steps > 0 else None


def _details(counts: Sequence[Count], trains: bool) -> str:
    now, rate = counts[-1], pace(counts)
    parts = _statuses(now, "diverged", "failed", "running", "pending")
    if rate:
        parts += [f"{rate:,.0f} trial-steps/s", f"{duration(now.left / rate)} left"]
    if not trains:
        parts.append(NOBODY)
    age = time.monotonic() - now.at
    if age >= LONGEST:
        parts.append(f"counted {duration(age)} ago")
    return ", ".join(parts)


def _statuses(now: Count, *names: str) -> list[str]:
    return [f"{now.statuses[name]:,} {name}" for name in names if now.statuses.get(name)]
