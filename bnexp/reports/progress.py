"""What `bnexp run` shows while it trains: a live bar in a terminal, plain lines elsewhere. On standard error."""

import time
from types import TracebackType

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bnexp.records import Tally
from bnexp.reports.screen import Screen
from bnexp.text import counted

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""


class Progress:
    """The progress of one run."""

    def __init__(self, names: list[str]) -> None:
        self.names = ", ".join(names)
        self.console = Screen(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=4, transient=True)
        self.began = self.printed = time.monotonic()
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
        self.live.stop()

    def say(self, line: str) -> None:
        """Say a sentence."""
        self.console.print(Text(line))

    def begin(self, tally: Tally, tuning: int) -> None:
        """Say what is about to happen: trials to train, of which `tuning` are for choosing levels."""
        self.tally, self.tuning, self.told = tally, tuning, 0
        self.began = self.printed = time.monotonic()
        stage = f"tuning: {counted(tuning, 'trial')}" if tuning else counted(tally.total, "trial")
        others = f", and {tally.total - tuning:,} without tuning" if tuning and tuning < tally.total else ""
        self.say(f"{self.names}: {stage} to train{others}")
        if self.console.is_terminal:
            self.live.start()

    def show(self, tally: Tally) -> None:
        """Show the present state."""
        self._tell_notes(tally)
        if self.console.is_terminal:
            self.live.update(self._bar(tally))
        elif time.monotonic() - self.printed >= LINE_SECONDS:
            self.printed = time.monotonic()
            self.say(f"{tally.ended + tally.elsewhere:,} of {tally.total:,} trials, {self._details(tally)}")

    def end(self, tally: Tally) -> None:
        """Say how it ended."""
        self.live.stop()
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
        self.live.stop()
        if self.tally is None:
            self.say(f"Stopped; `{command}` again goes on.")
            return
        self._tell_notes(self.tally)
        left = self.tally.total - self.tally.ended - self.tally.elsewhere
        then = ", and then those at the chosen levels" if self.tuning else ""
        kept = f"{counted(self.tally.ended, 'trial')} of this run kept"
        self.say(f"Stopped; {kept}. `{command}` again trains the {left:,} left, from their last checkpoints on{then}.")

    def _tell_notes(self, tally: Tally) -> None:
        for note in tally.notes[self.told :]:
            self.say(note)
        self.told = len(tally.notes)

    def _bar(self, tally: Tally) -> Table:
        grid = Table.grid(padding=(0, 1))
        share = min(tally.steps, tally.total_steps)
        grid.add_row(
            ProgressBar(total=max(tally.total_steps, 1), completed=share, width=24),
            f"{tally.ended + tally.elsewhere:,}/{tally.total:,} trials",
        )
        grid.add_row("", Text(self._details(tally)))
        return grid

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


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
