"""What stops a command that goes on for long."""

import signal


class _Stopped(KeyboardInterrupt):
    """A class of its own, since Python remembers a plain KeyboardInterrupt that has passed through `exec` of a string,
    as dataclasses do, and then ends with SIGINT whatever has become of it."""


def stop_as_by_hand() -> None:
    """Let whatever asks the process to end, and a terminal that is closed, do what Ctrl-C does; but what is ignored, as
    under nohup, stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    raise _Stopped
