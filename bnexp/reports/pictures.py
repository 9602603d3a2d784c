"""What `bnexp data prepare` and `data check` show of the pictures that they go through: a live line in a terminal,
plain lines elsewhere, on standard error; and what has been prepared."""

import time
from pathlib import Path
from types import TracebackType

import click
from rich.live import Live
from rich.text import Text

from bnexp.data.imagefolder.index import Index
from bnexp.reports.progress import LINE_SECONDS, duration
from bnexp.reports.screen import Screen
from bnexp.text import printable


class Pictures:
    """How far it is through the pictures of a folder."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.console = Screen(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=4, transient=True)
        self.began = self.printed = time.monotonic()
        self.first: int | None = None
        """How many had been done before."""

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._say("Stopped; the same command again goes on.")

    def begin(self, folder: Path) -> None:
        """Say that it is found out what `folder` has, which may take minutes."""
        self._say(f"{self.name}: looking for pictures in {folder}")

    def show(self, done: int, total: int, left_out: int = 0) -> None:
        """Show that so many of `total` pictures are done, of which some are left out as damaged."""
        if self.first is None:
            self.first, self.began = done, time.monotonic()
            self._say(f"{self.name}: {total - done:,} pictures" + (f" left of {total:,}" if done else ""))
            if self.console.is_terminal:
                self.live.start()
        line = self._line(done, total, left_out)
        if self.console.is_terminal:
            self.live.update(Text(line))
        elif time.monotonic() - self.printed >= LINE_SECONDS:
            self.printed = time.monotonic()
            self._say(line)

    def _line(self, done: int, total: int, left_out: int) -> str:
        new = done - (self.first or 0)
        rate = new / max(time.monotonic() - self.began, 1e-9)
        parts = [f"{done:,} of {total:,} pictures"]
        if left_out:
            parts.append(f"{left_out:,} damaged")
        if new:
            parts += [f"{rate:,.0f} pictures/s", f"{duration((total - done) / rate)} left"]
        return ", ".join(parts)

    def _say(self, line: str) -> None:
        self.console.print(Text(line))


def show_prepared(name: str, index: Index) -> None:
    """What there is now, and how to use it."""
    counts = f"{index.train:,} for training and {index.test:,} for testing"
    click.echo(f"{name}: {index.pictures:,} pictures of {len(index.classes):,} classes, {counts}")
    if index.cut:
        click.echo("The folder has no test set, so a sixth of its pictures, chosen by a key, is the test set.")
    if index.left_out:
        click.echo(f"{index.left_out:,} damaged pictures were left out.")
    click.echo(printable(f"In an experiments file: dataset: {name}"))
