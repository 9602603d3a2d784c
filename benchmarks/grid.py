"""The whole grid, as a person runs it: `bnexp run grid` on a fresh database, everything included."""

import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT

BUSY = """
select sum(busy) from (select max(seconds) * count(*) as busy from attempts group by cohort_id, worker)
"""
"""A trial's `seconds` are its share of its cohort's time until it ended, so the largest share times the trials is the
cohort's whole time: from when a worker got it to when its last result came back."""
TRIALS = "select count(*), sum(coalesce(diverged_at_step, steps)) from trial_results"


def measure_grid(device: str, workers: int) -> dict[str, Any]:
    """Seconds of the command; of the same command when everything is trained (start, reading, expansion, keys,
    enrolment and verdicts); and the share of the workers' time that is not a cohort's training and evaluation:
    `1 - sum of the cohorts' time / (workers * seconds of the command)`, which counts the start and end of the command,
    the start of the processes, and workers that wait for the last cohort."""
    with tempfile.TemporaryDirectory() as name:
        database = Path(name) / "bnexp.db"
        seconds = _run(database, device)
        again = _run(database, device)
        with sqlite3.connect(database) as connection:
            [(busy,)] = connection.execute(BUSY).fetchall()
            [(trials, trial_steps)] = connection.execute(TRIALS).fetchall()
    return {
        "experiment": "grid",
        "trials": trials,
        "trial_steps": trial_steps,
        "workers": workers,
        "seconds": seconds,
        "seconds_when_all_is_trained": again,
        "share_besides_training": 1 - busy / (workers * seconds),
        "trial_steps_per_second": trial_steps / seconds,
    }


def _run(database: Path, device: str) -> float:
    command = [sys.executable, "-m", "bnexp", "run", "grid", "--db", str(database), "--device", device]
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began
