"""The command lines that README and the pages under docs show."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from bnexp.cli import main
from bnexp.starting import START

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLE = "\n".join(
    re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "howto" / "experiments.md").read_text(), re.DOTALL)
)
"""The experiments file that the page about such files shows, in one."""

OWN = [
    text
    for page in ("normalizer.md", "own.md")
    for text in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "howto" / page).read_text(), re.DOTALL)
]
"""The experiments files of the pages about what is one's own."""


def begun() -> str:
    """The file that the tutorial ends with: the one to begin with, and the experiment and the claim that it adds."""
    page = (ROOT / "docs" / "tutorial.md").read_text()
    experiment, claim = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return START.read_text().replace("suites:", f"{experiment}\nsuites:", 1) + claim


OTHERS = {"apt-get", "cd", "docker", "git", "make", "mkdir", "pip", "python", "ray", "sbatch", "sqlite3"}
"""Programs that are not ours. Their command lines are left to themselves, what they have ours do included."""


@dataclass(frozen=True)
class Line:
    """A command line of ours in a code block."""

    page: str
    number: int
    words: tuple[str, ...]
    """Behind `bnexp`."""

    def __str__(self) -> str:
        return f"{self.page}:{self.number}: {shlex.join(self.words)}"


def named(page: Path) -> str:
    """A page's path from the root."""
    return str(page.relative_to(ROOT))


def resolve(words: tuple[str, ...]) -> tuple[str, click.Command, list[str]]:
    """The words that lead to a command, the command, and its arguments. Raises KeyError where there is none."""
    command: click.Command = main
    rest, path = list(words), list[str]()
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        path.append(rest.pop(0))
        command = command.commands[path[-1]]
    return " ".join(path), command, rest


def code(page: Path) -> Iterator[tuple[int, str]]:
    """Each line of a page's code blocks that may hold commands, with its number: not of YAML or of output, nor where an
    item of a list goes on. A line that ends with a backslash goes on in the next."""
    fence, before = None, ""
    text = page.read_text().replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fence = None if fence is not None else line.removeprefix("```")
        elif fence in ("sh", "bash", "console") or (fence is None and line.startswith("    ") and not _in_list(before)):
            yield number, line.strip()
        before = line if line.strip() and not line.startswith("    ") else before


def _in_list(before: str) -> bool:
    return before.startswith(("- ", "  ", "1. "))


def lines(page: Path) -> list[Line]:
    """The page's command lines of ours; usages, with their placeholders, are none."""
    found = []
    for number, line in code(page):
        words = split(line) if "[OPTIONS]" not in line else []
        if "bnexp" in words and words[0] not in OTHERS:
            found.append(Line(named(page), number, tuple(words[words.index("bnexp") + 1 :])))
    return found


def split(line: str) -> list[str]:
    """The words of a shell's line up to a pipe; of what it evaluates, those within."""
    lexer = shlex.shlex(re.sub(r'"\$\((.*)\)"', r"\1", line), posix=True, punctuation_chars="|;&")
    lexer.whitespace_split = True
    words = ["bnexp" if word == ".venv/bin/bnexp" else word for word in lexer]
    return words[: words.index("|")] if "|" in words else words


def inline(page: Path) -> list[Line]:
    """The command lines of ours within sentences, whose names may be placeholders."""
    spans = re.findall(r"`(bnexp [a-z][^`]*)`", page.read_text())
    return [Line(named(page), 0, tuple(split(span.replace("\n", " "))[1:])) for span in spans]


def query(line: str) -> str | None:
    """The SQL that a line has sqlite3 run."""
    words = split(line)
    return words[2] if words[:2] == ["sqlite3", "bnexp.db"] else None
