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
    return "\n\n".join([table(rows, "---:"), _conditions(record), _rest(record), _estimate(record)])


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
    server = record["server"]
    return (
        f"Medians, and the 99th percentile in brackets; each row once, over {record['workers'][0]['seconds']:.0f} s, of "
        f"{whole['trials']:,} trials in cohorts of {record['cohort']} with curves of {record['points']} points. "
        f"{record['device_name']}, {record['cores']} cores for server and workers together, load "
        f"{record['load_before']} before it began; PostgreSQL {server['server_version']} as its package sets it "
        f"(shared_buffers {server['shared_buffers']}, synchronous_commit {server['synchronous_commit']}, fsync "
        f"{server['fsync']}); {record['date']}, commit {commit}; `python benchmarks/scale.py`."
    )


def _rest(record: Record) -> str:
    *_, whole = record["enrolled"]
    seconds, stored, report = whole["seconds"], record["stored"], record["report"]
    counting = ", ".join(f"`{name}` {1e3 * took:,.0f} ms" for name, took in record["counting_after"].items())
    return (
        f"Writing down the {whole['trials']:,} trials took {seconds['register']:,.0f} s and planning their cohorts "
        f"{seconds['plan']:,.0f} s, once, by one run. Afterwards the database had {stored['curve_rows']:,} rows of "
        f"curves and {stored['bytes'] / 2**30:.1f} GiB. `bnexp report` of {report['trials']:,} trials that had all "
        f"ended: {statistics.median(report['seconds']):.1f} s, a whole process, of which the process itself computed "
        f"{statistics.median(report['processor_seconds']):.1f} s ({len(report['seconds'])} rounds). Counting in an "
        f"experiment of {whole['trials']:,}: {counting}."
    )


def _estimate(record: Record) -> str:
    """The arithmetic from what was measured to what was not."""
    best = max(record["workers"], key=lambda one: float(one["trials"] / one["seconds"]))
    server = 1e3 * best["server_processor_seconds"] / best["cohorts"]
    asked = CLUSTER / COHORT_SECONDS
    return (
        f"**An estimate, not a measurement:** the server's processor seconds a cohort at {best['workers']} workers were "
        f"{server:.1f} ms. {CLUSTER:,} GPUs whose cohorts of {record['cohort']} trials last {COHORT_SECONDS:.0f} s would "
        f"ask for {CLUSTER:,} / {COHORT_SECONDS:.0f} = {asked:.1f} cohorts, {asked * record['cohort']:,.0f} trial results, "
        f"a second: {asked * server / 1e3:.2f} of a server's cores such as this one. At one second a cohort they would "
        f"ask for {CLUSTER * server / 1e3:.0f} cores, and for {CLUSTER * record['cohort'] * record['points']:,} rows of "
        "curves a second: more than one server."
    )


if __name__ == "__main__":
    PART.main(__doc__, lambda: render(json.loads(STORED.read_text())))
