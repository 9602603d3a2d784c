"""What the tests of bad input and of security share: commands in this process, and how they may end."""

import math
import os
import sqlite3
import struct
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from hypothesis import HealthCheck, settings

from bnexp.cli import main
from bnexp.data.idx import Idx
from bnexp.text import CONTROLS
from tests.conftest import Ran

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
"""The same files serve every example, each of which writes them anew."""


def invoke(*arguments: str | Path) -> Ran:
    """Run a command here. It ends done, failed or refused, with one message unless done, and never with a traceback or
    a control character for the terminal."""
    ended = CliRunner(env={"COLUMNS": "300"}).invoke(main, list(map(str, arguments)))
    error = ended.exception
    assert error is None or isinstance(error, SystemExit), (arguments, repr(error))
    assert ended.exit_code in (0, 1, 2), (arguments, ended.exit_code)
    if ended.exit_code:
        messages = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
        assert len(messages) == 1 and len(messages[0]) > 12, (arguments, ended.stderr)
    assert not CONTROLS.search(ended.stderr), (arguments, ended.stderr)
    return Ran(ended.exit_code, ended.stdout, ended.stderr)


def changed(database: Path, target: Path, *changes: tuple[str, tuple[object, ...]]) -> Path:
    """A copy of a database at `target`, with these statements run on it."""
    source, copy = sqlite3.connect(database), sqlite3.connect(target)
    source.backup(copy)
    with copy:
        for sql, values in changes:
            copy.execute(sql, values)
    source.close()
    copy.close()
    return target


def idx(*sizes: int, content: bytes | None = None) -> bytes:
    """An IDX file of these sizes: with this content, else with small digits, as many as the sizes say."""
    body = (np.arange(math.prod(sizes)) % 10).astype(np.uint8).tobytes() if content is None else content
    return bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + body


def write_mnist(folder: Path, examples: int = 40) -> Path:
    """A whole dataset `mnist` of few small images in `folder`."""
    (folder / "mnist").mkdir(parents=True)
    for name in Idx.files:
        (folder / "mnist" / name).write_bytes(idx(examples, 3, 3) if "images" in name else idx(examples))
    return folder / "mnist"


def strange(folder: Path) -> dict[str, Path]:
    """What may stand where a file should."""
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "folder").mkdir()
    long = folder / ("x" * 300)
    return {"pipe": folder / "pipe", "loop": folder / "loop", "folder": folder / "folder", "long": long} | {
        name: Path("/dev") / name for name in ("zero", "full", "null")
    }
