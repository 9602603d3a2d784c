"""Workers that train nothing: they take cohorts from a database and store made-up results, as fast as it goes.

Each is a process with a `Store` of its own, as every `bnexp run` has one. It makes the calls that a run makes of each
cohort: take, begin, store (results, and curves of 28 points).
"""

import multiprocessing
import resource
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bnexp.config import TrialConfig
from bnexp.db.rows import Job
from bnexp.db.store import Store
from bnexp.provenance import this_worker
from bnexp.records import Final, Outcome, Point, Started

POINTS = 28
"""Of a curve: as many as the shipped grid's trials have."""
STARTED = Started("made up", 1, "none")
READY_SECONDS = 300.0


@dataclass(frozen=True)
class Worked:
    """What the workers of one measurement did."""

    seconds: float
    """Of the clock, as long as all of them worked."""
    trials: int
    """Results stored."""
    calls: dict[str, list[float]]
    """Seconds of every call, by its name."""
    processor_seconds: float
    """Of the workers, together."""


def work(url: str, experiment_ids: Sequence[int], workers: int, seconds: float) -> Worked:
    """Let so many workers work for so long, beginning together."""
    context = multiprocessing.get_context("fork")
    barrier, ended = context.Barrier(workers), context.Queue()
    arguments = (url, list(experiment_ids), seconds, barrier, ended)
    processes = [context.Process(target=_life, args=arguments) for _ in range(workers)]
    for process in processes:
        process.start()
    found: list[_Lived] = [ended.get(timeout=READY_SECONDS + 3 * seconds) for _ in processes]
    for process in processes:
        process.join()
    calls: dict[str, list[float]] = defaultdict(list)
    for one in found:
        for name, took in one.calls.items():
            calls[name] += took
    clock = max(one.until for one in found) - min(one.since for one in found)
    return Worked(clock, sum(one.trials for one in found), dict(calls), sum(one.processor_seconds for one in found))


@dataclass(frozen=True)
class _Lived:
    """What one worker did, between two times of the machine's clock."""

    calls: dict[str, list[float]]
    trials: int
    processor_seconds: float
    since: float
    until: float


def _life(url: str, experiment_ids: list[int], seconds: float, barrier: Any, ended: Any) -> None:
    """A worker's: until its time is over, or nothing is left to take."""
    store, worker = Store(url), this_worker()
    calls: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, *arguments: Any) -> Any:
        began = time.perf_counter()
        answer = getattr(store, name)(*arguments)
        calls[name].append(time.perf_counter() - began)
        return answer

    store.unfinished()  # connects
    barrier.wait(READY_SECONDS)
    trials, used, began = 0, _processor_seconds(), time.monotonic()
    while time.monotonic() < began + seconds:
        job = timed("take", experiment_ids, worker)
        if job is None:
            break
        timed("begin", job, worker, STARTED)
        timed("store", job, worker, made_up(job), STARTED, 1.0)
        trials += len(job.configs)
    ended.put(_Lived(dict(calls), trials, _processor_seconds() - used, began, time.monotonic()))
    store.close()


def made_up(job: Job) -> list[Outcome]:
    """Every trial of a cohort ends at 90 to 97 percent, better with BN."""
    return [Outcome(slot, "finished", _curve(config), _final(config)) for slot, config in enumerate(job.configs)]


def _accuracy(config: TrialConfig) -> float:
    return 0.9 + 0.06 * (config.norm.name == "batch") + 0.01 * (config.seed % 7) / 7


def _final(config: TrialConfig) -> Final:
    accuracy = _accuracy(config)
    return Final(0.1, accuracy, 0.1, accuracy, 0.1, accuracy)


def _curve(config: TrialConfig) -> tuple[Point, ...]:
    accuracy = _accuracy(config)
    steps = [1 + config.steps * at // POINTS for at in range(POINTS)]
    rising = [(step, accuracy * step / (step + 20)) for step in steps]
    return tuple(Point(step, 1 - at, at, 1 - at, at) for step, at in rising)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
