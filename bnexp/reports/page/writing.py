"""The page, gathered, rendered and written."""

from datetime import UTC, datetime
from pathlib import Path

from bnexp.claims.report import Reports
from bnexp.claims.scorecard import Scorecard
from bnexp.db.results import Results
from bnexp.experiments import ExperimentsFile
from bnexp.reports.charts.asked import Asked
from bnexp.reports.formats import write
from bnexp.reports.page import contents, html


def write_page(results: Results, file: ExperimentsFile, about: Reports | Scorecard, output: Path | None) -> None:
    """Write the page about a report or a scorecard to a file, or to standard output where there is none. Raises
    UsageError where that fails."""
    card = about if isinstance(about, Scorecard) else None
    reports = about.together() if isinstance(about, Scorecard) else about
    asked = Asked(results, file, known=reports)
    write(html.render(contents.page(asked, datetime.now(UTC), card)), output)
