"""The terminal, which text from files and databases reaches as text only."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from bnexp.text import printable


class Screen(Console):
    """A console that writes control characters out, wherever they come from. Markup is not its business: what is to be
    printed is a Text, or escaped."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
