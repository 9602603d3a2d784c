"""Parts of pages that are made from stored records, between markers, and from nothing else."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Part:
    """What stands on a page between `<!-- name: begin -->` and `<!-- name: end -->`."""

    page: str
    """From the repository's root."""
    name: str
    maker: str
    """The module that makes it."""

    @property
    def path(self) -> Path:
        return ROOT / self.page

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}: begin -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}: end -->"

    def replaced(self, page: str, text: str) -> str:
        """`page` with `text` between the markers. Raises ValueError where they are missing."""
        before, begin, rest = page.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise ValueError(f"{self.page} has no {self.begin} ... {self.end}")
        return f"{before}{begin}\n\n{text}\n\n{end}{after}"

    def main(self, about: str | None, render: Callable[[], str]) -> None:
        """A command that writes the part, or with --check exits 1 where it stands otherwise."""
        parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page would change")
        options = parser.parse_args()
        old = self.path.read_text()
        try:
            new = self.replaced(old, render())
        except ValueError as error:
            sys.exit(str(error))
        if options.check and new != old:
            sys.exit(f"{self.page} does not say what is stored: run python benchmarks/{self.maker}")
        if not options.check:
            self.path.write_text(new)


def table(rows: Sequence[Sequence[str]], rule: str = "---") -> str:
    """Rows as Markdown, the first one as heads; `rule` stands under those after the first column: "---:" puts numbers
    to the right."""
    rules = ["---", *[rule] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rules, *rows[1:]])
