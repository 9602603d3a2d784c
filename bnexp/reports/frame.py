"""Lines at the bottom of a terminal that are drawn over and over, while what is said goes above them.

The cursor is never hidden, and no mode of the terminal stays changed between two writes, so there is nothing to undo,
whatever ends the process. Where there is no terminal, or one that cannot move its cursor, nothing is drawn.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text


class Frame:
    """What is drawn in one place of a console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        terminal = console.file.isatty() and not console.is_dumb_terminal and not console.legacy_windows
        self.drawable = terminal
        """Whether it can be drawn; if not, `draw` does nothing."""
        self._widths: list[int] = []
        """Of the lines that stand there, in cells; the cursor is behind the last."""
        self._size = console.size

    @property
    def width(self) -> int:
        """Cells of a line; the last one of the terminal stays free, since some go on below when it is written."""
        return max(1, self.console.width - 1)

    @property
    def height(self) -> int:
        """Lines that there is room for."""
        return max(1, self.console.height - 1)

    @property
    def resized(self) -> bool:
        """Whether the terminal has another size than when it was last drawn."""
        return bool(self._widths) and self.console.size != self._size

    def draw(self, lines: Sequence[Text]) -> None:
        """Draw these lines, of at most `width`, in place of those that stand there."""
        if not self.drawable:
            return
        with self.console.capture() as drawn:
            for line in lines:
                self.console.print(line, no_wrap=True, overflow="crop", crop=True)
        top, self._widths, self._size = self._top(), [line.cell_len for line in lines], self.console.size
        # A terminal may be narrower already than it says, and must break no line then: each is a row.
        rows = "\n".join(f"\x1b[K{line}" for line in drawn.get().splitlines())
        self._write(f"\x1b[?7l{top}{rows}\x1b[J\x1b[?7h")

    def say(self, line: Text) -> None:
        """Print something that stays, above what is drawn the next time; into a file or a pipe, as one line."""
        self.erase()
        self.console.print(line, soft_wrap=not self.drawable)

    def erase(self) -> None:
        """Leave nothing of what is drawn."""
        if self._widths:
            top, self._widths = self._top(), []
            self._write(f"{top}\x1b[J")

    def leave(self) -> None:
        """Let what is drawn stand, and go on below it."""
        if self._widths:
            self._widths = []
            self._write("\n")

    def _top(self) -> str:
        """What brings the cursor to where the first line begins. A terminal that has become narrower has broken lines
        that are now too long for it."""
        rows = sum(max(1, -(-width // max(1, self.console.width))) for width in self._widths)
        return f"\x1b[{rows - 1}A\r" if rows > 1 else "\r" if rows else ""

    def _write(self, text: str) -> None:
        self.console.file.write(text)
        self.console.file.flush()
