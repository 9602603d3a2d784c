"""From a trial's configuration to its data on a device."""

from pathlib import Path

import torch

from bnexp.config import TrialConfig
from bnexp.data.batches import DeviceData, to_device
from bnexp.data.dataset import Dataset, source

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
"""The values of the field `precision`."""

DataKey = tuple[str, int, str, bool, int, bool]


def data_key(config: TrialConfig) -> DataKey:
    """What trials must share to train on the same loaded data: trials of one cohort do."""
    return config.dataset, config.split, config.precision, config.binarize, config.image_size, _crops(config)


def load(config: TrialConfig, data_dir: Path | None, device: torch.device) -> DeviceData:
    """The data that `config` trains on. Raises DatasetError where they are missing or damaged, UsageError where they
    have no common size and are given none."""
    return place(config, source(config.dataset, data_dir).read(), device)


def place(config: TrialConfig, dataset: Dataset, device: torch.device) -> DeviceData:
    """`dataset` as `config` trains on it. Raises UsageError where its pictures have no common size and are given
    none."""
    dtype = DTYPES[config.precision]
    return to_device(dataset, config.split, dtype, device, config.binarize, config.image_size, _crops(config))


def _crops(config: TrialConfig) -> bool:
    """Whether other crops of pictures than the single one are wanted."""
    return config.augment.name != "none" or config.crops > 1
