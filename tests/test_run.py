"""`bnexp run` whole: every cell once, with real processes, interrupted and in company."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ground import still_there, workers_of
from tests.attacks import invoke
from tests.conftest import TINY, Bnexp, enroll_impossible, environment

RESULT = "trial_key, status, diverged_at_step, train_loss, test_accuracy, best_validation_accuracy"


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "bnexp.db") as connection:
        return connection.execute(query).fetchall()


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A run that goes on while the test does; its messages go to the file `messages`."""
    command = [sys.executable, "-m", "bnexp", "run", *arguments]
    with (folder / "messages").open("a") as messages:
        return subprocess.Popen(command, cwd=folder, env=environment(), stderr=messages, text=True)


def wait_until_training(folder: Path) -> None:
    """Until a trial is running in the folder's database."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        made = (folder / "bnexp.db").exists() and rows(folder, "select 1 from sqlite_master where name = 'attempts'")
        if made and rows(folder, "select 1 from trials where status = 'running'"):
            return
        time.sleep(0.02)
    pytest.fail("no trial began to train")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experiments.yaml").write_text(TINY)
    return tmp_path


def test_every_cell_has_one_result(tiny: Path) -> None:
    assert rows(tiny, "select norm, lr_multiplier, status, count(*) from trial_results group by 1, 2, 3") == [
        ("batch", 1.0, "finished", 6),
        ("batch", 1e38, "diverged", 6),
        ("none", 1.0, "finished", 6),
        ("none", 1e38, "diverged", 6),
    ]
    assert rows(tiny, "select count(*), count(distinct trial_id), count(outcome) from attempts") == [(24, 24, 24)]
    finished = "select distinct count(*) from learning_curves join trial_results using (trial_key) "
    assert rows(tiny, finished + "where status = 'finished' group by trial_key") == [(9,)]
    assert rows(tiny, "select distinct device like 'cpu%', threads, ended_at >= started_at from attempts") == [
        (1, 1, 1)
    ]


def test_the_readmes_query_answers(tiny: Path) -> None:
    query = "select norm, nonlinearity, avg(scored_accuracy) from trial_results group by 1, 2"
    answer = rows(tiny, query)
    assert [row[:2] for row in answer] == [("batch", "identity"), ("none", "identity")]
    assert all(0.1 < row[2] < 1 for row in answer)


def test_verdicts_are_stored_for_the_claims_about_it(tiny: Path) -> None:
    assert rows(tiny, "select experiment, claim, verdict, n from claim_verdicts") == [
        ("tiny", "better", "inconclusive", 6)
    ]


def test_again_trains_nothing_and_an_overlap_only_what_is_new(folder: Path, bnexp: Bnexp) -> None:
    assert bnexp("run", "tiny", "--seeds", "3", "--workers", "1", cwd=folder).code == 0
    before = rows(folder, f"select {RESULT} from trial_results")
    again = bnexp("run", "tiny", "--seeds", "3", cwd=folder)
    assert (again.code, again.out) == (0, "")
    assert "nothing is missing" in again.err
    assert rows(folder, "select count(*) from attempts") == [(12,)]
    assert bnexp("run", "overlap", "--workers", "1", cwd=folder).code == 0
    assert rows(folder, "select count(*) from attempts") == [(15,)], "three of its six trials were there"
    assert set(before) <= set(rows(folder, f"select {RESULT} from trial_results"))


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_results(folder: Path, tmp_path: Path, bnexp: Bnexp) -> None:
    """Ctrl-C stops at once, says how to go on, and leaves nothing running."""
    arguments = ["tiny", "--workers", "1", "--seeds", "3", "--set", "steps=1500"]
    process = start(folder, *arguments)
    wait_until_training(folder)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    message = " ".join((folder / "messages").read_text().split())
    assert f"`bnexp run {' '.join(arguments)}` again" in message and "Traceback" not in message
    assert rows(folder, "select count(*) from cohorts where status = 'running'") == [(0,)]
    assert bnexp("run", *arguments, cwd=folder).code == 0
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert bnexp("run", *arguments, "--file", str(folder / "experiments.yaml"), cwd=undisturbed).code == 0
    query = f"select {RESULT} from trial_results order by trial_key"
    assert rows(folder, query) == rows(undisturbed, query)


@pytest.mark.slow
def test_two_runs_at_once_share_the_work(folder: Path, tiny: Path) -> None:
    processes = [start(folder, "tiny", "--workers", "1") for _ in range(2)]
    for process in processes:
        assert process.wait(timeout=120) == 0, (folder / "messages").read_text()
    assert rows(folder, "select count(*), count(distinct trial_id) from attempts") == [(24, 24)]
    query = f"select {RESULT} from trial_results order by trial_key"
    assert rows(folder, query) == rows(tiny, query)


@pytest.mark.slow
def test_a_killed_run_is_taken_over_at_once(folder: Path, bnexp: Bnexp) -> None:
    process = start(folder, "tiny", "--workers", "1", "--set", "steps=1000000")
    wait_until_training(folder)
    workers = workers_of(process.pid)
    process.kill()
    process.wait()
    with sqlite3.connect(folder / "bnexp.db") as connection:
        connection.execute("update trials set steps = 60, config = json_set(config, '$.steps', 60)")
    began = time.monotonic()
    ended = bnexp("run", "tiny", "--workers", "1", "--set", "steps=1000000", cwd=folder)
    assert ended.code == 0, ended.err
    assert time.monotonic() - began < 40, "it did not wait for the lease to run out"
    assert rows(folder, "select distinct status from trials where status in ('pending', 'running')") == []
    assert workers and still_there(workers) == 0, "its workers ended with it"


def test_a_trial_that_fails_is_tried_three_times_and_the_others_go_on(folder: Path, bnexp: Bnexp) -> None:
    (folder / "experiments.yaml").write_text(
        TINY.replace("      lr_multiplier: [1, 1e38]\n", "      batch_size: [60, 61]\n").split("claims:")[0]
    )
    enroll_impossible(folder, "tiny", seeds="2", where="batch_size = 61")
    ended = bnexp("run", "tiny", "--seeds", "2", "--workers", "1", cwd=folder)
    assert ended.code == 1
    assert "batch_size: 5000 is more than the 1077 training examples" in ended.err
    assert "4 finished, 0 diverged, 4 failed" in ended.err
    tried = "select batch_size, status, count(*) from attempts join trials on trials.id = trial_id group by 1, 2"
    assert rows(folder, tried) == [(60, "finished", 4), (5000, "failed", 3 * 4)]


IMPOSSIBLE = {
    "batch_size": ("[60, 5000]", "batch_size: 5000 is more than the 1077 training examples"),
    "norm": ("[none, {name: group, groups: 3}]", "norm.groups: 3 groups do not divide the 8 units"),
    "norm.per_activation": (
        "[0, 1]",
        "norm.per_activation: 1 is more than the 0 convolutional layers or modules of mlp",
    ),
}


@pytest.mark.parametrize("field", IMPOSSIBLE)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_what_cannot_train_is_refused_before_anything_does(folder: Path, command: str, field: str) -> None:
    levels, why = IMPOSSIBLE[field]
    text = TINY.split("  overlap:")[0].replace("      norm: [none, batch]\n", "").replace("lr_multiplier", field)
    text = text.replace("[1, 1e38]", levels)
    if field != "norm":
        text = text.replace("nonlinearity", "norm: batch\n    nonlinearity", 1)
    (folder / "experiments.yaml").write_text(text)
    ended = invoke(command, "tiny", "--file", folder / "experiments.yaml", "--db", folder / "bnexp.db")
    assert ended.code == 2 and ended.err.startswith("Error: tiny, ")
    assert why in ended.err and "exclude" in ended.err and not (folder / "bnexp.db").exists()


@pytest.mark.slow
def test_a_worker_that_dies_leaves_nothing_behind(folder: Path, bnexp: Bnexp, tmp_path: Path) -> None:
    """Another takes its place, and its cohort is tried again, to the same numbers."""
    arguments = ["tiny", "--workers", "1", "--set", "steps=3000"]
    process = start(folder, *arguments)
    wait_until_training(folder)
    [victim] = workers_of(process.pid)
    os.kill(victim, signal.SIGKILL)
    assert process.wait(timeout=120) == 0
    said = " ".join((folder / "messages").read_text().split())
    [(lost,)] = rows(folder, "select count(*) from attempts where outcome = 'failed'")
    assert 6 <= lost <= 12, "of a cohort of 12, of which 6 diverge at once, told one by one before the blow or not"
    assert f"{lost} trials to be tried again: the worker process died (exit code -9)" in said
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert bnexp("run", *arguments, "--file", str(folder / "experiments.yaml"), cwd=undisturbed).code == 0
    query = f"select {RESULT} from trial_results order by trial_key"
    assert rows(folder, query) == rows(undisturbed, query)
