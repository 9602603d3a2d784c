"""A limit for what may hang in a driver or in the system, where none of ours is heard: a server's host may swallow
whatever is sent to it."""

import threading
from collections.abc import Callable


def within(seconds: float, work: Callable[[], None]) -> None:
    """Do `work` in a thread, and wait `seconds` for its end. What has not ended then is left to itself, and ends with
    this process at the latest. Raises what it has raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
