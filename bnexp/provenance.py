"""Who trains, and with what: stands in every lease and attempt."""

import hashlib
import os
import platform
import socket
import subprocess
import uuid
from functools import cache
from pathlib import Path

import bnexp
from bnexp.db.rows import Worker

PROCESSES = Path("/proc")


def this_worker() -> Worker:
    """This process as a worker, with what it runs."""
    return Worker(
        this_process(), socket.gethostname(), bnexp.__version__, _git_commit(), platform.python_version(), _sources()
    )


def this_process() -> str:
    """A name for this process, unlike any other's and unlike the last that it was given."""
    process = os.getpid()
    return ":".join([socket.gethostname(), _machine(), str(process), _began(process) or "", uuid.uuid4().hex[:8]])


def program() -> str:
    """What this process runs, in the words of `Worker.program`."""
    return Worker("", "", bnexp.__version__, None, "", _sources()).program


def is_gone(worker: str) -> bool:
    """Whether the worker of this name is known to have ended: it was a process of this machine, since it was started,
    and is none now, or another one. What cannot be known is not gone."""
    parts = worker.rsplit(":", 4)
    if len(parts) < 5 or not _machine() or parts[1] != _machine() or not parts[2].isdecimal():
        return False
    began = _began(int(parts[2]))
    return began != "" and began != parts[3]


@cache
def _machine() -> str:
    """Unlike any other machine's, any other time that it was started, and any other container in which processes have
    numbers of their own; empty where the system does not tell."""
    try:
        boot = (PROCESSES / "sys/kernel/random/boot_id").read_text().strip()
        numbering = str((PROCESSES / "self/ns/pid").readlink())
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {numbering}".encode()).hexdigest()[:12]


def _began(process: int) -> str | None:
    """When the process of this number began, in the system's own count; None where there is none that still runs, empty
    where there is one that may not be looked at."""
    try:
        # The second field is the command's name in parentheses, with whatever is in it.
        fields = (PROCESSES / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return None
        except PermissionError:
            pass
        return ""
    return None if fields[0] in ("Z", "X") else fields[19]


def _sources() -> str:
    """Hash of the package's files."""
    digest, package = hashlib.sha256(), Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


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
