"""The table of docs/scale.md, made from what benchmarks/scale.py stored and from nothing else.

python benchmarks/scale_table.py            # writes it between the markers
python benchmarks/scale_table.py --check    # exits 1 where the page says something else
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.pages import ROOT, Part, table

STORED = ROOT / "benchmarks" / "results" / "scale.json"
PART = Part("docs/scale.md", "scale", "scale_table.py")
HEADS = (
    "workers",
    "cohorts/s",
    "trial results/s",
    "take, ms",
    "store, ms",
    "dispatch, ms a cohort",
    "server, cores",
    "workers, cores",
)
CLUSTER = 1000
"""GPUs of the estimate."""
COHORT_SECONDS = 60.0
"""That a cohort trains on one of them, by assumption."""

Record = dict[str, Any]


def render(record: Record) -> str:
    """What was measured, and what a cluster would ask, as Markdown."""
    rows = [HEADS, *(_row(one) for one in record["workers"])]
    return "\n\n".join([table(rows, "---:"), _conditions(record), _rest(record), _aims(record), _estimate(record)])


def _row(one: Record) -> list[str]:
    seconds, latency = one["seconds"], one["latency_seconds"]
    return [
        str(one["workers"]),
        f"{one['cohorts'] / seconds:.1f}",
        f"{one['trials'] / seconds:,.0f}",
        *(f"{1e3 * latency[name]['median']:,.1f} ({1e3 * latency[name]['p99']:,.0f})" for name in ("take", "store")),
        f"{1e3 * one['dispatch_seconds']:,.1f}",
        f"{one['server_processor_seconds'] / seconds:.2f}",
        f"{one['workers_processor_seconds'] / seconds:.2f}",
    ]


def _conditions(record: Record) -> str:
    *_, whole = record["enrolled"]
    commit = (record["commit"] or "unknown")[:10] + ("+" if str(record["commit"]).endswith("+") else "")
    server, first = record["server"], record["workers"][0]
    return (
        "Medians, and the 99th percentile in brackets; each row was measured once, over "
        f"{first['seconds']:.0f} s, in an experiment of {whole['trials']:,} trials in cohorts of {record['cohort']} "
        f"with curves of {record['points']} points. *Dispatch* is the mean of everything but the storing. "
        f"{record['device_name']}, {record['cores']} "
        f"cores for server and workers together, load {record['load_before']} before it began; PostgreSQL "
        f"{server['server_version']} as its package sets it (shared_buffers {server['shared_buffers']}, "
        f"synchronous_commit {server['synchronous_commit']}, fsync {server['fsync']}); {record['date']}, commit "
        f"{commit}; `python benchmarks/scale.py`."
    )


def _rest(record: Record) -> str:
    *_, whole = record["enrolled"]
    seconds, stored, report = whole["seconds"], record["stored"], record["report"]
    counting = ", ".join(f"`{name}` {1e3 * took:,.0f} ms" for name, took in record["counting_after"].items())
    return (
        f"Writing down the {whole['trials']:,} trials took {seconds['register']:,.0f} s and planning their cohorts "
        f"{seconds['plan']:,.0f} s, once, by one run. Afterwards the database had {stored['curve_rows']:,} rows of "
        f"curves and {stored['bytes'] / 2**30:.1f} GiB. `bnexp report` of {report['trials']:,} trials that had all "
        f"ended took {statistics.median(report['seconds']):.1f} s, a whole process, in which it computed for "
        f"{statistics.median(report['processor_seconds']):.1f} s itself ({len(report['seconds'])} rounds, medians). "
        f"Counting in an experiment of {whole['trials']:,} trials: {counting}."
    )


def _aims(record: Record) -> str:
    """What was aimed at, beside what was measured."""
    first, best = record["workers"][0], _best(record)
    dispatch = first["dispatch_seconds"]
    cores = (best["server_processor_seconds"] + best["workers_processor_seconds"]) / best["seconds"]
    report = record["report"]
    rows = [
        ("aim", "measured here"),
        (
            "2,000 trial results a second",
            f"{best['trials'] / best['seconds']:,.0f} at {best['workers']} workers, on {cores:.1f} cores for all of it",
        ),
        (
            "dispatch at most 1% of a cohort that lasts a second",
            f"{dispatch:.1%} with {first['workers']} worker; 1% of cohorts that last {100 * dispatch:.1f} s",
        ),
        (
            f"a report of {report['trials']:,} trials under 2 s",
            f"{statistics.median(report['seconds']):.1f} s",
        ),
    ]
    return table(rows)


def _best(record: Record) -> Record:
    """What got most done."""
    found: Record = max(record["workers"], key=lambda one: float(one["trials"] / one["seconds"]))
    return found


def _estimate(record: Record) -> str:
    """The arithmetic from what was measured to what was not."""
    best = _best(record)
    cost, size = best["server_processor_seconds"] / best["cohorts"], record["cohort"]
    asked = CLUSTER / COHORT_SECONDS
    return (
        f"**An estimate, not a measurement.** A cohort cost the server {1e3 * cost:.1f} ms of a core at "
        f"{best['workers']} workers. {CLUSTER:,} GPUs with cohorts of {size} trials that last {COHORT_SECONDS:.0f} s "
        f"each ask for {CLUSTER:,} / {COHORT_SECONDS:.0f} = {asked:.1f} cohorts or {asked * size:,.0f} trial results a "
        f"second: {asked:.1f} × {1e3 * cost:.1f} ms = {asked * cost:.2f} cores of a server such as this one. With "
        f"cohorts that last one second they ask for {CLUSTER:,} cohorts a second, {CLUSTER * cost:.0f} cores and "
        f"{CLUSTER * size * record['points']:,} rows of curves a second, which is more than one server."
    )


if __name__ == "__main__":
    PART.main(__doc__, lambda: render(json.loads(STORED.read_text())))
