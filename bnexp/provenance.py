"""Who trains, and with what: stands in every lease and attempt."""

import os
import platform
import socket
import subprocess
import uuid
from pathlib import Path

import bnexp
from bnexp.db.rows import Worker

PROCESSES = Path("/proc")


def this_worker() -> Worker:
    """This process as a worker, with what it runs."""
    host = socket.gethostname()
    name = f"{host}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    return Worker(name, host, bnexp.__version__, _git_commit(), platform.python_version())


def is_gone(worker: str) -> bool:
    """Whether the worker of this name is known to have ended: it was a process of this machine, and is none now."""
    host, process, _ = worker.rsplit(":", 2)
    return host == socket.gethostname() and PROCESSES.is_dir() and not (PROCESSES / process).exists()


def _git_commit() -> str | None:
    """The commit that bnexp runs from, "+" after it where files differ; None where it is not run from a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=5)
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")
