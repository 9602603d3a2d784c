"""Throw damaged inputs at the commands for some minutes, and count how they end.

    python -m benchmarks.fuzz --seconds 600 --seed 1

Each must be accepted (exit code 0), or refused (2) or failed (1) with a message that is one sentence: a traceback, a
hang, another exit code, a password or a control character in what is printed is a fault. Everything runs in this
process, so that thousands of inputs fit into minutes; a watchdog ends what takes too long. The counts, and where the
faults are, go to results/fuzz.json; exit code 1 if there is any fault.
"""

import argparse
import contextlib
import faulthandler
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from benchmarks import mutations
from bnexp.cli import main as bnexp
from bnexp.data.dataset import source
from bnexp.errors import BnexpError
from bnexp.text import CONTROLS, without_passwords

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "benchmarks" / "results" / "fuzz.json"
HANG_SECONDS = 20
"""What takes longer hangs."""
MEMORY = 6 << 30
"""Bytes; what asks for more fails with a traceback."""
ENDS = {0: "accepted", 2: "refused", 1: "failed"}


class HangError(BaseException):
    """The watchdog's."""


@dataclass
class Tally:
    """How the inputs of one kind ended."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    """Where they are, each with the first input that showed it."""

    def fault(self, kind: str, where: str, shown: str) -> None:
        self.ends[kind] += 1
        if where not in self.faults:
            self.faults[where] = shown
            print(f"{kind}: {where}\n  {shown}", file=sys.stderr)


@contextlib.contextmanager
def watched() -> Iterator[list[bool]]:
    """Ends what hangs; the list tells whether it did. What does not even listen ends the whole process."""
    hung: list[bool] = []

    def end(*_: object) -> None:
        hung.append(True)
        raise HangError

    signal.signal(signal.SIGALRM, end)
    faulthandler.dump_traceback_later(10 * HANG_SECONDS, exit=True)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS, 1.0)
    try:
        yield hung
    except HangError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def try_command(tally: Tally, arguments: list[str]) -> None:
    """Run a command, and write down how it ended."""
    shown = repr(arguments)[:2000]
    with watched() as hung:
        ran = CliRunner().invoke(bnexp, arguments)
    if hung:
        tally.fault("hang", f"{arguments[0]} {shown[:200]}", shown)
        return
    error = ran.exception
    if (error is not None and not isinstance(error, SystemExit)) or ran.exit_code not in ENDS:
        tally.fault("traceback", where(error), shown)
        return
    printed = ran.stdout + ran.stderr
    csv = arguments[0] == "query" and "csv" in arguments  # which has what the database has
    # It can be hidden where a URL has its password; a mutated one may have it twice, or elsewhere.
    hidden = shown.count(mutations.SECRET) == 1 and mutations.SECRET not in without_passwords(shown)
    if hidden and mutations.SECRET in printed:
        tally.fault("leak", f"password printed by {arguments[0]}", shown)
    elif CONTROLS.search(printed) and not csv:
        tally.fault("leak", f"control character printed by {arguments[0]}", shown)
    elif ran.exit_code and len([line for line in ran.stderr.splitlines() if line.startswith("Error: ")]) != 1:
        tally.fault("leak", f"not one message of {arguments[0]}", shown)
    else:
        tally.ends[ENDS[ran.exit_code]] += 1


def try_dataset(tally: Tally, rng: random.Random, folder: Path) -> None:
    """Read a damaged dataset."""
    mutations.dataset(rng, folder / "mnist")
    with watched() as hung:
        try:
            source("mnist", folder).read()
            tally.ends["accepted"] += 1
        except BnexpError as error:
            tally.ends[ENDS[error.exit_code]] += 1
        except Exception as error:
            kept = folder / f"fault-{len(tally.faults)}"
            if where(error) not in tally.faults:
                (folder / "mnist").rename(kept)
            tally.fault("traceback", where(error), str(kept))
    if hung:
        kept = (folder / "mnist").rename(folder / f"fault-{len(tally.faults)}")
        tally.fault("hang", "reading a dataset", str(kept))


def where(error: BaseException | None) -> str:
    """The error's type, and the last lines of ours that it went through."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    ours = [frame for frame in frames if "/bnexp/" in frame.filename] or list(frames)
    lines = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in ours[-3:][::-1])
    return f"{type(error).__name__} at {lines}: {str(error)[:100]}"


def tries(rng: random.Random, folder: Path) -> dict[str, Callable[[Tally], None]]:
    """A way to try one more input, by kind."""
    shipped, small = (ROOT / "experiments.yaml").read_text(), folder / "small.yaml"
    small.write_text(mutations.SMALL)
    database, damaged = str(folder / "tiny.db"), folder / "experiments.yaml"

    def yaml(tally: Tally) -> None:
        content = mutations.experiments_file(rng, shipped)
        damaged.write_bytes(content)
        commands = [["claims", "better"], ["claims"], ["report"], ["report", "--claim", "better"], ["report", "both"]]
        commands += [["plan", name] for name in re.findall(r"(?m)^  ([\w-]+):", content.decode(errors="ignore"))[:2]]
        formats = ["--format", rng.choice(["table", "json", "markdown"])]
        command = rng.choice(commands)
        before = len(tally.faults)
        extra = formats if command[0] == "report" else []
        where_from = [] if command[0] == "claims" else ["--db", database]
        try_command(tally, [*command, "--file", str(damaged), *where_from, *extra])
        if len(tally.faults) > before:
            (folder / f"fault-{before}.yaml").write_bytes(content)

    def settings(tally: Tally) -> None:
        option = ["--set", mutations.assignment(rng)]
        seeds = mutations.mutated(rng, rng.choice(["3", "1,2,5"]), mutations.TEXTS).replace("\0", "")
        if rng.random() < 0.2 and not re.fullmatch(r"\d{5,7}", seeds):  # a million trials are work, and no fault
            option = ["--seeds", seeds]
        try_command(tally, ["plan", "tiny", "--file", str(small), *option])

    def url(tally: Tally) -> None:
        command = rng.choice([["status"], ["query", "select 1"], ["show", "a"], ["plan", "tiny", "--file", str(small)]])
        try_command(tally, [*command, "--db", mutations.url(rng, folder)])

    def sql(tally: Tally) -> None:
        form = rng.choice(["table", "json", "csv"])
        try_command(
            tally, ["query", "--db", database, "--format", form, "--timeout", "2", "--", mutations.statement(rng)]
        )

    return {
        "yaml": yaml,
        "settings": settings,
        "url": url,
        "idx": lambda tally: try_dataset(tally, rng, folder),
        "sql": sql,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="Keep what shows a fault here.")
    parser.add_argument("--output", type=Path, default=RECORD)
    options = parser.parse_args()
    from benchmarks.machine import describe, write

    machine = describe()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        tallies = fuzz(options.seconds, options.seed, folder)
    record: dict[str, Any] = {
        **machine,
        "seconds": options.seconds,
        "seed": options.seed,
        "kinds": {
            kind: {"inputs": tally.ends.total(), **{end: tally.ends[end] for end in COUNTED}}
            for kind, tally in tallies.items()
        },
        "faults": {kind: list(tally.faults) for kind, tally in tallies.items() if tally.faults},
    }
    write(options.output, record)
    for kind, counts in record["kinds"].items():
        print(kind, *(f"{count:,} {name}" for name, count in counts.items()), sep="  ")
    sys.exit(bool(record["faults"]))


COUNTED = ("accepted", "refused", "failed", "traceback", "hang", "leak")


def fuzz(seconds: float, seed: int, folder: Path) -> dict[str, Tally]:
    """Try inputs of every kind in turn, for so long."""
    rng = random.Random(seed)
    here = Path.cwd()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(folder)
    try:
        ways = tries(rng, folder)
        small = ["run", "tiny", "--file", "small.yaml", "--db", "tiny.db", "--workers", "1"]
        made = CliRunner().invoke(bnexp, small)
        assert made.exit_code == 0, made.stderr
        tallies = {kind: Tally() for kind in ways}
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for kind, way in ways.items():
                way(tallies[kind])
    finally:
        os.chdir(here)
    return tallies


if __name__ == "__main__":
    main()
