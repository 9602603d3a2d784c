"""What a worker does for a cohort, wherever it is: have the data on its device, train, and tell every record."""

import traceback
from collections.abc import Callable, Iterator, Sequence

import torch

from bnexp.config import TrialConfig
from bnexp.data.batches import DeviceData
from bnexp.data.dataset import Dataset
from bnexp.data.loading import DataKey, data_key, place
from bnexp.engine.trainer import Trainer
from bnexp.errors import BnexpError
from bnexp.records import Checkpoint, Record


class Serving:
    """A worker on one device. The data and the program of its last cohort stay for one that wants the same."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._trainer, self._loaded = Trainer(), dict[tuple[DataKey, str | None], DeviceData]()

    def train(
        self,
        trials: Sequence[TrialConfig],
        read: Callable[[], Dataset],
        checkpoint: Checkpoint | None,
        fingerprint: str | None = None,
    ) -> Iterator[Record | str]:
        """Train a cohort, whose dataset `read` gives where the one of this fingerprint is not there yet. Every record,
        and where training fails, why: nothing follows that."""
        key = data_key(trials[0]), fingerprint
        try:
            if key not in self._loaded:
                self._loaded = {key: place(trials[0], read(), self.device)}
            yield from self._trainer.train(trials, self._loaded[key], checkpoint)
        except BnexpError as error:
            yield str(error)
        except Exception:
            yield traceback.format_exc()
