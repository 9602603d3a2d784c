"""Files that users name: read only where they are files, and written whole or not at all."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def open_file(path: Path) -> BinaryIO:
    """The regular file at `path`, open for reading. Raises OSError where there is none: a pipe would make us wait for
    ever, and a device may never end."""
    # Not to wait is asked for before it is known what opens; on a regular file it means nothing.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        kind = os.fstat(number).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def force(path: Path) -> None:
    """Have what was written at `path`, a file or folder, on disk, not only in the system's memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` into the file at `path`, in a folder that is made where need be: whole and on disk, or not at all.
    Raises OSError where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.unlink(missing_ok=True)  # a link would be followed
        with unfinished.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        force(path.parent)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def remove_unfinished(path: Path) -> None:
    """Remove what processes that were killed have left of `write_whole`, where no other writes there now."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


@contextmanager
def rewritten(path: Path) -> Iterator[BinaryIO]:
    """A file to write what `path` is to hold, which takes its place when the context ends, and whose permissions it
    has. Raises OSError where that fails, and then, as after any other error, what stood there stands still."""
    target = Path(os.path.realpath(path))
    if target.is_symlink() or (target.exists() and not target.is_file()):  # a link that is left leads to itself
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    beside = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
        if target.exists():
            beside.chmod(stat.S_IMODE(target.stat().st_mode))
        beside.replace(target)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Put `content` into the file at `path`, text as UTF-8. Raises OSError where that fails, and then what stood there
    stands still."""
    with rewritten(path) as file:
        file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
