"""`bnexp run --executor ray`, on clusters of this machine: nodes that are lost, drivers that are killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bnexp as package
from benchmarks import ground as grounds
from benchmarks.ground import CELLS, Content, Ground, Round
from bnexp.executors.raycluster import ADDRESS, PASSED_ON, QUIET
from bnexp.models.choosing import FORCED
from tests.conftest import TINY, Bnexp, environment
from tests.test_run import rows

RESULT = "trial_key, status, diverged_at_step, train_loss, test_accuracy, best_validation_accuracy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experiments.yaml").write_text(TINY)
    return tmp_path


def test_what_workers_must_have_of_the_environment_has_its_name() -> None:
    assert FORCED in PASSED_ON


def test_without_ray_it_says_what_to_install(
    folder: Path, bnexp_process: Bnexp, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "absent").mkdir()
    (folder / "absent" / "ray.py").write_text("raise ImportError('No module named ray')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder / "absent"), os.environ.get("PYTHONPATH", "")]))
    ended = bnexp_process("run", "tiny", "--executor", "ray", cwd=folder)
    assert ended.code == 2
    assert ended.err == (
        "Error: --executor ray: Ray is not installed; pip install 'bnexp[ray]', or '.[ray]' in a clone\n"
    )
    assert not (folder / "bnexp.db").exists()


@pytest.mark.slow
def test_an_address_of_another_kind_is_refused(folder: Path, bnexp: Bnexp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "ray://127.0.0.1:10001")
    ended = bnexp("run", "tiny", "--executor", "ray", cwd=folder)
    assert ended.code == 2 and "such as 10.0.0.1:6379, or auto" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("how", ["closed", "silent"])
def test_a_cluster_that_does_not_answer_is_one_line(
    folder: Path, bnexp: Bnexp, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if how == "closed":
            server.close()
        monkeypatch.setenv(ADDRESS, f"127.0.0.1:{port}")
        began = time.monotonic()
        ended = bnexp("run", "tiny", "--executor", "ray", cwd=folder)
    assert ended.code == 1 and time.monotonic() - began < 25
    said = " ".join(ended.err.split())
    assert said.count("Error:") == 1 and f"the Ray cluster at {ADDRESS}=127.0.0.1:{port}" in said, said


@pytest.mark.slow
def test_a_cluster_of_this_machine_trains_to_the_same_numbers(folder: Path, tiny: Path, bnexp: Bnexp) -> None:
    """And what is to be kept arrives."""
    ended = bnexp("run", "tiny", "--executor", "ray", "--workers", "2", "--set", "keep=[predictions]", cwd=folder)
    assert ended.code == 0, ended.err
    query = f"select {RESULT} from trial_results order by trial_key"
    assert rows(folder, query) == rows(tiny, query)
    assert rows(folder, grounds.CURVES) == rows(tiny, grounds.CURVES)
    assert rows(folder, "select count(*), count(distinct trial_id), count(outcome) from attempts") == [(24, 24, 24)]
    assert len(list((folder / "bnexp.db.files").glob("*.safetensors"))) == 12
    checked = bnexp("db", "check", cwd=folder)
    assert checked.code == 0, checked.out + checked.err
    assert "ray" not in ended.err.lower(), "it says nothing in the person's terminal"


OWN = """
import numpy as np
from torch import nn

def stripes():
    labels = np.arange(600) % 4
    images = np.random.default_rng(3).integers(0, 60, (600, 6, 6)).astype(np.uint8)
    images[np.arange(600), labels] += 150
    return images[:500], labels[:500], images[500:], labels[500:]

class MaxAbs(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.scale = nn.Linear(units, units)

    def forward(self, x):
        return self.scale(x / (x.abs().amax(1, keepdim=True) + 1e-3))
"""
OF_ONES_OWN = """
experiments:
  e:
    steps: 60
    eval_every: 20
    seeds: 2
    dataset: "ours:stripes"
    model: {name: mlp, hidden: [8]}
    factors: {norm: [none, "ours:MaxAbs"]}
"""


@pytest.mark.slow
def test_datasets_and_layers_of_ones_own_are_found_by_its_workers(tmp_path: Path, bnexp: Bnexp) -> None:
    found = []
    for name, given in (("ray", ["--executor", "ray"]), ("here", [])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ours.py").write_text(OWN)
        (tmp_path / name / "experiments.yaml").write_text(OF_ONES_OWN)
        ended = bnexp("run", "e", "--device", "cpu", "--workers", "1", *given, cwd=tmp_path / name)
        assert ended.code == 0, ended.err
        found.append(rows(tmp_path / name, grounds.CURVES))
    on_ray, here = found
    assert len({row[0] for row in here}) == 4 and on_ray == here


# Clusters of several nodes.


@pytest.fixture
def undisturbed(undisturbed_run: tuple[float, Content]) -> Content:
    return undisturbed_run[1]


MakeCluster = Callable[..., Any]


@pytest.fixture
def make_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeCluster]:
    """Start a cluster of nodes with so many CPUs, to which runs then connect."""
    made = []

    def make(*cpus: int, **given: Any) -> Any:
        from ray.cluster_utils import Cluster

        for name, value in QUIET.items():
            monkeypatch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus[0], "include_dashboard": False})
        made.append(cluster)
        for count in cpus[1:]:
            cluster.add_node(num_cpus=count, **given)
        monkeypatch.setenv(ADDRESS, cluster.address)
        return cluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray, about itself
        yield make
        for cluster in made:
            cluster.shutdown()


def wait_until(ground: Ground, query: str, at_least: int) -> None:
    """Until what `query` counts in the run's database is so much."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if ground.database.exists() and ground.rows("select 1 from sqlite_master where name = 'attempts'"):
            [(count,)] = ground.rows(query)
            if count >= at_least:
                return
        time.sleep(0.02)
    pytest.fail(f"{query}: never {at_least}; {ground.messages()}")


BEGUN = "select count(distinct cohort_id) from attempts where device is not null"
KEPT = "select count(*) from cohorts where checkpoint is not null"
ENDED = "select count(*) from attempts where outcome in ('finished', 'diverged')"


def check(ground: Ground, undisturbed: Content) -> None:
    """Every cell has one result, and the same as locally."""
    assert ground.rows(ENDED) == [(CELLS,)], ground.messages()
    [(twice,)], [(zombies,)] = map(ground.rows, (grounds.TWICE, grounds.ZOMBIES))
    assert (twice, zombies) == (0, 0)
    assert ground.content() == undisturbed
    assert "Traceback" not in ground.messages()


@pytest.mark.slow
def test_a_node_that_is_lost_costs_nothing_but_time(
    tmp_path: Path, make_cluster: MakeCluster, undisturbed: Content
) -> None:
    cluster = make_cluster(1, 1, 1)
    ground, done = Ground(tmp_path / "run"), Round("")
    with (tmp_path / "printed").open("w") as printed:
        process = ground.start("--executor", "ray", stdout=printed)
    wait_until(ground, BEGUN, 3)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    grounds.ended(process, done, 0)
    assert done.complaints == [], ground.messages()
    check(ground, undisturbed)
    assert ground.rows("select distinct outcome from attempts where outcome not in ('finished', 'diverged')") == [
        ("interrupted",)
    ]
    assert "given back: " in " ".join(ground.messages().split())
    assert (tmp_path / "printed").read_text() == "", "Ray says nothing in the terminal"


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_when_started_again(
    tmp_path: Path, make_cluster: MakeCluster, undisturbed: Content
) -> None:
    make_cluster(1, 1)
    ground, done = Ground(tmp_path / "run"), Round("")
    process = ground.start("--executor", "ray")
    wait_until(ground, KEPT, 1)
    process.kill()
    process.wait()
    grounds.ended(ground.start("--executor", "ray"), done, 0)
    assert done.complaints == [], ground.messages()
    check(ground, undisturbed)
    [(resumed,)] = ground.rows(grounds.RESUMED)
    assert resumed > 0


IDLE = """
import os, time, ray
ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=50)
deadline = time.monotonic() + 20
while (free := ray.available_resources().get("CPU")) != 2.0 and time.monotonic() < deadline:
    time.sleep(0.1)
print(free)
"""


@pytest.mark.slow
def test_ctrl_c_leaves_the_cluster_as_it_was(tmp_path: Path, make_cluster: MakeCluster) -> None:
    make_cluster(1, 1)
    ground = Ground(tmp_path / "run")
    process = ground.start("--executor", "ray")
    wait_until(ground, ENDED, 1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130 and time.monotonic() - began < 10
    assert "Traceback" not in ground.messages() and "`bnexp run faults --executor ray` again" in ground.messages()
    stored = "select count(*) from trials where status in ('finished', 'diverged')"
    [(ended,)], [(kept,)] = map(ground.rows, (ENDED, stored))
    assert ended == kept > 0
    assert ground.rows("select count(*) from cohorts where status = 'running'") == [(0,)]
    free = subprocess.run([sys.executable, "-c", IDLE], capture_output=True, text=True, timeout=60, env=environment())
    assert free.stdout.split() == ["2.0"], free.stderr


BUSY = """
import os, sys, time, ray
ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=50)

@ray.remote(num_cpus=1)
class Holder:
    def hold(self):
        pass

holders = [Holder.remote() for _ in range(2)]
ray.get([holder.hold.remote() for holder in holders])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_cluster_that_is_busy_holds_one_cohort_up(
    tmp_path: Path, make_cluster: MakeCluster, undisturbed: Content
) -> None:
    """Another driver has both CPUs; the run waits in the queue with one cohort, and leaves the others to others."""
    make_cluster(1, 1)
    ground, done = Ground(tmp_path / "run"), Round("")
    piped: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", BUSY], env=environment(), **piped) as busy:
        assert busy.stdout is not None and busy.stdout.readline() == "held\n"
        process = ground.start("--executor", "ray")
        wait_until(ground, "select count(*) from attempts", 1)
        time.sleep(3)  # it looks every half a second
        counts = ground.rows("select status, count(*) from cohorts group by 1 order by 1")
        busy.communicate("")  # it ends, and lets go
    grounds.ended(process, done, 0)
    assert counts == [("pending", 3), ("running", 1)]
    assert done.complaints == [], ground.messages()
    check(ground, undisturbed)


@pytest.mark.slow
def test_a_node_with_another_bnexp_ends_the_run(
    folder: Path, make_cluster: MakeCluster, bnexp: Bnexp, tmp_path: Path
) -> None:
    shutil.copytree(Path(package.__file__).parent, tmp_path / "other" / "bnexp")
    (tmp_path / "other" / "bnexp" / "errors.py").open("a").write("# not the same\n")
    make_cluster(0, 1, env_vars={"PYTHONPATH": str(tmp_path / "other")})
    ended = bnexp("run", "tiny", "--executor", "ray", cwd=folder)
    said = " ".join(ended.err.split())
    assert ended.code == 1 and f"Error: {socket.gethostname()} has bnexp {package.__version__} (" in said, said
    assert f"and this run is bnexp {package.__version__} (" in said
    assert rows(folder, "select count(*) from cohorts where status = 'running'") == [(0,)]
