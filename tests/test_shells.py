"""Completion in real shells: zsh in a terminal, and fish as it tells itself. `test_completion` tries bash."""

import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bnexp.registry import NORMS
from tests.attacks import changed
from tests.conftest import environment

pytestmark = pytest.mark.slow
SECONDS = 60.0
"""How long a shell may take for anything."""

LINES = {
    "bnexp ru": "bnexp run ",
    "bnexp run ti": "bnexp run tiny ",
    "bnexp report --claim be": "bnexp report --claim better ",
    "bnexp run tiny --set optimizer.l": "bnexp run tiny --set optimizer.lr=",
    "bnexp run tiny --set nonlinearity=r": "bnexp run tiny --set nonlinearity=relu ",
    "bnexp run tiny --set=binarize=t": "bnexp run tiny --set=binarize=true ",
    "bnexp plan tiny --db postgresql://me@h/x --executor=r": "bnexp plan tiny --db postgresql://me@h/x --executor=r",
    "bnexp run tiny --executor=r": "bnexp run tiny --executor=ray ",
    "bnexp run tiny --set 'nonlinearity=r": "bnexp run tiny --set 'nonlinearity=relu' ",
    "bnexp plan --file=exp": "bnexp plan --file=experiments.yaml ",
}
"""What is typed, and what stands there when Tab has been pressed; `plan` has no executor."""

BEGIN = """\
autoload -Uz compinit; compinit -u -D; eval "$(bnexp completion zsh)"
tell() { print -r -- "$BUFFER" > new; mv new told }; zle -N tell; bindkey '^T' tell; touch told
"""


def shells(folder: Path) -> dict[str, str]:
    """The environment of a shell that finds the command."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**environment(), "PATH": path, "TERM": "xterm", "HOME": str(folder), "LANG": "C.UTF-8"}


class Zsh:
    """A zsh in a terminal, that is typed into."""

    def __init__(self, terminal: int, folder: Path) -> None:
        self.terminal, self.told, self.shown = terminal, folder / "told", ""
        os.write(terminal, BEGIN.encode())
        self._wait()

    def press_tab(self, line: str) -> str:
        """The line that stands there when Tab has been pressed behind this one."""
        self.told.unlink()
        self.shown = ""
        os.write(self.terminal, b"\x15" + line.encode() + b"\t\x14")
        self._wait()
        return self.told.read_text().removesuffix("\n")

    def _wait(self) -> None:
        end = time.monotonic() + SECONDS
        while not self.told.exists():
            assert time.monotonic() < end, self.shown
            if select.select([self.terminal], [], [], 0.05)[0]:
                self.shown += os.read(self.terminal, 1 << 16).decode(errors="replace")


@contextmanager
def opened(folder: Path) -> Iterator[Zsh]:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], shells(folder))
    try:
        yield Zsh(terminal, folder)
    finally:
        os.close(terminal)  # which hangs it up
        os.waitpid(process, 0)


@pytest.fixture(scope="module")
def here(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained tiny experiment."""
    folder = tmp_path_factory.mktemp("shell")
    shutil.copy(tiny / "experiments.yaml", folder)
    changed(tiny / "bnexp.db", folder / "bnexp.db")
    return folder


def first_key(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "bnexp.db")) as connection:
        return str(connection.execute("select min(trial_key) from trial_results").fetchone()[0])


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh(here: Path) -> None:
    first = first_key(here)
    with opened(here) as zsh:
        assert {line: zsh.press_tab(line) for line in LINES} == LINES
        assert zsh.press_tab(f"bnexp show {first[:8]}") == f"bnexp show {first[:12]} "
        assert zsh.press_tab("bnexp run tiny --set norm=") == "bnexp run tiny --set norm="
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", zsh.shown)
        assert shown.index("norm=none") < shown.index("norm=batch") < shown.index("norm=noisy-batch")
        assert "-- Batch normalization (Algorithms 1 and 2)" in " ".join(shown.split())


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish(here: Path) -> None:
    """It is asked for the words that it would offer; of those, the shell makes the line."""
    first = first_key(here)
    asked = [*LINES, f"bnexp show {first[:8]}", "bnexp run tiny --set norm="]
    script = "bnexp completion fish | source\nfor line in $argv; complete -C $line; echo end; end"
    ended = subprocess.run(
        ["fish", "--no-config", "--command", script, *asked],
        cwd=here,
        env=shells(here),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    *offered, rest = ended.stdout.split("end\n")
    assert rest == "" and ended.stderr == ""
    found = {line: [one.split("\t")[0] for one in each.splitlines()] for line, each in zip(asked, offered, strict=True)}
    for line, made in LINES.items():
        word = made.split()[-1].replace("'", "")
        if "--file" not in line:  # whose words are the shell's own
            assert found[line] == ([word] if made != line else []), line
    assert found[asked[-2]] == [first[:12]]
    assert found[asked[-1]] == [f"norm={name}" for name in NORMS]
    assert "relu\ty = max(x, 0)." in ended.stdout, "what is told is not cut at a comma"
