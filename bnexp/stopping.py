"""Stops: the signals that end a command which goes on for long. They are heard at once, but in the midst of what must
not be torn, such as a transaction, at its end."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

GRACE_SECONDS = 3.0
"""What must not be torn is torn all the same after that: a server's host may swallow whatever is sent to it."""

ENDING_SECONDS = 20.0
"""For what ends after a stop, and must not be torn by another: a person who is impatient sends several."""

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_whole = 0
"""How much the main thread, which alone hears signals, is in the midst of."""
_stopped = False
"""Whether a stop has come meanwhile."""
_ended = -math.inf
"""When a stop was last heard."""


class Stopped(KeyboardInterrupt):
    """A class of its own, since Python remembers a plain KeyboardInterrupt that has passed through `exec` of a string,
    as dataclasses do, and then ends with SIGINT whatever has become of it."""


def stop_as_by_hand() -> None:
    """Let whatever asks the process to end, and a terminal that is closed, do what Ctrl-C does; but what is ignored, as
    under nohup, stays ignored."""
    global _ended
    _ended = -math.inf
    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _hear)


def ignore_stops() -> None:
    """Nothing is left to stop: a signal would only change how the process ends."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def whole() -> Iterator[None]:
    """Have a stop wait for the end of what is done in here."""
    global _whole
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _whole += 1
    try:
        yield
    finally:
        _whole -= 1
        if not _whole:
            heed()


def heed() -> None:
    """Stop here and now if a stop has come; for the places where whatever is in the midst can wait for long."""
    global _stopped
    if _stopped and threading.current_thread() is threading.main_thread():
        _stopped = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        _stop()


def _stop() -> NoReturn:
    global _ended
    _ended = time.monotonic()
    raise Stopped


def _hear(*_: object) -> None:
    global _stopped
    if time.monotonic() - _ended < ENDING_SECONDS:
        return
    if not _whole:
        _stop()
    _stopped = True
    signal.signal(signal.SIGALRM, lambda *_: heed())
    signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
