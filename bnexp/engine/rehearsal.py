"""Whether trials can train at all, found out before any does."""

import torch

from bnexp import registry
from bnexp.config import TrialConfig
from bnexp.data.batches import batches_of, shape_of
from bnexp.data.dataset import Dataset
from bnexp.data.loading import DTYPES
from bnexp.models.layers import Cohort

META = torch.device("meta")
"""Whose tensors have shapes and no numbers: nothing is drawn or computed."""


def rehearse(config: TrialConfig, dataset: Dataset) -> None:
    """Build what a trial of this configuration would train on `dataset`, without its numbers. Raises UsageError, which
    says what is wrong, where it could not train."""
    batches_of(len(dataset.images) - dataset.held_out, config.batch_size)
    cohort = Cohort(
        streams=[config.random_seed],
        init_scale=torch.tensor([config.init_scale], dtype=torch.float64),
        dropout=torch.tensor([config.dropout], dtype=torch.float64),
        dtype=DTYPES[config.precision],
        device=META,
        bfloat16=config.precision == "bfloat16",
    )
    build = registry.load(registry.MODELS[config.model.name])
    build(cohort, config, shape_of(dataset, config.image_size), dataset.classes)
