"""Runs that are really killed, starved, locked out and frozen: nothing lost, nothing twice, and a sentence that says
what happened. The long loop is `benchmarks/faults.py`."""

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ground as grounds
from benchmarks.faults import KINDS, play
from benchmarks.faults_table import PART, STORED, render
from benchmarks.ground import CELLS, Content, Ground, Round, workers_of
from tests.conftest import TINY, environment
from tests.test_run import rows, wait_until_training

RUN = [sys.executable, "-m", "bnexp"]


def bnexp(folder: Path, *arguments: str, **given: Any) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, which must be no traceback."""
    ended = subprocess.run(
        [*RUN, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, **given
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experiments.yaml").write_text(TINY)
    return tmp_path


# The loop of benchmarks/faults.py, shortened


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("SIGKILL")])
def test_whatever_happens_each_cell_has_one_result_and_the_same(
    tmp_path: Path, undisturbed_run: tuple[float, Content], kind: str
) -> None:
    found = play(kind, tmp_path / "run", 0, *undisturbed_run)
    assert found.faults > 0 or kind == "checkpoints damaged"
    assert (found.cells, found.equal, found.zombies, found.complaints) == (CELLS, CELLS, 0, [])


def test_a_killed_run_loses_nothing_and_goes_on_within_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed as soon as there is a checkpoint."""
    smaller = grounds.EXPERIMENT.replace("nonlinearity: [relu, tanh]", "nonlinearity: [relu]")
    monkeypatch.setattr(grounds, "EXPERIMENT", smaller.replace("[1, 10, 1000, 1e38]", "[1]"))
    whole, killed = Ground(tmp_path / "whole"), Ground(tmp_path / "killed")
    done = Round("")
    grounds.ended(whole.start(), done, 0)
    process = killed.start()
    deadline = time.monotonic() + 60
    kept = "select count(*) from cohorts where checkpoint is not null"
    while not list(killed.folder.glob("bnexp.db.checkpoints/*.safetensors")) or killed.rows(kept) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = workers_of(process.pid)
    process.kill()
    process.wait()
    assert workers and grounds.still_there(workers) == 0, "its workers ended with it"
    grounds.ended(killed.start(), done, 0)
    assert killed.content() == whole.content() and len(whole.content()) == 8
    [(resumed,)], [(twice,)], [(zombies,)] = map(killed.rows, (grounds.RESUMED, grounds.TWICE, grounds.ZOMBIES))
    assert resumed > 0 and (twice, zombies, done.complaints) == (0, 0, [])
    assert not (killed.folder / "bnexp.db.checkpoints").exists(), "what is done needs no checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_it_at_once_and_it_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    ground = Ground(tmp_path)
    process = ground.start()
    wait_until_training(ground.folder)
    workers = workers_of(process.pid)
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=30) == 130 and time.monotonic() - began < 10
    assert "`bnexp run faults` again" in " ".join(ground.messages().split())
    assert grounds.still_there(workers) == 0
    assert ground.rows("select count(*) from cohorts where status = 'running'") == [(0,)]
    assert ground.rows("select count(*) from attempts where outcome is null") == [(0,)]


STOPPED_IN_GENERATED_CODE = """
import sys
import bnexp.stages
from bnexp.cli import main

stop = f"import os, time; os.kill(os.getpid(), {sys.argv.pop(1)}); time.sleep(10)"
bnexp.stages.Course.go = lambda *_: exec(stop)
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heard_while_code_runs_that_was_made_from_a_string(folder: Path, number: signal.Signals) -> None:
    """There Python by itself would end with SIGINT, though the exception was caught."""
    (folder / "stopped.py").write_text(STOPPED_IN_GENERATED_CODE)
    command = [sys.executable, "-m", "stopped", str(int(number)), "run", "tiny"]
    ended = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 130 and "`bnexp run tiny` again" in " ".join(ended.stderr.split()), ended


@pytest.mark.slow
def test_ctrl_c_is_heard_while_another_program_holds_the_lock(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    process = ground.start("--workers", "1")
    wait_until_training(ground.folder)
    connection = sqlite3.connect(ground.database, timeout=60, isolation_level=None)
    connection.execute("begin exclusive")
    time.sleep(15)  # it waits for the lock by then, to renew its lease
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130 and time.monotonic() - began < 15
    connection.execute("rollback")
    connection.close()
    done = Round("")
    grounds.ended(ground.start(), done, 0)
    assert done.complaints == [] and ground.rows(grounds.ZOMBIES) == [(0,)]


@pytest.mark.slow
def test_a_run_ends_though_its_worker_is_frozen(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    process = ground.start("--workers", "1")
    wait_until_training(ground.folder)
    workers = workers_of(process.pid)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 130 and grounds.still_there(workers) == 0
    assert ground.rows("select count(*) from cohorts where status = 'running'") == [(0,)]


# Disks


def _limit_files(size: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.slow
def test_a_database_that_may_not_grow_says_so_and_keeps_what_it_has(folder: Path) -> None:
    """A limit to the size of files stands for a full disk."""
    assert bnexp(folder, "run", "overlap", "--workers", "1").returncode == 0
    before = rows(folder, "select * from trial_results order by trial_key")
    size = (folder / "bnexp.db").stat().st_size
    full = bnexp(folder, "run", "tiny", "--workers", "1", preexec_fn=_limit_files(size))
    assert full.returncode == 1
    assert re.search(r"Error: database .*bnexp\.db: (disk I/O error|database or disk is full)", full.stderr), (
        full.stderr
    )
    assert set(before) <= set(rows(folder, "select * from trial_results"))
    assert rows(folder, "pragma integrity_check") == [("ok",)]
    assert bnexp(folder, "run", "tiny", "--workers", "1").returncode == 0
    assert rows(folder, "select count(*) from trials where status in ('finished', 'diverged')") == [(27,)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_sentence_and_room_lets_it_go_on(folder: Path, small_disk: Path) -> None:
    database = str(small_disk / "bnexp.db")
    arguments = ["run", "tiny", "--workers", "1", "--db", database]
    (small_disk / "ballast").write_bytes(bytes(700_000))
    full = bnexp(folder, *arguments, "--seeds", "60")
    assert full.returncode == 1 and "disk is full" in full.stderr, full.stderr
    assert len(full.stderr.strip().splitlines()[-1]) < 200
    (small_disk / "ballast").unlink()
    assert bnexp(folder, *arguments).returncode == 0
    with sqlite3.connect(database) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute(
            "select count(*) from trials where status in ('finished', 'diverged')"
        ).fetchone() >= (24,)


@pytest.mark.slow
def test_where_checkpoints_find_no_room_the_run_goes_on_without(tmp_path: Path, small_disk: Path) -> None:
    """Cohorts of more than a megabyte."""
    text = "experiments: {wide: {model: {hidden: [200, 200]}, norm: batch, steps: 700, seeds: 16}}"
    (tmp_path / "experiments.yaml").write_text(text)
    ended = bnexp(tmp_path, "run", "wide", "--workers", "1", "--checkpoints", str(small_disk / "kept"))
    assert ended.returncode == 0, ended.stderr
    said = " ".join(ended.stderr.split())
    assert said.count("cannot be written") == 1 and "No space left on device" in said
    assert rows(tmp_path, "select count(*) from trials where status = 'finished'") == [(16,)]


def _without_privileges() -> None:
    """Let the permissions of files hold for root too."""
    drop_from_bounding_set = 24
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


@pytest.mark.slow
def test_a_folder_or_file_that_is_read_only(folder: Path) -> None:
    assert bnexp(folder, "run", "overlap", "--workers", "1").returncode == 0
    kept = folder / "kept"
    kept.mkdir()
    shutil.copy(folder / "bnexp.db", kept / "bnexp.db")
    kept.chmod(0o555)
    (kept / "bnexp.db").chmod(0o444)
    arguments = {"preexec_fn": _without_privileges}
    refused = bnexp(folder, "run", "overlap", "--db", "kept/bnexp.db", **arguments)
    assert refused.returncode == 2 and "kept/bnexp.db is not writable" in refused.stderr
    refused = bnexp(folder, "run", "overlap", "--db", "kept/new.db", **arguments)
    assert refused.returncode == 2 and "kept is not writable" in refused.stderr
    for command in ("status", "report", "query select/**/1"):
        assert bnexp(folder, *command.split(), "--db", "kept/bnexp.db", **arguments).returncode == 0, command
    kept.chmod(0o755)


@pytest.mark.slow
def test_a_truncated_database(folder: Path) -> None:
    assert bnexp(folder, "run", "overlap", "--workers", "1").returncode == 0
    with sqlite3.connect(folder / "bnexp.db") as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    content = (folder / "bnexp.db").read_bytes()
    for size in (10, 4096, len(content) // 2):
        (folder / "bnexp.db").write_bytes(content[:size])
        for command in ("report", "run overlap --workers 1"):
            ended = bnexp(folder, *command.split())
            assert ended.returncode in (0, 1) and len(ended.stderr.splitlines()) < 5, (size, command, ended.stderr)
            if ended.returncode:
                assert "database" in ended.stderr


# Memory

OUT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from tests.test_faults import cohort_of, outcomes_of
before = outcomes_of(cohort_of(2))  # libraries take what they need first
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
room = int(status["VmSize"].split()[0]) * 1024 + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (room, room))
print(outcomes_of(cohort_of(96)))
"""


def cohort_of(seeds: int) -> list[Any]:
    from tests.cohorts import trial

    settings = {"model": {"hidden": [150, 150]}, "norm": "batch", "steps": 20, "eval_every": 10}
    return [trial(settings, seed=seed) for seed in range(seeds)]


def outcomes_of(trials: list[Any]) -> tuple[int, list[str]]:
    """How many programs it took, and every number."""
    from bnexp.records import Outcome, Progress
    from tests.cohorts import records

    told = records(trials)
    ended = sorted((one for one in told if isinstance(one, Outcome)), key=lambda one: one.slot)
    return sum(isinstance(one, Progress) and one.step == 20 for one in told), [str(one) for one in ended]


@pytest.mark.slow
def test_a_cohort_that_memory_does_not_hold_is_halved_and_the_numbers_stay(tmp_path: Path) -> None:
    """In a process whose address space ends while the cohort is made or trained."""

    def run(room: int) -> tuple[int, list[str]]:
        command = [sys.executable, "-c", OUT_OF_MEMORY, str(room)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1])
        assert ended.returncode == 0, ended.stderr
        found: tuple[int, list[str]] = eval(ended.stdout)
        return found

    programs, enough = run(8 << 30)
    halves, short = run(90 << 20)
    assert programs == 1 and halves > 1
    assert short == enough and len(short) == 96


# The page


def test_the_page_says_what_was_tried() -> None:
    record = json.loads(STORED.read_text())
    assert PART.replaced(PART.path.read_text(), render(record)) == PART.path.read_text(), "benchmarks/faults_table.py"
    killed = sum(len(rounds) for kind, rounds in record["kinds"].items() if kind.startswith("SIGKILL"))
    assert killed >= 100 and record["cells"] == CELLS
    one = next(iter(record["kinds"].values()))
    one[0]["equal"] -= 1
    one[0]["complaints"] = ["it hung"]
    spoilt = render(record)
    assert "In 1 rounds" in spoilt and spoilt != render(json.loads(STORED.read_text()))
