"""Whoever reads what we print may stop before its end, as `head` does. We then end as other programs do: at once, and
without a word."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

UNREAD = 141
"""Exit code then, as shells have it of a program that SIGPIPE ends. We leave that signal ignored, as Python has it: it
would end a run whose server has gone, too."""


@contextmanager
def silent() -> Iterator[None]:
    """Within, output that nobody reads any more ends the process; what is still to be written shows at the end."""
    try:
        yield
        if sys.stdout is not None:  # a shell may have closed it
            sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        end()


def end() -> NoReturn:
    """End the process. What has not been written is dropped: Python would try once more, and complain."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError), open(os.devnull, "wb") as nothing:  # noqa: PTH123 (a device)
                os.dup2(nothing.fileno(), stream.fileno())
    sys.exit(UNREAD)
