"""Time that may be spent beside the work: at most a share of what has passed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Says when something may be done again that takes time, so that all of it together takes a bounded share."""

    def __init__(self, share: float, first: float = 0.01) -> None:
        """`share` of the time since now, between 0 and 1. The first time is taken to cost `first` seconds, any other as
        much as the time before."""
        self.share = share
        self._began = time.monotonic()
        self._spent, self._next = 0.0, first

    def allows(self) -> bool:
        """Whether there is time for it once more."""
        return self._spent + self._next <= self.share * (time.monotonic() - self._began)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """What is done inside counts, also where it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._next = time.monotonic() - began
            self._spent += self._next
