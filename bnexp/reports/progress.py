"""What `bnexp run` shows while it trains: a board in a terminal, plain lines elsewhere. On standard error."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.text import Text

from bnexp.records import Tally, Working
from bnexp.reports.board import Board, Column, Space, bar, draw, said
from bnexp.reports.frame import Frame
from bnexp.reports.screen import Screen
from bnexp.text import counted

LINE_SECONDS = 60.0
"""Between two lines where there is no terminal."""
DRAW_SECONDS = 0.25
"""Between two drawings, unless the terminal has changed its size."""
COHORT_BAR = 20


class Progress:
    """The progress of one run."""

    def __init__(self, names: list[str]) -> None:
        self.names = ", ".join(names)
        self.console = Screen(stderr=True)
        self.frame = Frame(self.console)
        self.began = self.printed = time.monotonic()
        self._judged: set[int] = set()
        """The instances of which it was said what was judged."""
        self.tally: Tally | None = None
        """What trains or has trained last; None before anything."""
        self.tuning = 0
        self.told = 0
        """How many of the present tally's notes have been said."""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.frame.erase()

    def say(self, line: str) -> None:
        """Say a sentence."""
        self.frame.say(Text(line))

    def begin(self, tally: Tally, tuning: int) -> None:
        """Say what is about to happen: trials to train, of which `tuning` are for choosing levels."""
        self.tally, self.tuning, self.told = tally, tuning, 0
        self.began = self.printed = time.monotonic()
        stage = f"tuning: {counted(tuning, 'trial')}" if tuning else counted(tally.total, "trial")
        others = f", and {tally.total - tuning:,} without tuning" if tuning and tuning < tally.total else ""
        self.say(f"{self.names}: {stage} to train{others}")

    def show(self, tally: Tally) -> None:
        """Show the present state."""
        self._tell_notes(tally)
        now = time.monotonic()
        if self.frame.drawable:
            if now - self.printed >= DRAW_SECONDS or self.frame.resized:
                self.printed = now
                space = Space.of(self.console, self.frame.width, self.frame.height)
                self.frame.draw(draw(self._board(tally, space.ascii), space))
            return
        self._tell_verdicts(tally)
        if now - self.printed >= LINE_SECONDS:
            self.printed = now
            training = f", {counted(len(tally.cohorts), 'cohort')} training" if tally.cohorts else ""
            self.say(f"{self._headline(tally)}, {self._details(tally)}{training}")

    def end(self, tally: Tally) -> None:
        """Say how it ended."""
        self.frame.erase()
        self._tell_notes(tally)
        seconds = time.monotonic() - self.began
        ended = f"{tally.finished:,} finished, {tally.diverged:,} diverged"
        ended += f", {tally.failed:,} failed" if tally.failed else ""
        speed = f" ({tally.steps / max(seconds, 1e-9):,.0f} trial-steps/s, {tally.device})" if tally.steps else ""
        self.say(f"{ended} in {duration(seconds)}{speed}")
        if tally.elsewhere:
            self.say(f"{counted(tally.elsewhere, 'trial')} trained by other runs meanwhile")
        for error in dict.fromkeys(tally.errors):
            self.say(f"Failed: {error.strip()}")

    def done(self, failed: int) -> None:
        """Say what is left to say at the end of the run; `failed` counts earlier failures too."""
        if self.tally is None and not failed:
            self.say(f"{self.names}: nothing is missing")
        if failed:
            self.say(f"{counted(failed, 'trial')} failed; --retry-failed tries again")

    def interrupted(self, command: str) -> None:
        """Say that it was stopped, and how to go on."""
        self.frame.erase()
        if self.tally is None:
            self.say(f"Stopped; `{command}` again goes on.")
            return
        self._tell_notes(self.tally)
        left = self.tally.total - self.tally.ended - self.tally.elsewhere
        again = f"trains the {left:,} left" if left else "goes on"
        if saved := self.tally.saved:
            again += f", {'all' if saved == left else f'{saved:,}'} of them from the last checkpoint on"
        if self.tuning:
            again += ", and then those at the chosen levels"
        self.say(f"Stopped; {counted(self.tally.ended, 'trial')} of this run kept. `{command}` again {again}.")

    def _tell_notes(self, tally: Tally) -> None:
        for note in tally.notes[self.told :]:
            self.say(note)
        self.told = len(tally.notes)

    def _tell_verdicts(self, tally: Tally) -> None:
        for standing in tally.standings:
            if standing.verdicts and standing.number not in self._judged:
                self._judged.add(standing.number)
                self.say(said(standing))

    def _board(self, tally: Tally, ascii_only: bool) -> Board:
        share = tally.steps / tally.total_steps if tally.total_steps else 0.0
        columns = cohort_columns(tally.cohorts, ascii_only)
        return Board(share, self._headline(tally), self._details(tally), columns, tally.standings)

    def _headline(self, tally: Tally) -> str:
        return f"{tally.ended + tally.elsewhere:,} of {counted(tally.total, 'trial')}"

    def _details(self, tally: Tally) -> str:
        seconds = time.monotonic() - self.began
        rate = tally.steps / max(seconds, 1e-9)
        parts = [f"{tally.diverged:,} diverged", f"{rate:,.0f} trial-steps/s"]
        if tally.failed:
            parts.append(f"{tally.failed:,} failed")
        if tally.steps:
            left = tally.total_steps - tally.steps
            parts.append(f"{duration(left / rate)} left" if left else "all steps taken, taking the final numbers")
        return ", ".join(parts)


def cohort_columns(cohorts: Sequence[Working], ascii_only: bool) -> list[Column]:
    """What trains now, for a board."""
    shares = (cohort.step / max(1, cohort.steps) for cohort in cohorts)
    return [
        Column("cohort", [f"{cohort.cohort:,}" for cohort in cohorts]),
        Column("step", [f"{cohort.step:,}/{cohort.steps:,}" for cohort in cohorts]),
        Column("trials left", [f"{cohort.left:,}/{cohort.trials:,}" for cohort in cohorts]),
        Column("diverged", [f"{cohort.diverged:,}" for cohort in cohorts]),
        Column("", [bar(share, COHORT_BAR, ascii_only) for share in shares], right=False),
    ]


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
