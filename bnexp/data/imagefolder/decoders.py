"""Processes that decode pictures, for one that wants them in order."""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType

from bnexp.data.imagefolder.pictures import Picture, read_picture
from bnexp.errors import DatasetError

AHEAD = 4
"""Times as many chunks as processes are begun before the first of them is taken."""

Chunk = list[str]
"""Paths of pictures under the root, decoded together."""
Decoded = list[Picture | str]
"""For each path the picture, or what is wrong with it."""


class Decoders:
    """Processes of this machine that decode; they end with this one. A picture that brings its process down ends no
    more than that."""

    def __init__(self, workers: int, root: Path, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes, self._pipes = [], list[Connection]()
        # Ctrl-C goes to the whole process group; children inherit that it is ignored, and end when we do.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for _ in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, root, size), daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._pipes.append(ours)
        finally:
            signal.signal(signal.SIGINT, handler)

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.join()
            pipe.close()

    def decode(self, chunks: Iterable[Chunk]) -> Iterator[Decoded]:
        """Each chunk decoded, in their order. Raises DatasetError where a process dies of a picture."""
        coming, idle = enumerate(chunks), list(self._pipes)
        asked: dict[Connection, tuple[int, Chunk]] = {}
        done: dict[int, Decoded] = {}
        wanted = 0
        while True:
            while idle and len(asked) + len(done) < AHEAD * len(self._pipes):
                if (following := next(coming, None)) is None:
                    break
                asked[idle[-1]] = following
                with suppress(ConnectionError):  # that it is gone is found when its answer is read
                    idle[-1].send(following[1])
                idle.pop()
            if wanted in done:
                yield done.pop(wanted)
                wanted += 1
            elif not asked:
                return
            else:
                for pipe in wait(list(asked)):
                    assert isinstance(pipe, Connection)
                    number, chunk = asked.pop(pipe)
                    done[number] = _answer(pipe, chunk)
                    idle.append(pipe)


def _answer(pipe: Connection, chunk: Chunk) -> Decoded:
    try:
        answer: Decoded = pipe.recv()
    except (EOFError, OSError) as error:
        raise DatasetError(
            f"{chunk[0]}: the process that decoded this picture, or one of the {len(chunk) - 1} after it, died; "
            "where memory was enough, one of them is an attack"
        ) from error
    return answer


def _serve(pipe: Connection, root: Path, size: int) -> None:
    """A process's life: decode what comes, until the one that asks is gone."""
    with suppress(EOFError, ConnectionError):
        while True:
            chunk: Chunk = pipe.recv()
            pipe.send([_decoded(root / path, root, size) for path in chunk])


def _decoded(path: Path, root: Path, size: int) -> Picture | str:
    try:
        return read_picture(path, root, size)
    except DatasetError as error:
        return str(error)
