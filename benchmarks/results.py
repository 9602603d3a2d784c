"""Write docs/results.md: what the databases of a suite, one for each dataset, say of every claim.

    python -m benchmarks.results digits.db fashion.db section-4-2=pictures.db --output docs/results.md

The suite is `paper` where a database is named without one. Numbers come from the databases alone. What a person saw in
them stands in docs/remarks.yaml, by claim and dataset, and is printed under the claim's numbers.
"""

import argparse
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import bnexp
from bnexp.claims.model import Claim
from bnexp.claims.overrides import run_command
from bnexp.claims.parse import parse_claims
from bnexp.claims.report import Reports, collect, papers
from bnexp.db.results import Results
from bnexp.errors import BnexpError, ConfigurationError
from bnexp.experiments import ExperimentsFile, default_file, load
from bnexp.reports import markdown, words
from bnexp.reports.beside import tables
from bnexp.reports.blocks import Block, Code, Heading, Line
from bnexp.reports.document import machines, sections
from bnexp.reports.overview import overview
from bnexp.yamlfile import read

ROOT = Path(__file__).parent.parent
REMARKS = ROOT / "docs" / "remarks.yaml"
PAPER = "paper"
"""The suite; all experiments, where the file has no such suite."""

Remarks = Mapping[str, Mapping[str, str]]
"""What was seen, by claim and dataset."""


def read_remarks(path: Path, claims: Mapping[str, Claim]) -> Remarks:
    """The remarks in a file; none where there is no file. Raises ConfigurationError where one is about no claim, or is
    no text."""
    if not path.exists():
        return {}
    document = read(path)
    remarks = document.data or {}
    for claim, by_dataset in remarks.items():
        if claim not in claims:
            raise ConfigurationError(f"a remark about no claim of the file: {claim!r}", document.place((claim,)))
        if not isinstance(by_dataset, dict) or not all(isinstance(text, str) for text in by_dataset.values()):
            raise ConfigurationError("remarks are written as DATASET: text", document.place((claim,)))
    return dict(remarks)


def write(databases: Sequence[str], file: ExperimentsFile, remarks: Remarks) -> str:
    """The page, with a chapter for each database, written SUITE=DATABASE or without the suite `paper`."""
    claims = parse_claims(file)
    chapters = []
    for named in databases:
        suite, database = suite_of(named, file)
        members = file.suites.get(suite) or list(file.experiments)
        results = Results(database)
        chapters.append(collect(results, claims, suite, members, papers(file)))
        results.close()
    page = [markdown.render(_opening(chapters))]
    for reports in chapters:
        page.append(markdown.render(list(_chapter(reports, file.suites, remarks)), level=2))
    return "\n".join(page)


def suite_of(named: str, file: ExperimentsFile) -> tuple[str, str]:
    """The suite and the database of SUITE=DATABASE; a path may have such a sign too."""
    suite, _, database = named.partition("=")
    return (suite, database) if database and suite in file.suites else (PAPER, named)


def _opening(chapters: Sequence[Reports]) -> list[Block]:
    datasets = words.listed(dict.fromkeys(words.datasets(reports.reports) for reports in chapters))
    text = (
        f"What the experiments of bnexp {bnexp.__version__} say of each claim, on {datasets}. This page is written by "
        "`python -m benchmarks.results` from the databases. Limits were fixed before there were data, but where a "
        "verdict is marked †; grids of rates may have been extended since, where a best rate stood at an edge, and the "
        "remarks say so. Each verdict is about the scale that stands above it."
    )
    return [Heading("Results", 1), Line(text)]


def _chapter(reports: Reports, suites: Container[str], remarks: Remarks) -> Iterator[Block]:
    """One dataset: the scale and how it was made, then the table and a section for each claim."""
    dataset = words.datasets(reports.reports)
    seen = {claim: texts[dataset] for claim, texts in remarks.items() if dataset in texts}
    _, *answers = overview(reports)
    yield Heading(words.scale(reports.reports).removeprefix("on "), 1)
    yield Code("\n".join(_commands(reports, suites)), "sh")
    last = max(report.instance.last_run_at for report in reports.reports)
    yield Line(f"Last run on {last:%Y-%m-%d}.")
    yield from machines(reports)
    yield from answers
    yield from tables(reports)
    yield from sections(reports, seen)


def _commands(reports: Reports, suites: Container[str]) -> list[str]:
    """What was run: the suite, or its experiments where not all were; and those that came to a later look."""
    run = [report.instance.name for report in reports.reports]
    asked = run if reports.missing or reports.name not in suites else [reports.name]
    later: dict[str, list[str]] = {}
    for report in reports.reports:
        later.setdefault(report.instance.overrides, []).append(report.instance.name)
    first = min(later, key=lambda overrides: ("seeds=" in overrides, overrides))
    looks = [run_command(names, overrides) for overrides, names in later.items() if overrides != first]
    return [run_command(asked, first), *looks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("databases", nargs="+", metavar="[SUITE=]DB", help="one for each suite and dataset")
    parser.add_argument("--file", type=Path, help="the experiments file, as for bnexp")
    parser.add_argument("--remarks", type=Path, default=REMARKS)
    parser.add_argument("--output", type=Path, help="default: standard output")
    options = parser.parse_args()
    try:
        file = load(options.file or default_file())
        page = write(options.databases, file, read_remarks(options.remarks, parse_claims(file)))
    except BnexpError as error:
        sys.exit(f"Error: {error}")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main()
