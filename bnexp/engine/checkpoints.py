"""A cohort's training on disk: written now and then while it trains, read when it goes on, to the same result bit by
bit on the same machine.

A file holds the tensors of the trials that have not ended (weights, velocities, moving averages, flags of divergence)
in the safetensors format, their curves and probes as JSON beside them, and a hash of it all. It is written in a folder
beside it, forced to disk and moved, so a file of the name is whole.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bnexp.files import force
from bnexp.models.choosing import FORCED
from bnexp.records import Checkpoint, Note, Point, Probe, Saved

FORMAT = "bnexp checkpoint 1"
SHARE = 0.02
"""Of the time, at most so much is spent on writing."""
SLOW_DISK = 200e6
"""Bytes a second that are reckoned with before the first file has been written, and..."""
SLOW_START = 0.02
"""...seconds beside them."""
RECORDS = "records"
"""The name of the tensor that is the text of curves and probes."""


@dataclass(frozen=True)
class Snapshot:
    """A cohort's training after some step, as far as its trials have not ended."""

    step: int
    keys: list[str]
    """The trials, in the order of the tensors' first axis."""
    tensors: Mapping[str, Tensor]
    curves: list[list[Point]]
    probes: list[list[Probe]]


class _DamagedError(Exception):
    """What was written is not what is read."""


class Keeper:
    """Keeps one cohort's training, where it is told a place; else it does nothing."""

    def __init__(self, checkpoint: Checkpoint | None, device: str) -> None:
        self.checkpoint = checkpoint
        self._program = _program(checkpoint, device) if checkpoint else ""
        self._began = time.monotonic()
        self._spent = 0.0
        self._cost: float | None = None
        """Seconds of the last writing."""
        self._complained = False

    def key(self, slot: int) -> str:
        """The trial key of the cohort's trial in `slot`."""
        return self.checkpoint.keys[slot] if self.checkpoint else ""

    def due(self, size: int) -> bool:
        """Whether it is time to write, which for `size` bytes is expected to cost what the last time did."""
        cost = SLOW_START + size / SLOW_DISK if self._cost is None else self._cost
        return self._spent + cost <= SHARE * (time.monotonic() - self._began)

    def save(self, snapshot: Snapshot) -> Iterator[Saved | Note]:
        """Write. Where that fails, training goes on without; it is said once."""
        assert self.checkpoint is not None
        began, path = time.monotonic(), self.checkpoint.path
        try:
            _write(path, snapshot, self._program)
        except (OSError, SafetensorError) as error:
            if not self._complained:
                yield self.checkpoint.unwritten(error)
            self._complained = True
        else:
            yield Saved(path.name)
        self._cost = time.monotonic() - began
        self._spent += self._cost

    def load(self) -> tuple[Snapshot | None, list[Note]]:
        """What the cohort can go on from, and what there is to say. A damaged file is set aside."""
        if self.checkpoint is None or not self.checkpoint.resume or not self.checkpoint.path.is_file():
            return None, []
        path = self.checkpoint.path
        try:
            program, snapshot = _read(path)
        except (OSError, SafetensorError, _DamagedError, ValueError, KeyError, TypeError, AttributeError) as error:
            aside = path.with_name(f"{path.name}.damaged")
            with suppress(OSError):
                path.replace(aside)
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            kept = f"its cohort starts again, and the file is kept as {aside.name}"
            return None, [Note(f"the checkpoint {path} is damaged ({why}); {kept}", "damaged")]
        if program != self._program:
            other = f"the checkpoint {path} is by {program}, not {self._program}; its cohort starts again"
            return None, [Note(other, "foreign")]
        return snapshot if set(snapshot.keys) & set(self.checkpoint.keys) else None, []


def _program(checkpoint: Checkpoint, device: str) -> str:
    """By what the cohort is trained, in words: another would go on to other numbers."""
    forced = os.environ.get(FORCED)
    parts = [checkpoint.program, f"torch {torch.__version__}", device]
    return ", ".join(parts + ([f"convolutions by {forced}"] if forced else []))


def _write(path: Path, snapshot: Snapshot, program: str) -> None:
    records = json.dumps(
        {
            "step": snapshot.step,
            "keys": snapshot.keys,
            "curves": [[list(vars(point).values()) for point in curve] for curve in snapshot.curves],
            "probes": [[list(asdict(probe).values()) for probe in probes] for probes in snapshot.probes],
        }
    )
    text = torch.frombuffer(bytearray(records.encode()), dtype=torch.uint8)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()} | {RECORDS: text}
    metadata = {"format": FORMAT, "program": program, "sha256": _digest(tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    # In a folder of its own, as safetensors writes under a name of its own beside the one it is told.
    with TemporaryDirectory(".tmp", f"{path.name}.", path.parent, ignore_cleanup_errors=True) as folder:
        unfinished = Path(folder) / path.name
        save_file(tensors, unfinished, metadata)
        force(unfinished)
        unfinished.replace(path)
        force(path.parent)


def _read(path: Path) -> tuple[str, Snapshot]:
    """What wrote it, and what it holds."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if metadata.get("format") != FORMAT:
        raise _DamagedError("it is no checkpoint of this format")
    if metadata["sha256"] != _digest(tensors):
        raise _DamagedError("its content is not what was written")
    records: dict[str, Any] = json.loads(tensors.pop(RECORDS).numpy().tobytes())
    curves = [[Point(*point) for point in curve] for curve in records["curves"]]
    probes = [[_probe(*probe) for probe in probes] for probes in records["probes"]]
    return metadata["program"], Snapshot(records["step"], records["keys"], tensors, curves, probes)


def _probe(step: int, layer: str, name: str, value: float, units: list[float]) -> Probe:
    return Probe(step, layer, name, value, tuple(units))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
