"""Long-lived processes that train, each on one thread or on several, and are warm when the clock starts."""

import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from benchmarks.arms import UNITS, Unit
from bnexp.config import TrialConfig

WARM_STEPS = 5
"""Steps of every trial before the clock starts: they warm caches, compile and capture."""
STATUS = Path("/proc/self/status")


class ArmError(Exception):
    """An arm cannot be measured; says why."""


@dataclass(frozen=True)
class Build:
    """Make units, one for each list of trials, and take WARM_STEPS steps of each; answered with the seconds of the
    very first step."""

    kind: str
    cohorts: list[list[TrialConfig]]
    threads: int
    steps: int
    """At most so many will be asked for."""
    salt: int = 0
    """Another number gives plain loops other Dropout draws."""


@dataclass(frozen=True)
class Go:
    """Take `steps` further steps of every unit, one unit after the other; answered when they are done."""

    steps: int


class Crew:
    """Processes with the data of one dataset on one device."""

    def __init__(self, processes: int, dataset: str, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, dataset, device), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            process.terminate()

    def ask(self, requests: Sequence[Any]) -> list[Any]:
        """Send a request to each of the first processes; their answers. Raises ArmError where one fails."""
        pipes = self._pipes[: len(requests)]
        for pipe, request in zip(pipes, requests, strict=True):
            pipe.send(request)
        answers = [pipe.recv() for pipe in pipes]
        for answer in answers:
            if isinstance(answer, ArmError):
                raise answer
        return answers

    def time(self, requests: Sequence[Any]) -> float:
        """Seconds from sending the requests to the last answer."""
        began = time.perf_counter()
        self.ask(requests)
        return time.perf_counter() - began


class _Worker:
    """What a process keeps between requests."""

    def __init__(self, dataset: str, device: str) -> None:
        import torch

        from benchmarks.work import load
        from bnexp.engine.device import settle

        settle()
        self.data = load(dataset, torch.device(device))
        self.units: list[tuple[Unit, int]] = []
        """Each with the seed of torch's own draws."""
        self.done = 0
        """Steps that every unit has taken."""

    def build(self, request: Build) -> float:
        import torch

        self.units = []  # let go of the last arm's before making this one's
        torch.set_num_threads(request.threads)
        kind, most = UNITS[request.kind], WARM_STEPS + request.steps
        self.units = [(kind(c, self.data, most), c[0].seed * 1000 + request.salt) for c in request.cohorts]
        self.done = 0
        began = time.perf_counter()
        self._step(self.units[:1], 1)
        first = time.perf_counter() - began
        self._step(self.units[1:], 1)
        self.done = 1
        self.go(Go(WARM_STEPS - 1))
        return first

    def go(self, request: Go) -> None:
        self._step(self.units, request.steps)
        self.done += request.steps

    def _step(self, units: list[tuple[Unit, int]], steps: int) -> None:
        import torch

        for unit, seed in units:
            torch.manual_seed(seed * 1_000_003 + self.done)
            unit.run(self.done + 1, steps)
        if self.data.train.x.is_cuda:
            torch.cuda.synchronize()

    def losses(self) -> list[float]:
        return [loss for unit, _ in self.units for loss in unit.losses(self.done)]

    def answer(self, request: Any) -> Any:
        from benchmarks.machine import copy_peak, multiply_peak

        match request:
            case Build():
                return self.build(request)
            case Go():
                return self.go(request)
            case "losses":
                return self.losses()
            case "memory":
                return peak_memory(), self._device_memory()
            case "peaks":
                device = self.data.train.x.device
                return multiply_peak(device), copy_peak(device)
        raise ValueError(request)

    def _device_memory(self) -> int:
        import torch

        return torch.cuda.max_memory_allocated() if self.data.train.x.is_cuda else 0


def peak_memory() -> int:
    """Bytes of this process's memory at its peak. From Linux's own count of this process, because ru_maxrss there
    begins with that of the process which started it."""
    if STATUS.is_file():
        [line] = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _serve(pipe: Connection, dataset: str, device: str) -> None:
    """A process's life: answer requests until the parent closes the pipe."""
    worker = None
    while True:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            worker = worker or _Worker(dataset, device)
            pipe.send(worker.answer(request))
        except Exception as error:
            pipe.send(ArmError(f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc()))
