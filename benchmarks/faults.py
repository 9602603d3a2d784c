"""Runs that are killed, stopped, raced and starved, and what is lost by it: nothing, or this says what.

Every round trains the same 64 cells on a fresh database, does something to the run at a random instant, runs it again
where need be until it has ended, and compares what is stored with an undisturbed run: every number, bit for bit. The
long run takes about an hour on two cores and is stored in `benchmarks/results/faults.json`, from which
`docs/reliability.md` is made; the tests do a few rounds of each kind.

    python benchmarks/faults.py             # 100 rounds with SIGKILL, fewer of the others
    python benchmarks/faults.py --rounds 8  # a taste
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.ground import (
    CELLS,
    RESUMED,
    TWICE,
    ZOMBIES,
    Content,
    Ground,
    Round,
    ended,
    still_there,
    undisturbed_run,
    workers_of,
)
from benchmarks.machine import ROOT, describe, write

Fault = Callable[[Ground, Round, random.Random, float], None]
"""Does something to a run on the ground, within so many seconds from its start, and leaves it ended or dead."""


def kill_the_run(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """SIGKILL to the process that keeps the database; its workers must end with it."""
    _signal_the_run(ground, round, chance, seconds, signal.SIGKILL, -signal.SIGKILL)


def kill_everything(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """SIGKILL to the run and its workers at once, as when a machine is switched off."""
    process = ground.start()
    time.sleep(chance.uniform(0, seconds))
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    round.faults += 1
    ended(process, round, 0, -signal.SIGKILL)


def kill_a_worker(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """SIGKILL to one of its workers, as when memory ends; the run goes on by itself."""
    process = ground.start()
    instant = time.monotonic() + chance.uniform(0, seconds)
    while time.monotonic() < instant or not (workers := workers_of(process.pid)):
        if process.poll() is not None:
            break
        time.sleep(0.01)
    else:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(workers), signal.SIGKILL)
            round.faults += 1
    ended(process, round, 0)


def kill_in_company(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """Three runs on one database, of which two are killed at different instants; the third ends the work."""
    processes = [ground.start("--workers", "1") for _ in range(3)]
    for victim in processes[:2]:
        time.sleep(chance.uniform(0, seconds / 2))
        victim.kill()
        round.faults += 1
        victim.wait()
    ended(processes[2], round, 0)


def terminate(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """SIGTERM, SIGINT or SIGHUP: it stops at once, gives back what it had begun, and says how to go on."""
    _signal_the_run(ground, round, chance, seconds, chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP]), 130)


def _signal_the_run(
    ground: Ground, round: Round, chance: random.Random, seconds: float, number: signal.Signals, code: int
) -> None:
    process = ground.start()
    time.sleep(chance.uniform(0, seconds))
    workers = workers_of(process.pid)
    process.send_signal(number)
    round.faults += 1
    # Before it has begun to listen, a signal does what it does to any process.
    ended(process, round, 0, code, -number)
    round.zombies += still_there(workers)


def damage_the_checkpoints(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """SIGKILL, and then the checkpoints that are there are truncated or changed in one bit."""
    process = ground.start()
    deadline = time.monotonic() + seconds
    files: list[Path] = []
    while not files and time.monotonic() < deadline:
        time.sleep(chance.uniform(0, 1))
        files = list(ground.folder.glob("bnexp.db.checkpoints/*.safetensors"))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for path in files:
        content = bytearray(path.read_bytes())
        at = chance.randrange(len(content))
        content[at] ^= 1 << chance.randrange(8)
        path.write_bytes(content[:at] if chance.random() < 0.5 else content)
        round.faults += 1


def start_together(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """Sixteen runs at once where there is no database yet."""
    processes = [ground.start("--workers", "1") for _ in range(16)]
    round.faults += len(processes)
    for process in processes:
        ended(process, round, 0)


def freeze(
    ground: Ground, round: Round, chance: random.Random, seconds: float, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """SIGSTOP to a run and its workers until its leases have ended, while another is there to take its work over; then
    SIGCONT. Not within a transaction, since SQLite's lock would be held as long."""
    first = ground.start("--workers", "1")
    time.sleep(chance.uniform(0.3 * seconds, 0.8 * seconds))
    frozen = [first.pid, *workers_of(first.pid)]
    _send(signal.SIGSTOP, frozen)
    while _is_locked(ground):
        _send(signal.SIGCONT, frozen)
        time.sleep(0.05)
        _send(signal.SIGSTOP, frozen)
    meanwhile()
    round.faults += 1
    ended(ground.start("--workers", "1"), round, 0)
    _send(signal.SIGCONT, frozen)
    ended(first, round, 0)


def _send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        os.kill(process, number)


def _is_locked(ground: Ground) -> bool:
    with closing(sqlite3.connect(ground.database, timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("begin immediate")
        except sqlite3.OperationalError:
            return True
        connection.execute("rollback")
        return False


def set_the_clock_back(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """The same, but meanwhile the clock is set back by a day, so that by then the leases seem to last for long."""
    ground.set_clock(86_400)

    def set_back() -> None:
        [(until,)] = ground.rows("select coalesce(max(lease_until), 0) from cohorts")
        if until < time.time() + 80_000:
            round.complaints.append("no lease seemed to last for long")
        ground.set_clock(0)

    freeze(ground, round, chance, seconds, set_back)


def lock_the_database(ground: Ground, round: Round, chance: random.Random, seconds: float) -> None:
    """Another program holds SQLite's exclusive lock for 20 seconds."""
    process = ground.start()
    while not (ground.database.exists() and ground.database.stat().st_size):
        time.sleep(0.1)
    time.sleep(chance.uniform(0.3 * seconds, 0.7 * seconds))
    connection = sqlite3.connect(ground.database, timeout=60, isolation_level=None)
    connection.execute("begin exclusive")
    round.faults += 1
    time.sleep(20)
    connection.execute("rollback")
    connection.close()
    ended(process, round, 0)


KINDS: dict[str, tuple[Fault, float]] = {
    "SIGKILL of the run": (kill_the_run, 0.4),
    "SIGKILL of the run and its workers": (kill_everything, 0.2),
    "SIGKILL of a worker": (kill_a_worker, 0.2),
    "SIGKILL of two of three runs": (kill_in_company, 0.2),
    "SIGTERM, SIGINT or SIGHUP": (terminate, 0.1),
    "checkpoints damaged": (damage_the_checkpoints, 0.1),
    "sixteen runs at once on no database": (start_together, 0.05),
    "SIGSTOP past the lease": (freeze, 0.03),
    "SIGSTOP past the lease, and the clock set back": (set_the_clock_back, 0.02),
    "database locked for 20 s": (lock_the_database, 0.03),
}
"""What is done, and in how many of the rounds, of which those with SIGKILL make the whole."""


def play(kind: str, folder: Path, seed: int, seconds: float, undisturbed: Content) -> Round:
    """One round of a kind, in a fresh folder. `seconds` is how long an undisturbed run takes."""
    fault, _ = KINDS[kind]
    ground, round = Ground(folder), Round(kind)
    fault(ground, round, random.Random(f"{kind} {seed}"), seconds)
    ended(ground.start(), round, 0)
    content = ground.content()
    [(round.cells,)] = ground.rows("select count(*) from trials where status in ('finished', 'diverged')")
    [(twice,)], [(zombies,)], [(round.resumed,)] = map(ground.rows, (TWICE, ZOMBIES, RESUMED))
    round.cells -= twice
    round.zombies += zombies
    round.equal = sum(content.get(key) == rows for key, rows in undisturbed.items())
    if ground.rows("pragma integrity_check") != [("ok",)] or ground.rows("pragma foreign_key_check"):
        round.complaints.append("the database is damaged")
    if any(path.suffix != ".damaged" for path in ground.folder.glob("bnexp.db.checkpoints/*")):
        round.complaints.append("checkpoints are left")
    if round.lost:
        round.complaints.append(ground.messages()[-2000:])
    return round


def rounds_of(count: int) -> Iterator[tuple[str, int]]:
    """What is done in `count` rounds with SIGKILL and the others beside them, mixed."""
    planned = [(kind, seed) for kind, (_, share) in KINDS.items() for seed in range(max(1, round(share * count)))]
    random.Random(0).shuffle(planned)
    return iter(planned)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="with SIGKILL")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "faults.json")
    options = parser.parse_args()
    record = describe()
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory() as name:
        seconds, content = undisturbed_run(Path(name) / "undisturbed")
        print(f"undisturbed: {seconds:.1f} s", flush=True)
        for number, (kind, seed) in enumerate(rounds_of(options.rounds)):
            rounds.append(play(kind, Path(name) / str(number), seed, seconds, content))
            print(f"{number}: {json.dumps(asdict(rounds[-1]))}", flush=True)
            kinds = {kind: [asdict(one) for one in rounds if one.kind == kind] for kind in KINDS}
            write(options.output, record | {"cells": CELLS, "undisturbed_seconds": seconds, "kinds": kinds})
    lost = sum(one.lost for one in rounds)
    print(f"{sum(one.faults for one in rounds)} faults in {len(rounds)} rounds; something was lost in {lost}")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
