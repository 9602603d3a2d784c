"""How far one PostgreSQL server carries: workers that train nothing take cohorts and store results as fast as it goes.

A real server of this machine gets two instances of the shipped grid, written down as `bnexp run` does it: one of a
tenth of the trials, whose cohorts come first, and one of all. Then 1, 4, 16 and 64 processes with a `Store` each work
for a fixed time, on the large instance. Server and workers share the machine's cores, and so does whoever else uses it
(`load_before`); the processor seconds of both stand beside those of the clock. The report is of the smaller instance, a
whole process from start to exit, when all its trials have ended.

    python benchmarks/scale.py                                     # 1,000,000 trials: half an hour, 4 GB of disk
    python benchmarks/scale.py --trials 20000 --seconds 3          # two minutes
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.machine import ROOT, describe, write
from benchmarks.scale_worker import POINTS, Worked, work
from benchmarks.server import Server, running
from benchmarks.storage import ran
from bnexp.claims.parse import parse_claims
from bnexp.db.store import Store
from bnexp.engine.cohort import CAPACITY, group
from bnexp.enrolling import enroll, instantiate
from bnexp.experiments import load

COHORT = CAPACITY["cpu"]
SMALLER = 10
"""The report's instance has one of so many trials."""
CALLS = ("take", "begin", "store")


def enrolled(url: str, trials: int) -> dict[str, Any]:
    """Write down an instance of about so many trials and plan its cohorts, as a run does; seconds of each."""
    file = load(ROOT / "experiments.yaml")
    cells = len(file.experiments["grid"].override([], "1").expand())
    times = [time.perf_counter()]
    instance = instantiate(file.experiments["grid"].override([], str(max(1, round(trials / cells)))), "", None)
    times.append(time.perf_counter())
    store = Store(url)
    [number] = enroll(store, [instance], parse_claims(file))
    times.append(time.perf_counter())
    store.plan(number, partial(group, limit=COHORT))
    times.append(time.perf_counter())
    store.close()
    seconds = [after - before for before, after in pairwise(times)]
    named = dict(zip(("instantiate", "register", "plan"), seconds, strict=True))
    return {"number": number, "trials": len(instance.trials), "seconds": named}


def measured(server: Server, url: str, experiment_id: int, workers: int, seconds: float) -> dict[str, Any]:
    """What so many workers get done."""
    before = server.processor_seconds()
    worked = work(url, [experiment_id], workers, seconds)
    used = server.processor_seconds() - before
    return {
        "workers": workers,
        "seconds": worked.seconds,
        "cohorts": len(worked.calls["store"]),
        "trials": worked.trials,
        "latency_seconds": {name: _latency(worked.calls[name]) for name in CALLS},
        "dispatch_seconds": _dispatch(worked),
        "server_processor_seconds": used,
        "workers_processor_seconds": worked.processor_seconds,
    }


def _latency(calls: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(calls), "p99": statistics.quantiles(calls, n=100)[98], "n": len(calls)}


def _dispatch(worked: Worked) -> float:
    """Mean seconds that a cohort costs a run beside its results: everything but `store`."""
    return sum(sum(worked.calls[name]) for name in CALLS if name != "store") / len(worked.calls["store"])


def counting(url: str, experiment_id: int) -> dict[str, float]:
    """Seconds of what a run asks now and then of everything it wants."""
    store, found = Store(url), {}
    for name in ("left", "ended", "held"):
        began = time.perf_counter()
        getattr(store, name)([experiment_id])
        found[name] = time.perf_counter() - began
    store.close()
    return found


def reported(url: str, experiment_id: int, rounds: int) -> dict[str, Any]:
    """`bnexp report` of an instance, whole processes."""
    command = ("-m", "bnexp", "report", "--db", url, "--instance", str(experiment_id))
    ends = [ran(*command) for _ in range(rounds + 1)][1:]
    return {
        "seconds": [end.seconds for end in ends],
        "processor_seconds": [end.processor_seconds for end in ends],
        "peak_mib": max(end.peak_mib for end in ends),
    }


def ended(url: str, experiment_id: int) -> int:
    store = Store(url)
    try:
        return store.ended([experiment_id])
    finally:
        store.close()


def sizes(url: str) -> dict[str, int]:
    """Rows and bytes of what was stored."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            "curve_rows": int(connection.execute(text("select count(*) from curves")).scalar_one()),
            "bytes": int(connection.execute(text("select pg_database_size(current_database())")).scalar_one()),
        }
    engine.dispose()
    return found


def run(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    url = server.url
    record: dict[str, Any] = {"server": server.settings(), "cohort": COHORT, "points": POINTS}
    smaller, whole = (enrolled(url, trials) for trials in (options.trials // SMALLER, options.trials))
    record["enrolled"] = [smaller, whole]
    print(f"enrolled {whole['trials']:,} trials: {whole['seconds']}", flush=True)
    record["counting_before"] = counting(url, whole["number"])
    record["workers"] = []
    for workers in options.workers:
        os.sync()  # what was written before is not theirs
        record["workers"].append(measured(server, url, whole["number"], workers, options.seconds))
        print(shown(record["workers"][-1]), flush=True)
    record["counting_after"] = counting(url, whole["number"])
    if ended(url, smaller["number"]) < smaller["trials"]:
        work(url, [smaller["number"]], 2, 3600)
    record["stored"] = sizes(url)
    record["report"] = {"trials": smaller["trials"], **reported(url, smaller["number"], options.rounds)}
    record["report_whole"] = {"trials": whole["trials"], **reported(url, whole["number"], 1)}
    print(f"report of {smaller['trials']:,} trials: {record['report']['seconds']} s")
    return record


def shown(one: dict[str, Any]) -> str:
    rates = [one[what] / one["seconds"] for what in ("cohorts", "trials")]
    calls = ", ".join(
        f"{name} {1e3 * took['median']:.1f} ({1e3 * took['p99']:.1f}) ms"
        for name, took in one["latency_seconds"].items()
    )
    return (
        f"{one['workers']} workers: {rates[0]:.1f} cohorts and {rates[1]:,.0f} trials a second; {calls}; processors: "
        f"server {one['server_processor_seconds'] / one['seconds']:.2f}, "
        f"workers {one['workers_processor_seconds'] / one['seconds']:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=60, help="for each number of workers")
    parser.add_argument("--rounds", type=int, default=3, help="of reporting")
    parser.add_argument("--folder", type=Path, help="where to put the server meanwhile")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "scale.json")
    options = parser.parse_args()
    record = describe()
    with running(options.folder) as server:
        write(options.output, record | run(server, options))


if __name__ == "__main__":
    main()
