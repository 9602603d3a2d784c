"""From a trial's configuration to its data on a device."""

from pathlib import Path

import torch

from bnexp.config import TrialConfig
from bnexp.data.batches import DeviceData, to_device
from bnexp.data.dataset import source

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
"""The values of the field `precision`."""

DataKey = tuple[str, int, str, bool]


def data_key(config: TrialConfig) -> DataKey:
    """What trials must share to train on the same loaded data: trials of one cohort do."""
    return config.dataset, config.split, config.precision, config.binarize


def load(config: TrialConfig, data_dir: Path | None, device: torch.device) -> DeviceData:
    """The data that `config` trains on. Raises DatasetError where they are missing or damaged."""
    dataset = source(config.dataset, data_dir).read()
    return to_device(dataset, config.split, DTYPES[config.precision], device, config.binarize)
