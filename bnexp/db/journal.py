"""Which journal a SQLite file has."""

import sqlite3
import time
from pathlib import Path

BUSY_SECONDS = 60
"""How long a database that another program has locked is waited for."""

NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "9p",
    "fuse.sshfs",
}


def choose_journal(path: Path) -> None:
    """Write-ahead logging, which lets readers and a writer work at once; the rollback journal where the file lies on a
    network file system, which cannot carry the log's shared memory. SQLite does not wait for its lock here."""
    mode = "delete" if _file_system(path.parent) in NETWORK_FILE_SYSTEMS else "wal"
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        try:
            connection.execute(f"pragma journal_mode = {mode}")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


def _file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`; empty where the system does not tell."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    holding = [(point, kind) for point, kind in mounts if folder.is_relative_to(point.replace("\\040", " "))]
    return max(holding, key=lambda mount: len(mount[0]), default=("", ""))[1]
