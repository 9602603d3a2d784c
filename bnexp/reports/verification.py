"""What came out of training stored trials again: a row for each, where they differ, and one sentence on them all."""

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bnexp.claims.partial import shown
from bnexp.comparison import Answer, Verified, short
from bnexp.db.stored import Stored
from bnexp.records import Started
from bnexp.reports.screen import Screen

STYLES: dict[Answer, str] = {
    "bitwise equal": "green",
    "within tolerance": "green",
    "drifted": "red",
    "failed": "red",
    "not comparable": "yellow",
}
"""Every answer, in the order in which they are counted."""


def show_verification(verified: Sequence[Verified], now: Started | None) -> None:
    """A table with a row a trial, then where each that is not bitwise equal differs, then the sentence. `now` is what
    they were trained on, None where none was."""
    console = Screen()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0))
    for name in ("trial", "norm", "rate", "dropout", "seed", "verdict", "largest difference"):
        table.add_column(name, overflow="fold", no_wrap=name in ("trial", "verdict"))
    for one in verified:
        answer, worst = one.comparison.answer, one.comparison.difference
        largest = "-" if worst is None else "0" if worst == 0 else short(worst)
        table.add_row(*map(escape, (one.trial.key[:12], *_what(one.trial))), Text(answer, STYLES[answer]), largest)
    console.print(table)
    for one in verified:
        if one.comparison.where:
            console.print(Text(f"{one.trial.key[:12]} {one.comparison.answer}: {one.comparison.where}"))
    console.print(Text(summary(verified, now)))


def _what(trial: Stored) -> tuple[str, str, str, str]:
    """A trial in short: norm, rate, Dropout, seed."""
    config = trial.config
    rate = config["optimizer"]["lr"] * config["lr_multiplier"]
    return config["norm"]["name"], shown(rate), shown(config["dropout"]), str(config["seed"])


def summary(verified: Sequence[Verified], now: Started | None) -> str:
    """One sentence: how many are what, and on which machine, both where what stands in the database came from another:
    "8 of 8 bitwise equal (torch 2.13.0, cpu (x86_64))"."""
    answers = Counter(one.comparison.answer for one in verified)
    counted = [f"{answers['bitwise equal']} of {len(verified)} bitwise equal"]
    counted += [f"{answers[name]} {name}" for name in STYLES if name != "bitwise equal" and answers[name]]
    sentence = ", ".join(counted)
    if now is None:
        return sentence
    here = (now.torch_version, now.device)
    trained = [one.trial for one in verified if one.comparison.answer != "not comparable"]
    stored = Counter((trial.torch_version, trial.device) for trial in trained)
    if set(stored) <= {here}:
        return f"{sentence} (torch {here[0]}, {here[1]})"
    then = ", ".join(
        f"torch {torch} on {device}" + (f" for {count:,}" if len(stored) > 1 else "")
        for (torch, device), count in stored.most_common()
    )
    return f"{sentence} (stored: {then}; now: torch {here[0]} on {here[1]})"
