"""A report's first screen: a line for each claim, above it the scale that they speak of."""

from bnexp.claims.findings import Finding
from bnexp.claims.overrides import run_command
from bnexp.claims.report import Entry, Reports
from bnexp.reports import numbers, words
from bnexp.reports.blocks import Block, Grid, Heading, Line, Row, Tone

SEVERAL = (
    "Of a claim with several numbers, the one stands here that its verdict hangs on, by its name; "
    "`bnexp report --claim NAME` has them all."
)
SHORTEST = 74
"""A quote that stands for the paper's figure is cut to one line."""


def overview(reports: Reports) -> list[Block]:
    """Scale, counts and the table of claims."""
    blocks: list[Block] = [
        Heading(words.titled(reports.name, reports.reports), 1),
        Line(words.counted(reports)),
    ]
    if not reports.entries:
        return [*blocks, *(Line(words.no_claims(report)) for report in reports.reports)]
    blocks.append(table(reports.entries))
    if any(len(entry.finding.numbers) > 1 for entry in reports.entries):
        blocks.append(Line(SEVERAL, "faint"))
    if any(entry.post_hoc for entry in reports.entries):
        blocks.append(Line(words.POST_HOC + ".", "faint"))
    if reports.missing:
        command = run_command(reports.missing, reports.reports[0].instance.overrides)
        blocks.append(Line(f"`{command}` runs what is missing.", "faint"))
    families = [report.instance.name for report in reports.reports if report.findings]
    if len(families) > 1:
        blocks.append(Line("p is adjusted within each experiment, for all of its claims together (Holm).", "faint"))
    return blocks


def table(entries: list[Entry]) -> Grid:
    """A line for each claim, its number that which the verdict hangs on, and under it what the paper says, or why it is
    not tested."""
    columns = ["claim", "measured", "95% interval", "n", "verdict"]
    return Grid(
        columns, list(map(_row, entries)), right=(1, 2, 3), under="what the paper says, or why it is not tested"
    )


def _row(entry: Entry) -> Row:
    finding = entry.finding
    cells = ["-", "-", "-"]
    if shown := finding.shown:
        cells = [numbers.short(shown), numbers.ends(shown.effect, shown.unit), str(shown.n)]
    under = finding.claim.paper or _cut(finding.claim.quote)
    if finding.answer == "not tested":
        under = finding.sentence
    of = shown.name if shown and len(finding.numbers) > 1 else ""
    return Row([finding.name, *cells, answer(entry)], tone(finding), under, of)


def answer(entry: Entry) -> str:
    """The verdict; one of a claim that is younger than its data never stands alone."""
    return entry.finding.answer + "†" * entry.post_hoc


def tone(finding: Finding) -> Tone:
    return finding.answer


def _cut(quote: str) -> str:
    """A quote, as much of it as fits on a line."""
    quote = " ".join(quote.split())
    if len(quote) <= SHORTEST:
        return f'"{quote}"'
    return f'"{quote[: SHORTEST - 4].rpartition(" ")[0]} ..."'


def not_tested(reports: Reports) -> list[Block]:
    """The file's other claims, and what would test them."""
    if not reports.elsewhere:
        return []
    by_remedy: dict[str, list[str]] = {}
    for finding in reports.elsewhere:
        by_remedy.setdefault(finding.sentence, []).append(finding.name)
    lines = [Line(remedy, "faint", f"{', '.join(names)}: ") for remedy, names in by_remedy.items()]
    return [Heading("Not tested here"), *lines]
