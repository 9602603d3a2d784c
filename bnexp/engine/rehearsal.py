"""Whether trials can train at all, found out before any does."""

import torch

from bnexp.config import TrialConfig
from bnexp.data.batches import batches_of, shape_of
from bnexp.data.dataset import Dataset
from bnexp.data.loading import DTYPES
from bnexp.errors import UsageError
from bnexp.models.layers import Cohort, Nonlinearity
from bnexp.models.networks import network

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
    built = network(cohort, config, shape_of(dataset, config.image_size), dataset.classes)
    if config.probes and not any(isinstance(layer, Nonlinearity) for layer in built.modules()):
        raise UsageError(f"probes: they look at nonlinearities of bnexp's, of which model {config.model.name} has none")
