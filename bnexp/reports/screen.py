"""The terminal, which text from files and databases reaches as text only."""

import re
from collections.abc import Iterable, Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from bnexp.text import printable
from bnexp.unread import end

BLANKS = re.compile(r" +(?=\n|$)")
"""Spaces at the end of a line, as tables fill them up."""


class Screen(Console):
    """A console that writes control characters out, wherever they come from, and no spaces at the ends of lines. Markup
    is not its business: what is to be printed is a Text, or escaped."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        segments = super().render(renderable, options)
        yield from _trimmed(s if s.control else Segment(printable(s.text), s.style) for s in segments)

    def on_broken_pipe(self) -> None:
        end()


def _trimmed(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The segments without spaces before a line feed; those at the end stay, since a line may go on there."""
    held: list[Segment] = []
    for segment in segments:
        if segment.control:
            yield segment
            continue
        if segment.text.startswith("\n"):
            held.clear()
        text = BLANKS.sub("", segment.text)
        if text:
            yield from held
            held.clear()
            yield Segment(text, segment.style)
        blanks = segment.text[len(segment.text.rstrip(" ")) :]
        if blanks:
            held.append(Segment(blanks, segment.style))
    yield from held
