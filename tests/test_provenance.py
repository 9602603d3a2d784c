"""Who is gone, and what is not known."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnexp import provenance
from bnexp.provenance import is_gone, this_worker


def parts() -> list[str]:
    return this_worker().name.split(":")


def test_a_living_process_is_there() -> None:
    assert not is_gone(this_worker().name)


def test_a_process_that_has_ended_is_gone_also_before_its_parent_looks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host, machine, _, _, word = parts()
    name = ":".join([host, machine, str(child.pid), provenance._began(child.pid) or "", word])
    assert not is_gone(name)
    child.kill()
    deadline = time.monotonic() + 10
    while not is_gone(name) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_gone(name), "it is a zombie now"
    child.communicate()
    assert is_gone(name)


def test_another_process_of_its_number_is_another() -> None:
    host, machine, number, began, word = parts()
    assert is_gone(":".join([host, machine, number, str(int(began) - 1), word]))


@pytest.mark.parametrize(
    "worker", ["", "host:1:word", "h:m:1:2:w:", "::::", "h:elsewhere:99999999:1:w", "h::99999:1:w"]
)
def test_what_cannot_be_known_is_not_gone(worker: str) -> None:
    assert not is_gone(worker)


def test_a_process_that_may_not_be_looked_at_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system shows everybody only his own."""
    name = this_worker().name
    monkeypatch.setattr(provenance, "PROCESSES", tmp_path)
    assert not is_gone(name)

    def forbidden(process: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert not is_gone(name)


def test_the_sources_tell_programs_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("provenance.py", "engine.py"):
        (tmp_path / name).write_text("x = 1")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    before = provenance._sources()
    assert provenance._sources() == before and before in this_worker().program
    (tmp_path / "engine.py").write_text("x = 2")
    assert provenance._sources() != before
