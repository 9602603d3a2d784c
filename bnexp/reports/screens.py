"""The smaller screens: plan, status, a trial, a query's rows, the datasets. Text is escaped before it is markup."""

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bnexp.claims.model import shown
from bnexp.config import leaves
from bnexp.data.dataset import Source
from bnexp.db.results import Results
from bnexp.db.rows import Instance
from bnexp.engine.cohort import group
from bnexp.reports.progress import duration


def _table(*columns: str, header: bool = True) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_header=header)
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    return table


def show_plan(instance: Instance, results: Results | None, workers: int) -> None:
    """An instance's factors, trials and cohorts, what of it is stored already, and what the rest may take so many
    workers."""
    console = Console()
    known = results.statuses([trial.key for trial in instance.trials]) if results else {}
    unique = list({trial.key: trial for trial in instance.trials}.values())
    done = Counter(known.get(trial.key, "pending") for trial in unique)
    left = [trial for trial in unique if known.get(trial.key) in (None, "pending", "running")]
    cohorts = [len(members) for members in group([(trial.config, trial.fingerprint) for trial in left])]
    console.print(Text.assemble((instance.name, "bold"), f"  {instance.about}"))
    factors = _table("factor", "levels")
    values: dict[str, list[object]] = {}
    for trial in unique:
        for leaf in leaves(trial.config):
            listed = values.setdefault(leaf.name, [])
            if leaf.value not in listed[-20:]:
                listed.append(leaf.value)
    for name, levels in values.items():
        distinct = list(dict.fromkeys(levels))
        if len(distinct) > 1:
            text = ", ".join(shown(level) for level in distinct[:12]) + (", ..." if len(distinct) > 12 else "")
            factors.add_row(escape(name.removesuffix(".name")), escape(text))
    variants = list(dict.fromkeys(trial.variant for trial in instance.trials if trial.variant))
    if variants:
        factors.add_row("variant", escape(", ".join(variants)))
    console.print(factors)
    lines = [f"{len(unique):,} trials: " + ", ".join(f"{count:,} {status}" for status, count in sorted(done.items()))]
    if left:
        steps = sum(trial.config.steps for trial in left)
        lines.append(f"left to train: {len(left):,} trials in {len(cohorts)} cohorts, {steps:,} trial-steps")
        rate = results.rate() if results else None
        if rate:
            time_left = duration(steps / rate / workers)
            lines.append(
                f"about {time_left} with {workers} workers, at {rate:,.0f} trial-steps/s each as measured here"
            )
    console.print(Text("\n".join(lines)))


def show_status(results: Results) -> None:
    """Every instance and how its trials stand."""
    statuses = ("finished", "diverged", "failed", "running", "pending")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0))
    table.add_column("no", justify="right", no_wrap=True)
    table.add_column("experiment", overflow="fold", min_width=10)
    for status in statuses:
        table.add_column(status, justify="right", no_wrap=True)
    table.add_column("last run (UTC)", no_wrap=True)
    for instance in results.instances():
        name = f"{instance.name} ({instance.overrides})" if instance.overrides else instance.name
        counts = results.counts(instance.id)
        shown_counts = (f"{counts.get(status, 0):,}" for status in statuses)
        table.add_row(str(instance.id), escape(name), *shown_counts, f"{instance.last_run_at:%Y-%m-%d %H:%M}")
    Console().print(table if table.row_count else Text("nothing has been run into this database yet"))


def show_trial(trial: dict[str, Any]) -> None:
    """One trial: configuration and result, experiments, attempts, curve."""
    console = Console()
    fields = _table("field", "value", header=False)
    for name, value in trial["trial"].items():
        if value is not None:
            fields.add_row(escape(name), escape(shown(value)))
    console.print(fields)
    for experiment in trial["experiments"]:
        parts = [experiment["name"], experiment["variant"], experiment["overrides"]]
        console.print(Text("wanted by " + ", ".join(part for part in parts if part)))
    for attempt in trial["attempts"]:
        console.print(Text(_attempt(attempt)))
    if trial["curve"]:
        names = ["step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
        curve = _table(*(name.replace("_", " ") for name in names))
        for point in trial["curve"]:
            curve.add_row(*("-" if point[name] is None else f"{point[name]:.4g}" for name in names))
        console.print(curve)


def _attempt(attempt: dict[str, Any]) -> str:
    commit = f" at {attempt['git_commit'][:10]}" if attempt["git_commit"] else ""
    error = f"\n{attempt['error']}" if attempt["error"] else ""
    return (
        f"attempt on {attempt['host']} ({attempt['device']}, slot {attempt['slot']} of cohort {attempt['cohort_id']}): "
        f"{attempt['outcome'] or 'no end known'}; bnexp {attempt['bnexp_version']}{commit}, "
        f"torch {attempt['torch_version']}, Python {attempt['python_version']}{error}"
    )


def show_rows(columns: list[str], rows: Iterable[Sequence[Any]], form: str) -> None:
    """The rows of a query as a table, CSV or JSON."""
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    elif form == "json":
        listed = [dict(zip(columns, map(_jsonable, row), strict=True)) for row in rows]
        click.echo(json.dumps(listed, indent=2))
    else:
        _show_table(columns, [[_shown(value) for value in row] for row in rows])


def _shown(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _show_table(columns: list[str], rows: list[list[str]]) -> None:
    """A table where it fits, else a block of lines for each row."""
    console = Console()
    widths = [max(map(len, values)) for values in zip(columns, *rows, strict=True)]
    if sum(widths) + 3 * len(widths) <= console.width:
        table = _table(*columns)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    longest = max(map(len, columns))
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            console.print(Text(f"{column:{longest}}  {value}"), soft_wrap=True)
        console.print()


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def show_datasets(sources: Iterable[Source]) -> None:
    """Every dataset, and where it is or how to get it."""
    table = _table("dataset", "what", "where, or how to get it")
    for source in sources:
        found = source.where()
        table.add_row(escape(source.name), escape(source.about), escape(str(found) if found else source.how_to_get))
    Console().print(table)
