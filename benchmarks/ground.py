"""The ground on which runs are killed: a folder with 64 cells to train, and what has come of a run there."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CELLS = 64
EXPERIMENT = """
experiments:
  faults:
    about: Four cohorts of sixteen cells, of which four diverge
    model: {name: mlp, hidden: [20, 20]}
    steps: 1500
    eval_every: 250
    probes: [moments]
    factors:
      norm: [none, batch]
      nonlinearity: [relu, tanh]
      lr_multiplier: [1, 10, 1000, 1e38]
    seeds: 4
"""
PATIENCE = 300
"""Seconds, after which a run that has not ended counts as hanging."""

RESULT = (
    "select trial_key, status, diverged_at_step, train_loss, train_accuracy, validation_loss, validation_accuracy, "
    "test_loss, test_accuracy, best_validation_accuracy, trained, nonfinite from trial_results order by 1"
)
CURVES = "select * from learning_curves order by 1, 2"
PROBES = "select * from probe_values order by 1, 2, 3, 4"
ZOMBIES = (
    "select (select count(*) from trials where status in ('running', 'pending')) + "
    "(select count(*) from cohorts where status <> 'done') + (select count(*) from attempts where outcome is null)"
)
TWICE = (
    "select count(*) from (select trial_id from attempts where outcome in ('finished', 'diverged') "
    "group by 1 having count(*) > 1) twice"
)
RESUMED = "select count(*) from attempts where resumed_at_step is not null and outcome in ('finished', 'diverged')"


CLOCK = "clock"
SHIFTED = """
import pathlib
import time

system, ahead = time.time, pathlib.Path(__file__).with_name("ahead")
time.time = lambda: system() + float(ahead.read_text())
"""

Content = dict[str, list[tuple[Any, ...]]]
"""Everything that was measured, by trial key."""


@dataclass
class Round:
    """What one round has come to."""

    kind: str
    faults: int = 0
    """How often something was done to a run."""
    cells: int = 0
    """Cells with exactly one result, ended by exactly one attempt."""
    equal: int = 0
    """Cells whose every number, point of the curve and probe is that of the undisturbed run."""
    zombies: int = 0
    """Trials, cohorts and attempts that have no end, and processes that should have ended."""
    resumed: int = 0
    """Cells that went on from a checkpoint."""
    complaints: list[str] = field(default_factory=list)
    """Exit codes and messages that should not be."""

    @property
    def lost(self) -> bool:
        return bool(self.cells < CELLS or self.equal < CELLS or self.zombies or self.complaints)


class Ground:
    """A folder in which `faults` is run on a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "bnexp.db"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "experiments.yaml").write_text(EXPERIMENT)

    def start(self, *options: str, **given: Any) -> "subprocess.Popen[bytes]":
        """A run that goes on meanwhile, in a process group of its own; what it says goes to the file `messages`."""
        command = [sys.executable, "-m", "bnexp", "run", "faults", *options]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BNEXP_")}
        if (self.folder / CLOCK).exists():
            environment["PYTHONPATH"] = os.pathsep.join([str(self.folder / CLOCK), environment.get("PYTHONPATH", "")])
        with (self.folder / "messages").open("ab") as messages:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stderr=messages,
                start_new_session=True,
                preexec_fn=_hear_signals,
                **given,
            )

    def set_clock(self, seconds: float) -> None:
        """Let the clock of all runs here be so many seconds ahead, from now on. (A module that Python imports by itself
        when it starts; those that have started before a clock was first set have the system's.)"""
        (self.folder / CLOCK).mkdir(exist_ok=True)
        (self.folder / CLOCK / "ahead").write_text(str(seconds))
        (self.folder / CLOCK / "sitecustomize.py").write_text(SHIFTED)

    def messages(self) -> str:
        return (self.folder / "messages").read_text(errors="replace")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            return connection.execute(query).fetchall()

    def content(self) -> Content:
        """By trial key, everything that was measured of it."""
        found: Content = {}
        for query in (RESULT, CURVES, PROBES):
            for row in self.rows(query):
                found.setdefault(row[0], []).append(row)
        return found


def _hear_signals() -> None:
    """Whoever started us may have had them ignored, as nohup does, and a run would stay so."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def workers_of(process: int) -> list[int]:
    """The worker processes of a run, by their numbers."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def still_there(processes: list[int], seconds: float = 10.0) -> int:
    """How many of these processes have not ended within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = [number for number in processes if _runs(number)]
        if not left:
            return 0
        time.sleep(0.05)
    return len(left)


def _runs(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ended(process: "subprocess.Popen[bytes]", round: Round, *expected: int) -> None:
    """Wait for a run to end, and complain where it does not, or otherwise than expected."""
    try:
        code = process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        round.complaints.append("it hung")
    else:
        if code not in expected:
            round.complaints.append(f"exit code {code}")


def undisturbed_run(folder: Path) -> tuple[float, Content]:
    """Seconds that it takes, and everything that it measures."""
    ground, round = Ground(folder), Round("undisturbed")
    began = time.monotonic()
    ended(ground.start(), round, 0)
    seconds = time.monotonic() - began
    content = ground.content()
    if round.complaints or len(content) != CELLS:
        raise SystemExit(f"the undisturbed run failed: {round.complaints} {ground.messages()}")
    return seconds, content
