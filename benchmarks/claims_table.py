"""README's tables of the claims of the paper and of its critics, made from docs/results.md and from nothing else.

python -m benchmarks.claims_table            # writes it between the markers in README.md
python -m benchmarks.claims_table --check    # exits 1 where README says something else
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.pages import ROOT, Part, table

RESULTS = ROOT / "docs" / "results.md"
PART = Part("README.md", "claims", "claims_table.py")
NAMES = {"digits": "digits", "fashion-mnist": "Fashion-MNIST"}
"""How README calls a dataset."""
ROW = re.compile(r"^\| (\S+) \| .* \| (.+?) \| (.+?) \| (\d+) \| \*\*(.+?)\*\* \|$", re.MULTILINE)
"""Of a chapter's table: claim, measured, interval, n, verdict."""


@dataclass(frozen=True)
class Chapter:
    """What docs/results.md says of one dataset."""

    dataset: str
    run: str
    """The day of the last run."""
    rows: Mapping[str, tuple[str, str, str, str]]
    """By claim: measured, interval, n and verdict."""
    questions: Mapping[str, str]
    """By claim."""


def chapters(page: str, suite: str) -> list[Chapter]:
    """The chapters of a suite, in the page's order."""
    parts = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    return [_chapter(part) for part in parts if re.search(rf"^bnexp run {suite}\b", part, re.MULTILINE)]


def _chapter(part: str) -> Chapter:
    [run] = re.findall(r"^Last run on (\S+)\.$", part, re.MULTILINE)
    rows = {claim: (measured, interval, n, verdict) for claim, measured, interval, n, verdict in ROW.findall(part)}
    asked = dict(re.findall(r"^### (\S+)\n\n\*\*(.+?)\*\*$", part, re.MULTILINE))
    return Chapter(part.partition(",")[0], run, rows, {claim: asked[claim] for claim in rows})


def render(page: str) -> str:
    """For the paper, and for its critics where they have a chapter: how many claims have which verdict, and a row for
    each claim. Raises KeyError where a chapter lacks one."""
    parts = [_rendered(chapters(page, "paper"), "Of {} claims", "the paper's claim, as a question")]
    if debate := chapters(page, "debate"):
        parts.append(_rendered(debate, "And of {} claims of its critics", "the critics' claim, as a question"))
    return "\n\n".join(parts)


def _rendered(found: list[Chapter], of: str, head: str) -> str:
    rows = [
        [f"[{question}](docs/results.md#{claim})", *[_cell(*chapter.rows[claim]) for chapter in found]]
        for claim, question in found[0].questions.items()
    ]
    counted = "; ".join(_counted(chapter) for chapter in found)
    heads = [head, *[NAMES[chapter.dataset] for chapter in found]]
    return f"{of.format(len(rows))}: {counted}.\n\n{table([heads, *rows])}"


def _counted(chapter: Chapter) -> str:
    count = Counter(verdict for *_, verdict in chapter.rows.values())
    said = ", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items(), reverse=True))
    return f"on {NAMES[chapter.dataset]} {said} (last run on {chapter.run})"


def _cell(measured: str, interval: str, n: str, verdict: str) -> str:
    within = interval if interval.startswith("[") else f"(95%: {interval})"
    numbers = " ".join(text for number, text in ((measured, measured), (interval, within)) if number != "-")
    return f"**{verdict}**" + (f" {numbers}" if numbers else "") + f", n = {n}"


if __name__ == "__main__":
    PART.main(__doc__, lambda: render(RESULTS.read_text()))
