"""How fast results are stored and read: curve rows a second, and the seconds of whole commands on large databases.

Curve rows go through `Store.store`, as a run calls it: a cohort of 48 trials and their curves in one transaction, its
lease checked, results and attempts updated. The bound beside it is plain sqlite3: the same rows of curves alone, by one
executemany and one transaction for each cohort, in WAL, with the same settings. Both write fresh files, in turn.

The commands are whole processes, from start to exit, on databases of `benchmarks/database.py` that are in the system's
cache, and their peak memory. Processor seconds stand beside those of the clock: where the machine is shared, the clock
also counts what others do.

    python benchmarks/storage.py             # 100,000 trials with 10 million curve rows, and a million: 10 minutes
    python benchmarks/storage.py --quick     # much smaller databases, in 20 seconds
"""

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bnexp.config import TrialConfig
from bnexp.db import rows
from bnexp.db.rows import Instance, WantedTrial
from bnexp.db.store import Store
from bnexp.engine.cohort import CAPACITY, group
from bnexp.identity import trial_key
from bnexp.provenance import this_worker
from bnexp.records import Final, Outcome, Point, Started

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.database import generate
from benchmarks.machine import ROOT, describe, write
from benchmarks.rounds import interleaved, summary

COHORT = CAPACITY["cpu"]
SLOW_IMPORTS = "torch", "sqlalchemy", "numpy", "pydantic", "rich", "alembic"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int
    cohorts: int
    databases: tuple[tuple[int, int, int], ...]
    """Trials, points of a curve, and rounds of reading."""


FULL = Sizes(5, 20, ((720, 28, 5), (100_000, 108, 5), (1_000_000, 10, 3)))
QUICK = Sizes(2, 10, ((720, 28, 2), (10_000, 50, 2)))


def through_store(path: Path, cohorts: int, curve: tuple[Point, ...]) -> float:
    """Curve rows a second through `Store.store`, on a fresh file."""
    store, worker = Store(str(path)), this_worker()
    configs = [TrialConfig(seed=seed) for seed in range(cohorts * COHORT)]
    wanted = [WantedTrial(trial_key(config, ""), config, "", 10, "") for config in configs]
    number = store.register(Instance("storage", "", "", 1.0, wanted))
    store.plan(number, partial(group, limit=COHORT))
    final, started = Final(0.1, 0.9, 0.1, 0.9, 0.1, 0.9), Started("made up", 1, "none")
    seconds = 0.0
    while job := store.take([number], worker):
        outcomes = [Outcome(slot, "finished", curve, final) for slot in range(len(job.configs))]
        began = time.perf_counter()
        store.store(job, worker, outcomes, started, 1.0)
        seconds += time.perf_counter() - began
    if store.left([number]) != (0, 0):
        raise RuntimeError("not every trial was stored, so the rate would be of rows that are not there")
    store.close()
    return len(configs) * len(curve) / seconds


def through_sqlite3(path: Path, cohorts: int, curve: tuple[Point, ...]) -> float:
    """Curve rows a second by plain sqlite3, on a fresh file with the same table."""
    Store(str(path)).close()
    batches = [
        [row for trial in range(first, first + COHORT) for row in rows.points(trial, curve)]
        for first in range(0, cohorts * COHORT, COHORT)
    ]
    marks = ", ".join("?" for _ in rows.POINT)
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("pragma synchronous = normal")
        began = time.perf_counter()
        for batch in batches:
            connection.execute("begin immediate")
            connection.executemany(f"insert into curves ({', '.join(rows.POINT)}) values ({marks})", batch)
            connection.execute("commit")
        return sum(map(len, batches)) / (time.perf_counter() - began)


def storing(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Curve rows a second of both ways, in turn."""
    ways: dict[str, Callable[[Path, int, tuple[Point, ...]], float]] = {
        "Store.store": through_store,
        "plain sqlite3": through_sqlite3,
    }
    found: dict[str, Any] = {}
    for points in (28, 100):
        curve = tuple(Point(1 + 10 * at, 1 / (1 + at), 0.9, 1 / (2 + at), 0.89) for at in range(points))

        def measure(name: str, number: int, curve: tuple[Point, ...] = curve) -> float:
            return ways[name](folder / f"{name} {len(curve)} {number}.db", sizes.cohorts, curve)

        rates = interleaved(ways, sizes.rounds, measure)
        found[f"{points} points"] = {name: summary(values) for name, values in rates.items()}
    return found


@dataclass(frozen=True)
class Ended:
    """What a process took."""

    seconds: float
    processor_seconds: float
    peak_mib: float


LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(process.returncode)
"""
"""A process counts the memory of the one that starts it as its own peak, so a small one starts it."""


def ran(*arguments: str) -> Ended:
    """Run Python with these arguments."""
    command = [sys.executable, "-S", "-c", LAUNCHER, sys.executable, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, processor_seconds, peak = map(float, ended.stdout.split())
    return Ended(seconds, processor_seconds, peak / (2**20 if sys.platform == "darwin" else 2**10))


def commands(rounds: int, *all_arguments: tuple[str, ...]) -> dict[str, Any]:
    """Whole processes in turn, by what comes after `python`; one round before the first is not counted."""
    ends = interleaved(all_arguments, rounds + 1, lambda arguments, _: ran(*arguments))
    return {
        " ".join(arguments[1:2] if arguments[0] == "-c" else arguments[2:3]): {
            "seconds": summary([end.seconds for end in ended]),
            "processor_seconds": summary([end.processor_seconds for end in ended]),
            "peak_mib": max(end.peak_mib for end in ended),
        }
        for arguments, (_, *ended) in ends.items()
    }


def reading(sizes: Sizes, folder: Path) -> list[dict[str, Any]]:
    """Report and status on each database."""
    found = []
    for trials, points, rounds in sizes.databases:
        path = folder / f"{trials}.db"
        curve_rows = generate(path, trials, points)
        took = commands(
            rounds,
            ("-m", "bnexp", "report", "--db", str(path)),
            ("-m", "bnexp", "status", "--db", str(path)),
        )
        found.append(
            {"trials": trials, "rounds": rounds, "curve_rows": curve_rows, "mib": path.stat().st_size / 2**20, **took}
        )
        path.unlink()
    return found


def starting(sizes: Sizes) -> dict[str, Any]:
    """The processes that do next to nothing, and what each imports that is slow to import."""
    took = commands(sizes.rounds, ("-c", "pass"), ("-c", "import bnexp.cli"), ("-m", "bnexp", "--help"))
    imported = {}
    for name, modules in {
        "--help": "bnexp.cli",
        "status": "bnexp.cli, bnexp.db.results, bnexp.reports.screens",
        "report": "bnexp.cli, bnexp.claims.report, bnexp.reports.formats",
    }.items():
        script = f"import sys, {modules}; print(*(name for name in {SLOW_IMPORTS!r} if name in sys.modules))"
        ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        imported[name] = ended.stdout.split()
    return {**took, "imported": imported, "torch_is_imported": any("torch" in names for names in imported.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller databases and fewer rounds")
    parser.add_argument("--folder", type=Path, help="where to put the databases meanwhile (3 GiB)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "storage.json")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    record: dict[str, Any] = {**describe(), "quick": options.quick, "rounds": sizes.rounds}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        record["curve_rows_per_second"] = storing(sizes, Path(folder))
        for points, ways in record["curve_rows_per_second"].items():
            for name, rate in ways.items():
                print(f"{name}, {points}: {shown(rate, ',.0f')} curve rows/s")
        record["starting"] = starting(sizes)
        record["databases"] = reading(sizes, Path(folder))
    for what, took in [
        ("", record["starting"]),
        *((f"{one['trials']:,} trials: ", one) for one in record["databases"]),
    ]:
        for name, values in took.items():
            if isinstance(values, dict) and "seconds" in values:
                print(
                    f"{what}{name}: {shown(values['seconds'], '.2f')} s, "
                    f"processor {values['processor_seconds']['median']:.2f} s, {values['peak_mib']:,.0f} MiB"
                )
    print("torch is imported" if record["starting"]["torch_is_imported"] else "torch is not imported by any of them")
    write(options.output, record)


def shown(rate: dict[str, Any], form: str) -> str:
    return f"median {rate['median']:{form}} [{rate['min']:{form}}, {rate['max']:{form}}]"


if __name__ == "__main__":
    main()
