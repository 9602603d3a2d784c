"""What is shown of runs while they go on: boards, frames, plain lines, and the watch from elsewhere."""

import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.text import Text

from bnexp import judging
from bnexp.budget import Budget
from bnexp.claims.parse import parse_claims
from bnexp.db.results import Results
from bnexp.db.rows import Worker
from bnexp.db.standings import standings
from bnexp.db.store import Store
from bnexp.db.watching import Count, Held, count, held
from bnexp.experiments import load
from bnexp.judging import Judging
from bnexp.records import Standing, Tally, Working
from bnexp.reports import progress as progress_module
from bnexp.reports import watching
from bnexp.reports.board import Board, Space, draw
from bnexp.reports.frame import Frame
from bnexp.reports.progress import Progress, cohort_columns
from bnexp.reports.screen import Screen
from bnexp.reports.watching import Watcher, board, pace
from tests.attacks import invoke
from tests.conftest import TINY, Bnexp, environment
from tests.databases import change, never, of, register, rows, seeds, train
from tests.test_run import start, wait_until_training

CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f]")

COHORTS = [Working(7, 450, 1_000, 36, 30, 6), Working(12, 1_000, 1_000, 48, 48, 0)]
STANDINGS = [
    Standing(1, "grid", "confirm", 7, 10),
    Standing(2, "rates", "tune", 1, 4, failed=1),
    Standing(3, "steps", "confirm", 10, 10, verdicts=(("fewer-steps", "supported"), ("others", "inconclusive"))),
]
DETAILS = "12 diverged, 5,321 trial-steps/s, 2 min 10 s left"


def shown(width: int, height: int, ascii_only: bool = False, standing: Sequence[Standing] = STANDINGS) -> list[str]:
    columns = cohort_columns(COHORTS, ascii_only)
    state = Board(0.25, "312 of 720 trials", DETAILS, columns, standing)
    return [line.plain for line in draw(state, Space(width, height, ascii_only))]


def test_a_board_at_80_columns() -> None:
    assert shown(79, 23) == [
        "━" * 10 + "┄" * 30 + " 312 of 720 trials",
        "12 diverged, 5,321 trial-steps/s, 2 min 10 s left",
        "cohort         step  trials left  diverged",
        "     7    450/1,000        30/36         6  ━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄",
        "    12  1,000/1,000        48/48         0  ━━━━━━━━━━━━━━━━━━━━",
        "grid: 7 of 10 seeds",
        "rates: tuning, 1 of 4 seeds, 1 trial failed",
        "steps: 10 of 10 seeds; fewer-steps supported, others inconclusive",
    ]


def test_a_narrow_board_folds_its_lines_and_drops_columns() -> None:
    assert shown(39, 23, ascii_only=True) == [
        "=====---------------- 312 of 720 trials",
        "12 diverged, 5,321 trial-steps/s, 2 min",
        "10 s left",
        "cohort         step  trials left",
        "     7    450/1,000        30/36",
        "    12  1,000/1,000        48/48",
        "grid: 7 of 10 seeds",
        "rates: tuning, 1 of 4 seeds, 1 trial",
        "failed",
        "steps: 10 of 10 seeds; fewer-steps",
        "supported, others inconclusive",
    ]


def test_a_low_board_says_what_it_leaves_out() -> None:
    head = ["━" * 10 + "┄" * 30 + " 312 of 720 trials", "12 diverged, 5,321 trial-steps/s, 2 min 10 s left"]
    assert shown(79, 4) == [*head, "and 2 more cohorts", "and 3 more experiments"]
    assert shown(79, 7) == [
        *head,
        "cohort         step  trials left  diverged",
        "     7    450/1,000        30/36         6  ━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄",
        "    12  1,000/1,000        48/48         0  ━━━━━━━━━━━━━━━━━━━━",
        "grid: 7 of 10 seeds",
        "and 2 more experiments",
    ]


@pytest.mark.parametrize("width", [1, 5, 20, 39, 79, 199])
@pytest.mark.parametrize("height", [1, 2, 3, 9, 23])
def test_no_board_is_larger_than_its_space(width: int, height: int) -> None:
    many = [Standing(n, f"experiment-{n}-日本語\x1b[2J", "confirm", 3, 10) for n in range(30)]
    for ascii_only in (False, True):
        lines = shown(width, height, ascii_only, [*STANDINGS, *many])
        assert height - 1 <= len(lines) <= height or (width < 79 and 0 < len(lines) <= height)
        assert all(Text(line).cell_len <= width for line in lines)
        assert not any(map(CONTROL.search, lines))
        assert "".join(lines).isascii() or not ascii_only


def test_what_has_begun_is_not_left_out_for_what_has_not() -> None:
    waiting = [Standing(n, f"waiting-{n}", "tune", 0, 4) for n in range(12)]
    lines = shown(79, 12, standing=[*waiting, *STANDINGS])
    assert "grid: 7 of 10 seeds" in lines and lines[-1] == "and 9 more experiments"


class Terminal(io.StringIO):
    """As much of a terminal as a frame needs: what stands in its rows, whose lines are broken anew when it narrows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.row, self.column = [""], 0, 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[\??\d*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", text):
            self._take(part)
        return super().write(text)

    def _take(self, part: str) -> None:
        line = self.rows[self.row]
        if part == "\n":
            self.row, self.column = self.row + 1, 0
            self.rows += [""] * (self.row + 1 - len(self.rows))
        elif part == "\r":
            self.column = 0
        elif part.endswith("A"):
            self.row = max(0, self.row - int(part[2:-1]))
        elif part == "\x1b[K":
            self.rows[self.row] = line[: self.column]
        elif part == "\x1b[J":
            self.rows[self.row :] = [line[: self.column]]
        elif not part.startswith("\x1b"):
            self.rows[self.row] = line[: self.column].ljust(self.column) + part + line[self.column + len(part) :]
            self.column += len(part)

    def narrow(self, width: int) -> None:
        self.rows = [row[at : at + width] for row in self.rows for at in range(0, max(1, len(row)), width)]
        self.row, self.column = len(self.rows) - 1, len(self.rows[-1])


@pytest.fixture
def frame(monkeypatch: pytest.MonkeyPatch) -> tuple[Frame, Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    return Frame(Screen(file=terminal, width=20, height=10, force_terminal=True)), terminal


def test_a_frame_is_drawn_in_its_place_below_what_is_said(frame: tuple[Frame, Terminal]) -> None:
    drawn, terminal = frame
    drawn.say(Text("first"))
    drawn.draw([Text("one"), Text("two"), Text("three")])
    drawn.draw([Text("1"), Text("2")])
    assert terminal.rows == ["first", "1", "2"]
    drawn.say(Text("second"))
    drawn.draw([Text("x" * 19)])
    assert terminal.rows == ["first", "second", "x" * 19]
    drawn.erase()
    assert terminal.rows == ["first", "second", ""]
    drawn.draw([Text("last")])
    drawn.leave()
    drawn.say(Text("end"))
    assert terminal.rows == ["first", "second", "last", "end", ""]
    assert "?25" not in terminal.getvalue(), "the cursor is not hidden"
    assert terminal.getvalue().count("\x1b[?7l") == terminal.getvalue().count("\x1b[?7h") == 4


def test_a_frame_that_a_narrower_terminal_has_broken_goes_whole(frame: tuple[Frame, Terminal]) -> None:
    drawn, terminal = frame
    drawn.say(Text("first"))
    drawn.draw([Text("a" * 19), Text("b" * 12), Text("c")])
    terminal.narrow(8)
    assert len(terminal.rows) == 1 + 3 + 2 + 1 and not drawn.resized
    drawn.console.width = 8
    assert drawn.resized
    drawn.draw([Text("d"), Text("e")])
    assert terminal.rows == ["first", "d", "e"]


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_nothing_is_drawn_where_the_cursor_cannot_be_moved(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    terminal = Terminal()
    drawn = Frame(Screen(file=terminal, width=20, height=10))
    assert not drawn.drawable
    drawn.draw([Text("one")])
    drawn.say(Text("said"))
    assert terminal.getvalue() == "said\n"


def test_a_pipe_gets_a_plain_line_a_minute_and_each_verdict_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    tally = Tally(720, 300, 12, steps=500, total_steps=1_000, cohorts=COHORTS)
    with Progress(["grid"]) as shows:
        shows.begin(tally, tuning=0)
        shows.show(tally)
        tally.standings = STANDINGS
        shows.show(tally)
        shows.printed -= progress_module.LINE_SECONDS
        shows.began -= 10
        shows.show(tally)
        shows.show(tally)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "grid: 720 trials to train",
        "steps: 10 of 10 seeds; fewer-steps supported, others inconclusive",
    ]
    assert lines[2:] == ["312 of 720 trials, 12 diverged, 50 trial-steps/s, 10 s left, 2 cohorts training"]
    assert progress_module.LINE_SECONDS == 60 and not any(map(CONTROL.search, lines))


def test_time_spent_beside_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = Budget(0.01, first=1.0)
    now[0] += 99
    assert not budget.allows()
    now[0] += 2
    assert budget.allows()
    with budget.spending():
        now[0] += 3
    now[0] = 100 + 599
    assert not budget.allows(), "three seconds were spent, and three more are expected"
    now[0] = 100 + 601
    assert budget.allows()


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """`tiny` as it was run, but for its verdicts."""
    for name in ("experiments.yaml", "bnexp.db"):
        shutil.copy(tiny / name, tmp_path)
    change(str(tmp_path / "bnexp.db"), "delete from verdicts")
    return tmp_path


def look(folder: Path, monkeypatch: pytest.MonkeyPatch, written: bool = True) -> list[Standing]:
    monkeypatch.setattr(judging, "FIRST_JUDGED", 0.0)
    store = Store(str(folder / "bnexp.db"))
    watched = Judging(store, [1], parse_claims(load(folder / "experiments.yaml")))
    watched._looking = watched._judging = Budget(1e9, 0.0)
    watched.written |= {1} if written else set()
    found = watched.look()
    store.close()
    return found


def test_what_is_complete_is_judged_while_others_train(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = (("better", "inconclusive"),)
    assert look(folder, monkeypatch) == [Standing(1, "tiny", "confirm", 6, 6, verdicts=verdict)]
    assert rows(str(folder / "bnexp.db"), "select claim, verdict, n from claim_verdicts") == [
        ("better", "inconclusive", 6)
    ]


def test_nothing_is_judged_while_a_trial_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = str(folder / "bnexp.db")
    change(database, "update trials set status = 'running' where id = 1")
    assert look(folder, monkeypatch) == [Standing(1, "tiny", "confirm", 5, 6)]
    assert rows(database, "select * from verdicts") == []


def test_nothing_is_judged_before_all_is_known_to_be_written_down(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may be about to want the second part of its trials."""
    assert look(folder, monkeypatch, written=False) == [Standing(1, "tiny", "confirm", 6, 6)]
    assert rows(str(folder / "bnexp.db"), "select * from verdicts") == []


def test_verdicts_of_an_earlier_run_are_not_shown(tiny: Path, tmp_path: Path) -> None:
    shutil.copy(tiny / "bnexp.db", tmp_path)
    database = str(tmp_path / "bnexp.db")
    assert [standing.verdicts for standing in standings(Results(database), [1])] == [(("better", "inconclusive"),)]
    change(database, "update experiments set last_run_at = '2999-01-01 00:00:00'")
    assert [standing.verdicts for standing in standings(Results(database), [1])] == [()]


def test_what_a_database_tells_of_runs(tmp_path: Path) -> None:
    tells_of_runs(str(tmp_path / "bnexp.db"))


def tells_of_runs(database: str) -> None:
    """Fill an empty database, and see that it tells what has ended, what trains, and what is left."""
    done, other = register(
        database,
        of("done", [*seeds(1, 2, steps=10), *seeds(1, lr_multiplier=1e38, steps=10)]),
        of("other", seeds(1, 2, 3, steps=100, norm="batch")),
    )
    train(database, [done])
    results = Results(database)
    assert held(results) == [] and count(results).unfinished == {other}
    train(database, [other], never, worker=Worker("node:a1:77:5:ff", "node", "0", None, "3"), leave="stay")
    change(database, "update cohorts set step = 40 where status = 'running'")
    [found] = held(results)
    assert found.working == Working(found.working.cohort, 40, 100, 3, 3, 0)
    assert (found.host, found.process) == ("node", "77")
    assert 50 < found.lease <= 60
    counted = count(results)
    assert counted.statuses == {"finished": 2, "diverged": 1, "running": 3}
    assert (counted.taken, counted.left, counted.ended, counted.trials) == (10 + 10 + 7 + 3 * 40, 3 * 60, 3, 6)
    assert standings(results, [done, other]) == [
        Standing(done, "done", "confirm", 2, 2),
        Standing(other, "other", "confirm", 0, 3),
    ]
    results.close()


def tuned(database: str) -> int:
    [number] = register(database, of("tuned", seeds(1, norm="batch"), tuning=seeds(1, 8, norm="batch"), tune="lr"))
    return number


def test_between_the_stages_something_is_left_to_run_unless_tuning_failed(tmp_path: Path) -> None:
    database = str(tmp_path / "bnexp.db")
    number = tuned(database)
    train(database, [number])
    assert count(Results(database)).unfinished == {number}
    assert standings(Results(database), [number]) == [Standing(number, "tuned", "tune", 2, 2)]
    change(database, "update trials set status = 'failed' where seed = 8")
    assert count(Results(database)).unfinished == set()
    assert standings(Results(database), [number])[0].failed == 1


def counted_at(second: float, taken: int, left: int = 600, **statuses: int) -> Count:
    return Count(second, statuses, taken, left, frozenset({1}))


def test_throughput_is_that_between_two_looks() -> None:
    assert pace([counted_at(0, 0), counted_at(20, 100), counted_at(60, 600)]) == 10
    assert pace([counted_at(0, 0), counted_at(5, 100)]) is None, "leases tell steps every ten seconds"
    assert pace([counted_at(0, 600), counted_at(60, 500)]) is None, "what is trained again"


@pytest.mark.parametrize(
    ("width", "table"),
    [
        (39, ["cohort     step  trials left  lease", "     7  450/900        30/36   41 s"]),
        (
            79,
            ["cohort     step  trials left  lease  worker   diverged", "     7  450/900        30/36   41 s  node 77"],
        ),
    ],
)
def test_the_watch_shows_leases_and_workers(width: int, table: list[str]) -> None:
    now = time.monotonic()
    counts = [counted_at(now - 60, 0), counted_at(now, 600, running=36, finished=4, diverged=2)]
    one = Held(Working(7, 450, 900, 36, 30, 6), "node", "77", 41.2)
    state = board(counts, [one], [Standing(1, "grid", "confirm", 7, 10)])
    lines = [line.plain for line in draw(state, Space(width, 23))]
    assert lines[0].endswith("┄ 6 of 42 trials") and " ".join(lines[1:-3]) == (
        "2 diverged, 36 running, 10 trial-steps/s, 1 min 00 s left"
    )
    assert [line[: len(row)] for line, row in zip(lines[-3:-1], table, strict=True)] == table
    assert lines[-1] == "grid: 7 of 10 seeds"
    over = board(counts, [Held(one.working, "node", "77", -3.0)], [])
    assert "   over  node 77" in draw(over, Space(79, 23))[3].plain
    assert "nothing trains now" in board(counts, [], []).details


@pytest.mark.parametrize("worked", [True, False])
def test_the_watch_ends_when_nothing_is_left(
    worked: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it may count no more: that nothing trains is seen at once."""
    database = str(tmp_path / "bnexp.db")
    [number] = register(database, of("e", [*seeds(1, 2), *seeds(1, lr_multiplier=1e38)]))
    train(database, [number], never, leave="stay" if worked else "release")
    monkeypatch.setattr(watching, "COUNTING_SHARE", 0.0 if worked else 1.0)
    monkeypatch.setattr(watching, "COHORTS_SHARE", 1.0)
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            change(database, "update cohorts set status = 'pending', lease_until = null where status = 'running'")
            train(database, [number])

    Watcher(Results(database), 0.001, sleep).go()
    lines = capsys.readouterr().out.splitlines()
    training = "1 cohort training" if worked else "nothing trains now; `bnexp run` goes on with what is left"
    assert lines == [
        f"0 of 3 trials, 3 {'running' if worked else 'pending'}, {training}",
        "Nothing is left to run: 2 finished, 1 diverged. `bnexp report` shows the verdicts.",
    ]
    assert len(looks) >= 3
    assert not any(map(CONTROL.search, lines))


def test_status_watch_of_what_is_done_ends_at_once(tiny: Path) -> None:
    done = invoke("status", "--watch", "--db", tiny / "bnexp.db")
    assert (done.code, done.out) == (
        0,
        "Nothing is left to run: 12 finished, 12 diverged. `bnexp report` shows the verdicts.\n",
    )
    assert "--watch" in invoke("status", "--every", "2", "--db", tiny / "bnexp.db").err


@pytest.mark.slow
def test_a_real_run_is_watched_from_another_process(tmp_path: Path, bnexp: Bnexp) -> None:
    """In a terminal until Ctrl-C, which leaves it as it was; in a pipe until the run has ended."""
    (tmp_path / "experiments.yaml").write_text(TINY)
    run = start(tmp_path, "tiny", "--workers", "1", "--set", "steps=6000")
    try:
        wait_until_training(tmp_path)
        code, seen = in_terminal(tmp_path, "trials left.*worker")
        ended = bnexp("status", "--watch", "--every", "0.2", cwd=tmp_path)
        assert run.wait(timeout=60) == 0
    finally:
        run.kill()
    assert code == 130 and "Traceback" not in seen and "tiny: 0 of 6 seeds" in seen
    assert "?25l" not in seen and seen.rstrip().endswith("\x1b[?7h")
    assert ended.code == 0 and not CONTROL.search(ended.out)
    assert " of 24 trials, " in ended.out and ended.out.count("Nothing is left to run") == 1


def in_terminal(folder: Path, until: str) -> tuple[int, str]:
    """The exit code of `status --watch` in a terminal that is interrupted when it has shown `until`, and all that it
    wrote."""
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "bnexp", "status", "--watch", "--every", "0.3"]
    kept = environment() | {"TERM": "xterm"}
    with subprocess.Popen(command, cwd=folder, env=kept, stdin=its_end, stdout=its_end, stderr=its_end) as process:
        os.close(its_end)
        seen = ""
        while not re.search(until, seen, re.DOTALL):
            seen += os.read(terminal, 4096).decode()
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=20)
        try:
            while more := os.read(terminal, 4096).decode():
                seen += more
        except OSError:
            pass  # the terminal is closed
    os.close(terminal)
    return code, seen
