"""What was done to a database as a whole, in sentences. Results go to standard output, advice to standard error."""

import math
from collections.abc import Iterable, Sequence

from rich.text import Text

from bnexp.claims.overrides import run_command
from bnexp.comparison import short
from bnexp.db.upkeep.checking import Found
from bnexp.db.upkeep.deleting import Forgotten
from bnexp.db.upkeep.merging import Merged
from bnexp.db.upkeep.pruning import Pruned
from bnexp.reports.screen import Screen
from bnexp.text import counted, with_overrides

NAMED = 3
"""So many trials are named where there are more."""
TITLE, COUNT = 45, 18
"""Widths of columns."""


def show_merged(merged: Merged, other: str) -> None:
    """What came from `other`, what did not, and what to judge again."""
    counts = {
        "instance": merged.instances,
        "trial": merged.trials,
        "result": merged.results,
        "curve row": merged.curves,
        "probe row": merged.probes,
        "kept file": merged.files,
    }
    came = [counted(count, thing) for thing, count in counts.items() if count]
    console = Screen()
    console.print(Text(f"from {other}: {', '.join(came) or 'nothing that is not here already'}"))
    if merged.conflicts:
        what = f"{counted(len(merged.conflicts), 'trial')} ended in both with different numbers"
        worst = sorted(merged.conflicts, key=lambda key: -merged.conflicts[key])
        named = _named([f"{key[:12]} {_apart(merged.conflicts[key])}" for key in worst])
        console.print(Text(f"{what}; those here were kept: {named}"))
    if merged.busy:
        what = f"{counted(len(merged.busy), 'trial')} left to the workers that train them here"
        console.print(Text(f"{what}: {_named([key[:12] for key in merged.busy])}"))
    if merged.missing:
        what = f"{counted(len(merged.missing), 'kept file')} gone or damaged there, and so not here"
        console.print(Text(f"{what}: {_named(merged.missing)}"), soft_wrap=True)
    for name, overrides in merged.unjudged:
        again = f"`{run_command([name], overrides)}` judges its claims again, and `bnexp report` shows them so"
        Screen(stderr=True).print(Text(f"{name} has other results than it was judged by: {again}"))


def show_checks(checks: Iterable[tuple[str, Found]]) -> int:
    """A line for each check as it is made, under it what is wrong, then the sentence; how many found something."""
    console = Screen()
    made = failed = 0
    for title, found in checks:
        what = found.what.removesuffix("s") if found.looked_at == 1 else found.what
        answer = Text(f"{found.wrong:,} wrong", "red") if found.wrong else Text("ok", "green")
        console.print(
            Text(f"{title:{TITLE}} {f'{found.looked_at:,} {what}' if what else '':>{COUNT}}  ").append(answer)
        )
        for name in found.named:
            console.print(Text(f"  {name}"))
        if found.wrong > len(found.named):
            console.print(Text(f"  and {found.wrong - len(found.named):,} more"))
        made, failed = made + 1, failed + bool(found.wrong)
    console.print(Text(f"{failed} of {made} checks found something wrong" if failed else f"all {made} checks passed"))
    return failed


def show_forgotten(forgotten: Forgotten, done: bool) -> None:
    """What has gone, or, on standard error, what would go."""
    console = Screen(stderr=not done)
    for info in forgotten.instances:
        name = with_overrides(info.name, info.overrides)
        console.print(Text(f"{'deleted' if done else 'would delete'} instance {info.id}: {name}"))
    counts = {
        f"trial{{}} ({forgotten.finished:,} finished, {forgotten.diverged:,} diverged)": forgotten.trials,
        "attempt{}": forgotten.attempts,
        "curve row{}": forgotten.curves,
        "probe row{}": forgotten.probes,
        "kept file{}": forgotten.files,
        "choice{}": forgotten.choices,
        "verdict{}": forgotten.verdicts,
    }
    gone = [f"{count:,} {what.format('' if count == 1 else 's')}" for what, count in counts.items() if count]
    console.print(Text(f"with {', '.join(gone) or 'no trial, since other instances want all of them'}"))
    if forgotten.files and done:
        Screen(stderr=True).print(Text("`bnexp db prune` reclaims the room of the kept files"))
    if forgotten.shared:
        console.print(Text(f"{counted(forgotten.shared, 'trial')} stay, since other instances want them"))


def show_pruned(pruned: Pruned, done: bool) -> None:
    """What has gone, or, on standard error, what would go."""
    console = Screen(stderr=not done)
    what = f"{counted(pruned.files, 'file')} ({counted(pruned.bytes, 'byte')}) that no trial names"
    said = f"{'removed' if done else 'would remove'} {what}" if pruned.files else "no file without a trial"
    console.print(Text(f"{said}, in {pruned.folder}"), soft_wrap=True)
    console.print(Text(f"{counted(pruned.kept, 'file')} of trials stay"))
    if pruned.young:
        why = "they are younger than an hour, and a worker may be about to store what they belong to"
        console.print(Text(f"{counted(pruned.young, 'file')} without a trial stay: {why}"))


def _apart(relative: float) -> str:
    return f"(by {short(relative)} of a number)" if math.isfinite(relative) else "(another end)"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
