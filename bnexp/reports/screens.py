"""The smaller screens: status, a trial, a query's rows, the datasets. Text is escaped before it is markup."""

import itertools
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from bnexp.claims.partial import shown
from bnexp.db.asking import Answer
from bnexp.db.results import Results
from bnexp.db.summaries import Counts, count_each
from bnexp.errors import UsageError
from bnexp.reports.csvlines import plain, write_csv
from bnexp.reports.dumping import dump
from bnexp.reports.fitted import plain_table, show_table
from bnexp.reports.screen import Screen
from bnexp.reports.tallies import tallied
from bnexp.text import with_overrides

if TYPE_CHECKING:
    from bnexp.data.dataset import Source

MOST_ROWS = {"table": 10_000, "json": 100_000}
"""Of a query; they stand in memory."""


def show_status(results: Results) -> None:
    """Every instance and how its trials stand."""
    counts = count_each(results)
    rows = []
    for info in results.instances():
        name = with_overrides(info.name, info.overrides)
        trials = tallied(counts.get(info.id, Counts({})))
        rows.append([str(info.id), name, trials, f"{info.last_run_at:%Y-%m-%d %H:%M}"])
    if rows:
        show_table(Screen(), ["no", "experiment", "trials", "last run (UTC)"], rows, whole=(0, 3))
    else:
        Screen().print(Text("nothing has been run into this database yet"))


def show_trial(trial: dict[str, Any]) -> None:
    """One trial: configuration and result, experiments, attempts, kept files, probes, curve."""
    console = Screen()
    fields = plain_table("field", "value", header=False)
    fields.columns[0].no_wrap = True
    for name, value in trial["trial"].items():
        if value is not None:
            fields.add_row(escape(name), escape(shown(value)))
    console.print(fields)
    for experiment in trial["experiments"]:
        purpose = "to tune" if experiment["stage"] == "tune" else ""
        parts = [experiment["name"], experiment["arm"] or experiment["variant"], experiment["overrides"], purpose]
        console.print(Text("wanted by " + ", ".join(part for part in parts if part)))
    for attempt in trial["attempts"]:
        console.print(Text(_attempt(attempt)))
    for file in trial["files"]:
        path = trial["folder"] / f"{file['sha256']}.safetensors"
        there = "" if path.is_file() else " is not there:"
        console.print(Text(f"kept {file['kind']} ({file['bytes']:,} bytes):{there} {path}"), soft_wrap=True)
    if trial["probes"]:
        _show_probes(console, trial["probes"])
    if trial["curve"]:
        names = ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
        curve = plain_table("step", *(name.replace("_", " ") for name in names))
        for point in trial["curve"]:
            numbers = ("-" if point[name] is None else f"{point[name]:.4g}" for name in names)
            curve.add_row(f"{point['step']:,}", *numbers)
        console.print(curve)


def _show_probes(console: Console, probes: Iterable[dict[str, Any]]) -> None:
    """The first and last value of every probe in every layer. They come in order of their steps."""
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for probe in probes:
        series.setdefault((probe["name"], probe["layer"]), []).append(probe)
    table = plain_table("probe", "layer", "first", "last")
    for (name, layer), values in series.items():
        ends = (f"{_number(value)} at step {value['step']:,}" for value in (values[0], values[-1]))
        table.add_row(escape(name), escape(layer), *ends)
    console.print(table)


def _number(probe: dict[str, Any]) -> str:
    return "not finite" if probe["value"] is None else f"{probe['value']:.4g}"


def _attempt(attempt: dict[str, Any]) -> str:
    commit = f" at {attempt['git_commit'][:10]}" if attempt["git_commit"] else ""
    error = f"\n{attempt['error']}" if attempt["error"] else ""
    resumed = attempt["resumed_at_step"]
    from_step = "" if resumed is None else f", from step {resumed:,} on"
    torch = f"torch {attempt['torch_version']}, " if attempt["torch_version"] else ""
    where = f"{attempt['device'] or 'before it began'}, slot {attempt['slot']} of cohort {attempt['cohort_id']}"
    return (
        f"attempt on {attempt['host']} ({where}): {attempt['outcome'] or 'no end known'}{from_step}; "
        f"bnexp {attempt['bnexp_version']}{commit}, {torch}Python {attempt['python_version']}{error}"
    )


def show_rows(answer: Answer, form: str) -> None:
    """The rows of a query as a table, CSV or JSON; only CSV takes them as they come, however many. Raises UsageError
    where there are more than the form takes, or where JSON would have two values of one name."""
    if form == "csv":
        write_csv(sys.stdout, answer.columns, answer.rows)
        return
    most = MOST_ROWS[form]
    listed = list(itertools.islice(answer.rows, most + 1))
    if len(listed) > most:
        raise UsageError(f"query: more than {most:,} rows; add a `limit`, or take --format csv, which has no bound")
    if form == "json":
        names = answer.names()
        click.echo(dump([dict(zip(names, map(plain, row), strict=True)) for row in listed]), nl=False)
    else:
        _show_table(answer.columns, [list(map(_shown, row)) for row in listed])


def _shown(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(plain(value))


def _show_table(columns: list[str], rows: list[list[str]]) -> None:
    """A table where it fits, else a block of lines for each row."""
    console = Screen()
    widths = [max(map(len, values)) for values in zip(columns, *rows, strict=True)]
    if sum(widths) + 3 * len(widths) <= console.width:
        table = plain_table(*columns)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    longest = max(map(len, columns))
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            console.print(Text(f"{column:{longest}}  {value}"), soft_wrap=True)
        console.print()


def show_datasets(sources: "Iterable[Source]") -> None:
    """Every dataset, and where it is or how to get it; and how to make one."""
    console = Screen()
    for source in sources:
        console.print(Text.assemble((source.name, "bold"), f"  {source.about}"))
        found = source.where()
        if found:
            console.print(Text(f"  {found}"), soft_wrap=True)  # a path is not cut
        else:
            console.print(Padding.indent(Text(source.how_to_get), 2))
    console.print(Text.assemble(("imagefolder/NAME", "bold"), "  any folder of class folders"))
    console.print(Text("  bnexp data prepare FOLDER --name NAME"))
