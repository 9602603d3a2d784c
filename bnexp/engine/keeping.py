"""What is kept of finished trials on disk: their weights and their predictions, in the safetensors format.

A file is named by the hash of its content, written under another name, forced to disk and renamed: one of the name is
whole, and the same content written twice is one file. Its metadata has one entry, `bnexp`, JSON with the format and the
trial key: safetensors puts several in any order, and the same trial would not make the same file.
"""

import json

import torch
from safetensors.torch import save
from torch import Tensor

from bnexp.engine.program import Program
from bnexp.engine.shelving import put
from bnexp.records import PREDICTIONS_FORMAT, Checkpoint, Kept

WEIGHTS_FORMAT = "bnexp weights 1"


class Shelf:
    """Keeps the trials of one program, at the end of their training, where it is told a place; else it keeps
    nothing."""

    def __init__(self, program: Program, checkpoint: Checkpoint | None) -> None:
        """The program has gathered its population statistics."""
        self.program, self.checkpoint = program, checkpoint
        self.folder = checkpoint.files if checkpoint else None
        self._told: dict[str, list[Tensor]] = {}

    def told(self, name: str) -> list[Tensor] | None:
        """Where the class probabilities of the set of this name are to be put as it is scored: [T, n, classes] of the
        next n examples each; None where nobody keeps them."""
        if self.folder is None or "predictions" not in self.program.trials[0].keep:
            return None
        return self._told.setdefault(name, [])

    def keep(self, place: int, slot: int) -> tuple[Kept, ...]:
        """Write what is to be kept of the finished trial in `place`, which is the cohort's in `slot`. Raises BnexpError
        where it cannot be written."""
        if self.folder is None or self.checkpoint is None:
            return ()
        key, kept = self.checkpoint.trial_key(slot), []
        for kind in dict.fromkeys(self.program.trials[place].keep):
            content = self._weights(place, key) if kind == "weights" else self._predictions(place, key)
            kept.append(put(self.checkpoint, slot, kind, content))
        return tuple(kept)

    def _weights(self, place: int, key: str) -> bytes:
        return _content(self.program.weights(place), WEIGHTS_FORMAT, key)

    def _predictions(self, place: int, key: str) -> bytes:
        tensors = {}
        for name, chunks in self._told.items():
            tensors[f"{name}_probabilities"] = torch.cat([chunk_TNC[place] for chunk_TNC in chunks])
            tensors[f"{name}_labels"] = getattr(self.program.data, name).y
        return _content(tensors, PREDICTIONS_FORMAT, key)


def _content(tensors: dict[str, Tensor], form: str, key: str) -> bytes:
    """The file's bytes, the same for the same tensors."""
    plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    return save(plain, {"bnexp": json.dumps({"format": form, "trial_key": key})})
