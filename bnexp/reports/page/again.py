"""How to do again what the page reports: the program's commit, the experiments file, the commands, and the seeds."""

import hashlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bnexp.claims.data import Data
from bnexp.claims.overrides import battery_command, run_command
from bnexp.claims.report import Reports
from bnexp.claims.scorecard import Scorecard
from bnexp.columns import length
from bnexp.db.expanding import expands_alike
from bnexp.experiments import shipped_file
from bnexp.reports import claim, words
from bnexp.reports.blocks import Block, Code, Grid, Line, Row
from bnexp.reports.charts.asked import Asked
from bnexp.reports.document import machines
from bnexp.reports.tallies import tallied
from bnexp.text import counted

INSTALL = "pip install --constraint constraints.txt ."
"""With the exact set of packages, in a checkout."""


def again(asked: Asked, text: str, card: Scorecard | None = None) -> Iterator[Block]:
    """What to check out, the commands, and the file that they read, which has this `text`; of a page about `card`, the
    one command that trains and writes it."""
    reports, path = asked.reports, Path(asked.file.document.name)
    yield from _program(reports)
    given = [] if path.resolve() == shipped_file().resolve() else ["--file", path.name]
    shipped = "the experiments file that comes with bnexp, whose text now stands below"
    yield Line(f"With `{path.name}` beside you:" if given else f"With {shipped}:")
    yield Code("\n".join(_of_card(card, given) if card else _commands(reports, given)), "sh")
    yield Line(
        "On the same kind of processor the same versions give the same numbers, bit by bit; elsewhere other last "
        "digits. `bnexp verify` trains a sample again and compares."
    )
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    yield Line(f"{path.name}, as it was when this page was made: SHA-256 `{digest}`.", "strong", "Experiments file: ")
    yield from _changed(asked)
    yield Line("What the trials ran on:")
    yield from machines(reports)


def _commands(reports: Reports, given: Sequence[str]) -> Iterator[str]:
    """Those that train, and the one that reports."""
    together: dict[str, list[str]] = {}
    for one in reports.reports:
        together.setdefault(one.instance.overrides, []).append(one.instance.name)
    for overrides, names in together.items():
        yield f"{run_command(names, overrides)} {shlex.join(given)}".rstrip()
    yield shlex.join(["bnexp", "report", reports.name, *given, "--format", "html", "--output", "report.html"])


def _of_card(card: Scorecard, given: Sequence[str]) -> Iterator[str]:
    """The one that tests the normalizers and writes the page."""
    tested = [str(column.normalizer) for column in card.columns]
    command = battery_command(tested, card.reports[0].instance.overrides)
    yield f"{command} {shlex.join([*given, '--format', 'html', '--output', 'battery.html'])}"


def _program(reports: Reports) -> Iterator[Block]:
    """The commits that the trials were trained at; where there are none, the versions."""
    trained = Counter[tuple[str, str]]()
    for report in reports.reports:
        for one in report.origins:
            trained[one.git_commit or "", one.bnexp_version] += one.trials
    commits = list(dict.fromkeys(commit for (commit, _), _ in trained.most_common() if commit))
    if commits:
        first, *others = commits
        which = "The trials were trained at"
        if others:
            which = f"Some trials were trained at {words.listed(f'`{commit}`' for commit in others)}, most at"
        yield Line(f"{which} the commit `{first}`. Check it out in a clone of bnexp, and install it:")
        yield Code(f"git checkout {shlex.quote(first.removesuffix('+'))}\n{INSTALL}", "sh")
    if any(commit.endswith("+") for commit in commits):
        yield Line("A + says that files differed from the commit; what they were like, nobody wrote down.")
    versions = list(dict.fromkeys(version for (commit, version), _ in trained.most_common() if not commit))
    if versions:
        some = "Some of the trials" if commits else "The trials"
        yield Line(
            f"{some} were trained by bnexp {words.listed(versions)}, installed where no checkout tells the commit. "
            f"Take the same version with its exact set of packages (`{INSTALL}` in its checkout)."
        )


def _changed(asked: Asked) -> Iterator[Block]:
    """What of the experiments file is other than what was run."""
    instances = [report.instance for report in asked.reports.reports]
    known = asked.file.experiments
    gone = dict.fromkeys(one.name for one in instances if one.name not in known)
    other = dict.fromkeys(
        one.name
        for one in instances
        if one.name in known and expands_alike(asked.results, known[one.name], one) is False
    )
    if gone:
        yield Line(f"This file has no {words.listed(gone)} any more: take an older one.", "strong", "Note: ")
    if other:
        yield Line(
            f"This file has other trials of {words.listed(other)} than those that are reported here: these commands "
            "would train others. Take the file as it was then.",
            "strong",
            "Note: ",
        )


def seeds(reports: Reports, data: Callable[[int], Data]) -> Iterator[Block]:
    """What each experiment was run with. `data` has what is stored of an instance, by its number."""
    rows = []
    for report in reports.reports:
        one = report.instance
        known = data(one.id)
        tuned = _listed(known.tuning["seed"]) if known.tuning is not None and length(known.tuning) else "-"
        ran = [_listed(known.trials["seed"]), tuned, tallied(report.counts), claim.time_of(one.last_run_at)]
        rows.append(Row([one.name, one.overrides or "-", *ran]))
    columns = ["experiment", "overrides", "seeds", "seeds that chose rates", "trials", "last run"]
    yield Grid(columns, rows, title="Seeds, and when each experiment was run last")


def _listed(numbers: npt.NDArray[np.int64]) -> str:
    """Seeds in short: 0 to 9 where none is missing between."""
    known = np.unique(numbers).tolist()
    if len(known) > 2 and known[-1] - known[0] == len(known) - 1:
        return f"{known[0]} to {known[-1]}"
    more = f" and {counted(len(known) - 20, 'other')}" if len(known) > 20 else ""
    return ", ".join(map(str, known[:20])) + more if known else "-"


def text_of(path: str) -> str:
    """The file as it is; a byte that is no text is told apart, so that the hash is the file's."""
    try:
        with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except OSError:  # gone meanwhile
        return ""
