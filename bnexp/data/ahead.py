"""Things made a few ahead of their use, by threads beside the one that uses them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

DEPTH = 4
"""So many are made before they are asked for."""

Item = TypeVar("Item")
Made = TypeVar("Made")


class Ahead(Iterator[Made], Generic[Item, Made]):
    """What `make` gives for each of `items`, in their order. `make` runs in other threads, `items` are taken in the
    thread that asks. Where `make` fails, asking for that thing raises what it raised, and ends it all."""

    def __init__(self, make: Callable[[Item], Made], items: Iterable[Item], threads: int = 1) -> None:
        self._make, self._items = make, iter(items)
        self._depth = DEPTH + threads - 1
        self._waiting: deque[Future[Made]] = deque()
        # Denormals are flushed as in the thread that trains: it is a setting of each thread.
        self._pool = ThreadPoolExecutor(threads, "ahead", torch.set_flush_denormal, (True,))

    def __next__(self) -> Made:
        try:
            while len(self._waiting) <= self._depth:
                self._waiting.append(self._pool.submit(self._make, next(self._items)))
        except StopIteration:
            pass
        try:
            if self._waiting:
                return self._waiting.popleft().result()
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Make no more, and wait for the threads to end."""
        self._items = iter(())
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)
