"""Workers as processes on this machine: one a core on the CPU, one a GPU on CUDA.

A process of one thread a core beats threads within operations that are this small, and makes results independent of
the number of cores. The parent keeps the database and the terminal; a worker that loses its parent ends.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from bnexp.config import TrialConfig
from bnexp.errors import BnexpError, UsageError
from bnexp.executors import Event, Failed, Idle, Told
from bnexp.records import Checkpoint
from bnexp.stopping import whole

SURPLUS = "surplus"

STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
"""What stops a run, and may be sent to all its processes: its parent hears it, and ends the workers."""

DEVICES, GPU = Path("/dev"), "nvidia[0-9]*"
"""Where a GPU has a file, and its name: that it is there says nothing of whether torch can use it."""


@dataclass(frozen=True)
class Ready:
    """A worker waits for a cohort."""

    capacity: int
    """The most trials that it can use in one."""
    shared: bool
    """Whether any number of workers may have this device."""


MOST_STARTS = 3
"""In a row, without being ready once."""

PARENT_DEATH_SIGNAL = 1
"""An option of Linux's prctl."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalExecutor:
    """Processes of this machine as workers."""

    def __init__(self, device: str, workers: int | None, data_dir: Path | None) -> None:
        """Start `workers` processes on `device`, as many as there are cores unless told. Where there are GPUs, only one
        for each, since a process takes seconds to start; the others follow if these turn out to train on the CPU. Those
        that find no device of their own end at once."""
        self._arguments = (device, data_dir)
        self._wanted = workers or cores()
        self._processes: dict[int, SpawnProcess] = {}
        self._pipes: dict[int, Connection] = {}
        self._starts: Counter[int] = Counter()
        """How often a worker was started since it was last ready."""
        gpus = 0 if device == "cpu" else len(list(DEVICES.glob(GPU)))
        self._started = 0
        try:
            self._start_until(min(self._wanted, gpus) or self._wanted)
        except BaseException:
            self.close()
            raise

    def _start_until(self, count: int) -> None:
        """Have `count` processes started in all."""
        for number in range(self._started, count):
            self._start(number)
        self._started = max(self._started, count)

    def _start(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, number, *self._arguments), daemon=True)
        resource_tracker.ensure_running()  # when it is started, it lets signals through again
        with whole():  # what is masked in this thread another may still hear; half a start is a worker with a traceback
            before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # a child inherits it
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
            self._processes[number], self._pipes[number] = process, ours
            self._starts[number] += 1

    def has_room(self) -> bool:
        return True

    def submit(
        self,
        worker: int,
        trials: Sequence[TrialConfig],
        checkpoint: Checkpoint | None = None,
        fingerprint: str | None = None,
    ) -> None:
        with suppress(ConnectionError):
            self._pipes[worker].send((list(trials), checkpoint, fingerprint))

    def drop(self, worker: int) -> None:
        self._processes[worker].kill()
        self._processes[worker].join()
        self._pipes[worker].close()
        self._start(worker)

    def poll(self, seconds: float) -> list[Event]:
        numbers = {pipe: number for number, pipe in self._pipes.items()}
        events: list[Event] = []
        for pipe in wait(list(numbers), seconds):
            assert isinstance(pipe, Connection)
            while not pipe.closed and pipe.poll():
                events += self._receive(numbers[pipe], pipe)
        return events

    def _receive(self, worker: int, pipe: Connection) -> list[Event]:
        try:
            message = pipe.recv()
        except (EOFError, OSError):  # of a message that was cut off, too
            return self._replace(worker)
        if message == SURPLUS:
            self._processes.pop(worker).join()
            self._pipes.pop(worker).close()
            return []
        if isinstance(message, BnexpError):
            raise message
        if isinstance(message, Ready):
            self._starts[worker] = 0
            if message.shared:
                self._start_until(self._wanted)
            return [Idle(worker, message.capacity)]
        return [Failed(worker, message) if isinstance(message, str) else Told(worker, message)]

    def _replace(self, worker: int) -> list[Event]:
        """A worker's process is gone, killed for its memory perhaps; start another in its place. Raises BnexpError
        where it ended by itself before it was ever ready, or was killed too often, since no other would fare better."""
        process = self._processes[worker]
        process.join()
        if (self._starts[worker] and (process.exitcode or 0) >= 0) or self._starts[worker] >= MOST_STARTS:
            raise BnexpError(f"a worker process could not start (exit code {process.exitcode}); it said why above")
        self._pipes[worker].close()
        self._start(worker)
        return [Failed(worker, f"the worker process died (exit code {process.exitcode})")]

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()  # one that is stopped would not hear of anything gentler
        for process in self._processes.values():
            process.join()


def _serve(pipe: Connection, number: int, device_name: str, data_dir: Path | None) -> None:
    """A worker's life: say how many trials it can use, train what comes, tell every record, until the parent is
    gone."""
    from bnexp.data.dataset import read_as
    from bnexp.engine.cohort import CAPACITY
    from bnexp.engine.device import choose
    from bnexp.executors.serving import Serving

    _end_with_parent()
    try:
        device = choose(device_name, number)
    except UsageError as error:
        return pipe.send(error)
    if device is None:
        return pipe.send(SURPLUS)
    serving = Serving(device)
    try:
        while True:
            pipe.send(Ready(CAPACITY[device.type], shared=device.type == "cpu"))
            trials, checkpoint, fingerprint = pipe.recv()
            read = partial(read_as, trials[0].dataset, data_dir, fingerprint)
            for said in serving.train(trials, read, checkpoint, fingerprint):
                pipe.send(said)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone


def _end_with_parent() -> None:
    """Have this process killed as soon as its parent has ended, where the system can; elsewhere it ends when it next
    has something to tell."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        sys.exit()  # it was faster
