"""Runs that are killed with SIGKILL, and the loop of `benchmarks/faults.py` itself. What else may happen to them is in
`test_faults.py`: a file is tested by one process, and either takes minutes."""

import sqlite3
from pathlib import Path

import pytest

from benchmarks import ground as grounds
from benchmarks.faults import KINDS, play
from benchmarks.ground import CELLS, Content, Ground, Round
from tests.conftest import TINY


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("SIGKILL")])
def test_whoever_is_killed_each_cell_has_one_result_and_the_same(
    tmp_path: Path, undisturbed_run: tuple[float, Content], kind: str
) -> None:
    seconds, content = undisturbed_run
    for number in range(6):
        found = play(kind, tmp_path / str(number), number, seconds, content)
        assert (found.cells, found.equal, found.zombies, found.complaints) == (CELLS, CELLS, 0, [])
        if found.faults:
            return
        seconds /= 2  # it ended before the instant: it was slower when it was left alone
    pytest.fail("nothing was killed in time")


@pytest.mark.slow
def test_the_loop_notices_what_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is another, one that is missing, one that came twice, and a trial without an end."""
    tiny = TINY.partition("claims:")[0].replace("tiny:", "faults:")
    monkeypatch.setattr(grounds, "CELLS", 4)
    monkeypatch.setattr(grounds, "EXPERIMENT", tiny.replace("seeds: 6", "seeds: 1"))
    _, content = grounds.undisturbed_run(tmp_path / "undisturbed")
    copied = "trial_id, cohort_id, slot, worker, host, precision, bnexp_version, python_version, started_at, outcome"
    spoil = {
        "update trials set test_accuracy = 0 where id = 1": "equal",
        "update trials set status = 'failed' where id = 1": "cells",
        f"insert into attempts ({copied}) select {copied} from attempts where trial_id = 1": "cells",
        "update attempts set outcome = null where trial_id = 1": "zombies",
    }
    for number, (statement, what) in enumerate(spoil.items()):

        def fault(ground: Ground, round: Round, chance: object, seconds: float, statement: str = statement) -> None:
            grounds.ended(ground.start(), round, 0)
            with sqlite3.connect(ground.database) as connection:
                connection.execute(statement)

        monkeypatch.setitem(KINDS, "spoilt", (fault, 1.0))
        found = play("spoilt", tmp_path / str(number), 0, 1.0, content)
        assert found.lost and getattr(found, what) != {"equal": 4, "cells": 4, "zombies": 0}[what], statement


# Signals
