"""What a timing was taken on: stands in every record of `benchmarks/results`."""

import json
import os
import platform
import sqlite3
from pathlib import Path
from typing import Any

from bnexp.provenance import this_worker

ROOT = Path(__file__).parent.parent


def origin() -> dict[str, Any]:
    """Processor, cores, versions and commit; and how busy the machine is with other things."""
    worker = this_worker()
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "python": worker.python_version,
        "sqlite": sqlite3.sqlite_version,
        "bnexp": worker.bnexp_version,
        "commit": worker.git_commit,
    }


def processor() -> str:
    """The model's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write(path: Path, record: dict[str, Any]) -> None:
    """Store a record as JSON."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")
