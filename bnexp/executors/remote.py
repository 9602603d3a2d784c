"""Workers that share no files with whoever keeps the database. What such a worker writes, in a folder of its own, goes
along with what it tells, and is in its place at the other end before that is told on. Nothing here knows how it gets
there, and the end that gives orders needs no torch."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.config import TrialConfig
from bnexp.data.dataset import Dataset, Source, source
from bnexp.engine.shelving import place, put
from bnexp.errors import BnexpError, DatasetError, UsageError
from bnexp.files import write_whole
from bnexp.provenance import is_gone, program, this_process
from bnexp.records import Checkpoint, Note, Outcome, Record, Saved

if TYPE_CHECKING:
    from bnexp.executors.serving import Serving

FOLDER = "bnexp-worker-"
"""Begins the name of a worker's folder; the rest is its process's."""


@dataclass(frozen=True)
class Order:
    """A cohort, and what a worker elsewhere must have to train it."""

    program: str
    """What must train it: the same as keeps the database."""
    device: str
    trials: Sequence[TrialConfig]
    data_dir: Path | None
    fingerprint: str | None
    """Of the dataset, where the worker is to find it; None where it comes along."""
    checkpoint: Checkpoint | None
    """The places at the other end."""
    kept: bytes | None
    """The checkpoint that training is to go on from."""


@dataclass(frozen=True)
class Sent:
    """A record, and the files that come with it."""

    record: Record
    contents: tuple[bytes, ...] = ()


def train(order: Order, host: str, read: Callable[[], Dataset] | None) -> Iterator[Sent | str | BnexpError]:
    """Train a cohort on the machine called `host`, with the dataset that `read` gives, or the one that is here: what
    happens, and where training fails, why. A BnexpError where nothing could be trained here."""
    try:
        _check(order, host)
        serving = _serving(order.device)
    except BnexpError as error:
        yield error
        return
    remedy = f"set TMPDIR where the workers of {host} are started"  # --checkpoints is of the other end
    with ExitStack() as stack:
        try:
            ours = _unpack(order, stack.enter_context(_folder()), remedy)
        except OSError as error:
            yield f"the folder for temporary files on {host} cannot be used ({error}); make room there, or {remedy}"
            return
        for said in serving.train(order.trials, read or _found(order).read, ours):
            yield said if isinstance(said, str) else _pack(said, ours, order.checkpoint)


def _check(order: Order, host: str) -> None:
    """Raise BnexpError where this process is another bnexp, or has other data, than the order is for."""
    if (ours := program()) != order.program:
        raise BnexpError(f"{host} has {ours}, and this run is {order.program}; install the same on every node")
    if order.fingerprint is not None:
        try:
            found = _fingerprint(_dataset(order), order.data_dir)
        except DatasetError as error:
            raise UsageError(f"{host}: {error}") from error
        if found != order.fingerprint:
            where = _found(order).where()
            raise UsageError(f"{host}: {where} is not the dataset of this run; copy it there, or prepare it again")


def _dataset(order: Order) -> str:
    return order.trials[0].dataset


def _found(order: Order) -> Source:
    return source(_dataset(order), order.data_dir)


@cache
def _fingerprint(dataset: str, data_dir: Path | None) -> str:
    return source(dataset, data_dir).fingerprint()


@cache
def _serving(device: str) -> "Serving":
    from bnexp.engine.device import choose
    from bnexp.executors.serving import Serving

    chosen = choose(device)
    assert chosen is not None
    return Serving(chosen)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for what is written meanwhile. Those of processes that were killed are removed."""
    root = Path(tempfile.gettempdir())
    for left in root.glob(f"{FOLDER}*"):
        if is_gone(left.name.removeprefix(FOLDER)):
            shutil.rmtree(left, ignore_errors=True)
    folder = root / f"{FOLDER}{this_process()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(order: Order, folder: Path, remedy: str) -> Checkpoint | None:
    """The order's checkpoint, with places in `folder`, and what helps where these have no room."""
    theirs = order.checkpoint
    if theirs is None:
        return None
    path = folder / theirs.path.name
    if order.kept is not None:
        path.write_bytes(order.kept)
    files = folder / "files" if theirs.files else None
    return replace(theirs, path=path, files=files, resume=order.kept is not None, remedy=remedy)


def _pack(record: Record, ours: Checkpoint | None, theirs: Checkpoint | None) -> Sent:
    """A record, with the files that were written at `ours` before it was told."""
    if ours is None or theirs is None:
        return Sent(record)
    match record:
        case Saved():
            return Sent(record, (ours.path.read_bytes(),))
        case Outcome(kept=kept) if ours.files:
            return Sent(record, tuple(place(ours.files, file).read_bytes() for file in kept))
        case Note(sentence, "damaged" | "foreign" as kind):  # the person knows the one that came with the order
            return Sent(Note(sentence.replace(str(ours.path), str(theirs.path)), kind))
    return Sent(record)


class Desk:
    """Where what is sent of one cohort arrives."""

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        """`checkpoint`: the places of what comes."""
        self.checkpoint = checkpoint
        self._complained = False

    def receive(self, sent: Sent) -> Record | None:
        """The record to tell on, now that its files are in their places; None where there is nothing to say. Raises
        BnexpError where a file cannot be written that was to be kept of a finished trial."""
        checkpoint, record = self.checkpoint, sent.record
        if checkpoint is None:
            return record
        match record:
            case Saved():
                return self._save(checkpoint, sent)
            case Outcome(slot=slot, kept=kept) if checkpoint.files:
                for file, content in zip(kept, sent.contents, strict=True):
                    put(checkpoint, slot, file.kind, content)
            case Note(kind="damaged"):
                with suppress(OSError):
                    checkpoint.path.replace(checkpoint.path.with_name(f"{checkpoint.path.name}.damaged"))
        return record

    def _save(self, checkpoint: Checkpoint, sent: Sent) -> Record | None:
        try:
            write_whole(checkpoint.path, sent.contents[0])
        except OSError as error:
            if self._complained:
                return None
            self._complained = True
            return checkpoint.unwritten(error)
        return sent.record
