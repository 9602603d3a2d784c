"""Workers as tasks of a Ray cluster, of one CPU or one GPU each: a cohort is a task, whose records come as a stream.

The process that asks keeps the database, the checkpoints and the kept files; nodes need not see its folders. Nothing of
Ray leaves this module and `raycluster`.
"""

import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bnexp import registry
from bnexp.config import TrialConfig
from bnexp.data.dataset import Dataset, read_as, source
from bnexp.engine.cohort import CAPACITY
from bnexp.errors import BnexpError, UsageError
from bnexp.executors import Event, Failed, Idle, Lost, Told
from bnexp.executors.remote import Desk, Order, Sent, train
from bnexp.provenance import program
from bnexp.records import Checkpoint
from bnexp.text import last_line

try:
    import ray
    from ray import exceptions
except ImportError as error:
    raise UsageError(
        "--executor ray: Ray is not installed; pip install 'bnexp[ray]', or '.[ray]' in a clone"
    ) from error

from bnexp.executors.raycluster import Cluster

LOOK_SECONDS = 5.0
"""How often nodes that have come or gone are looked for."""

FREE_SECONDS = 1.0
"""How often it is asked for what is free, where cohorts wait."""

MOST_STARTS = 3
"""Of processes in a row that died before they began."""

NODE_LOST = (exceptions.NodeDiedError, exceptions.ObjectLostError)
"""What is said of a task whose node is gone, or of what it had sent, which was still there."""


@dataclass(frozen=True)
class _Arrived:
    """A cohort has come to a worker."""

    host: str
    node: str
    """Its number in the cluster."""


@dataclass
class _Task:
    """A cohort that is trained somewhere, or waits for room."""

    stream: "ray.ObjectRefGenerator"
    desk: Desk
    at: _Arrived | None = None

    @property
    def place(self) -> str:
        return self.at.host if self.at else "a node"


class RayExecutor:
    """Tasks of a Ray cluster as workers, as many as it has GPUs or CPUs."""

    def __init__(self, device: str, workers: int | None, data_dir: Path | None) -> None:
        """Connect to the cluster at $RAY_ADDRESS, else start one on this machine. At most `workers` cohorts are trained
        at once. Raises BnexpError where no cluster answers or it has nothing to train on."""
        self._most, self._data_dir = workers, data_dir.absolute() if data_dir else None
        self._cluster = Cluster(device, workers)
        self._remote = self._cluster.task(_train)
        self._program = program()
        self._data: dict[str, tuple[list[ray.ObjectRef[Dataset]], str | None]] = {}
        """By name, the dataset as an object of the cluster, or its fingerprint where nodes are to find it."""
        self._workers: set[int] = set()
        """Those that there is room for."""
        self._tasks: dict[int, _Task] = {}
        self._coming: list[Event] = []
        self._looked = -LOOK_SECONDS
        self._free, self._counted = 0, -FREE_SECONDS
        """How many more tasks would begin at once, and when that was asked: it is known only a while after they have
        begun."""
        self._crashes = 0
        """Processes in a row that died before they began."""

    def has_room(self) -> bool:
        if all(task.at for task in self._tasks.values()):
            return True
        if time.monotonic() - self._counted > FREE_SECONDS:
            self._counted, self._free = time.monotonic(), self._cluster.free()
        return self._free > 0

    def submit(
        self,
        worker: int,
        trials: Sequence[TrialConfig],
        checkpoint: Checkpoint | None = None,
        fingerprint: str | None = None,
    ) -> None:
        arrays, theirs = self._dataset(trials[0].dataset, fingerprint)
        kept = None
        if checkpoint and checkpoint.resume:
            with suppress(OSError):
                kept = checkpoint.path.read_bytes()
        order = Order(
            program=self._program,
            device=self._cluster.device,
            trials=list(trials),
            data_dir=self._data_dir,
            fingerprint=theirs,
            checkpoint=checkpoint,
            kept=kept,
        )
        self._tasks[worker] = _Task(self._remote.remote(order, arrays), Desk(checkpoint))
        self._free -= 1

    def _dataset(self, name: str, fingerprint: str | None) -> "tuple[list[ray.ObjectRef[Dataset]], str | None]":
        if name not in self._data:
            if registry.is_prepared(name):
                self._data[name] = [], source(name, self._data_dir).fingerprint()
            else:
                self._data[name] = [ray.put(read_as(name, self._data_dir, fingerprint))], None
        return self._data[name]

    def drop(self, worker: int) -> None:
        self._cancel(worker)
        self._coming.append(self._idle(worker))

    def poll(self, seconds: float) -> list[Event]:
        until = time.monotonic() + seconds
        events, self._coming = self._coming + self._look(), []
        if not self._tasks:
            time.sleep(0 if events else seconds)
        ready = self._ready(0 if events else seconds)
        while ready:
            events += [event for worker in ready for event in self._hear(worker)]
            ready = self._ready(0) if time.monotonic() < until else []
        return events

    def _ready(self, seconds: float) -> list[int]:
        """The workers that have told something, waiting up to `seconds` for the first."""
        streams = {task.stream: worker for worker, task in self._tasks.items()}
        if not streams:
            return []
        found, _ = ray.wait(list(streams), num_returns=1 if seconds else len(streams), timeout=seconds)
        return [streams[stream] for stream in found]

    def _look(self) -> list[Event]:
        """Count the workers again, now and then: nodes may have come or gone."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return []
        self._looked = time.monotonic()
        room = min(self._cluster.room(), self._most or sys.maxsize)
        events: list[Event] = []
        for worker in range(room):
            if len(self._workers) < room and worker not in self._workers:
                self._workers.add(worker)
                events.append(self._idle(worker))
        for worker in sorted(self._workers - set(self._tasks), reverse=True):
            if len(self._workers) > room:
                self._workers.remove(worker)
                events.append(Lost(worker, "the cluster has become smaller"))
        return events

    def _idle(self, worker: int) -> Idle:
        return Idle(worker, CAPACITY[self._cluster.device])

    def _hear(self, worker: int) -> list[Event]:
        """The next that a worker has told, or what has become of it."""
        task = self._tasks[worker]
        try:
            said = ray.get(next(task.stream))
        except StopIteration:
            del self._tasks[worker]
            return [self._idle(worker)]
        except exceptions.RayError as error:
            del self._tasks[worker]
            return self._ended(worker, task, error)
        if isinstance(said, BnexpError):
            raise said
        if isinstance(said, str):
            return [Failed(worker, said)]
        if isinstance(said, _Arrived):
            task.at, self._crashes = said, 0
            return []
        try:
            record = task.desk.receive(said)
        except BnexpError as error:
            self._cancel(worker)
            return [Failed(worker, str(error)), self._idle(worker)]
        return [Told(worker, record)] if record else []

    def _ended(self, worker: int, task: _Task, error: exceptions.RayError) -> list[Event]:
        """A task has ended with an error that is none of training's, or what it had sent was lost, and then it ends."""
        ray.cancel(task.stream, force=True)
        crashed = isinstance(error, exceptions.WorkerCrashedError | exceptions.OutOfMemoryError)
        if isinstance(error, NODE_LOST) or (crashed and task.at and not self._cluster.has(task.at.node)):
            self._workers.remove(worker)
            self._looked = -LOOK_SECONDS
            return [Lost(worker, f"{task.place} was lost")]
        if task.at is None:
            self._crashes += crashed
            if not crashed or self._crashes >= MOST_STARTS:
                why = last_line(str(error)) or type(error).__name__
                raise BnexpError(
                    f"no worker can start on the Ray cluster ({why}); every node needs {self._program}"
                ) from error
        return [Failed(worker, _what(error, task.place)), self._idle(worker)]

    def _cancel(self, worker: int) -> None:
        ray.cancel(self._tasks.pop(worker).stream, force=True)

    def close(self) -> None:
        try:
            for worker in list(self._tasks):
                self._cancel(worker)
        finally:
            self._cluster.leave()


def _what(error: exceptions.RayError, place: str) -> str:
    """What has happened, for a person."""
    if isinstance(error, exceptions.OutOfMemoryError):
        return f"the worker process on {place} was killed, since the memory there had ended"
    if isinstance(error, exceptions.WorkerCrashedError):
        return f"the worker process on {place} died"
    return str(error)


def _train(order: Order, arrays: "list[ray.ObjectRef[Dataset]]") -> Iterator[_Arrived | Sent | str | BnexpError]:
    """In a worker's process: train a cohort, on the dataset that is an object of the cluster, if one is."""
    host = socket.gethostname()
    yield _Arrived(host, ray.get_runtime_context().get_node_id())
    yield from train(order, host, (lambda: ray.get(arrays[0])) if arrays else None)
