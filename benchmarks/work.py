"""What is trained: two networks, with and without batch normalization and Dropout, and what one step of one costs.

A *trial-step* is one optimizer step of one trial on one batch.
"""

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from bnexp.config import TrialConfig
from bnexp.data.batches import DeviceData, to_device
from bnexp.data.dataset import Dataset, source
from bnexp.options import MlpOptions

SHAPES = {"digits": (8, 8), "fashion-mnist": (28, 28)}
CLASSES = 10
MULTIPLIERS = (1, 5)
"""Of the learning rate; with sigmoid no network of these diverges at either."""
SYNTHETIC_EXAMPLES, SYNTHETIC_TEST_EXAMPLES = 60_000, 10_000
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Work:
    """A network and its data: sigmoid, the hidden layers, batch size and optimizer of the paper's section 4.1."""

    dataset: str
    norm: str
    """none or batch"""
    dropout: float
    """Probability."""

    @property
    def name(self) -> str:
        return self.dataset + ("-bn" if self.norm == "batch" else "") + ("-dropout" if self.dropout else "")

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer, from the inputs to the classes."""
        return (math.prod(SHAPES[self.dataset]), *self.hidden, CLASSES)

    @property
    def hidden(self) -> tuple[int, ...]:
        model = self.trial(0).model
        assert isinstance(model, MlpOptions)
        return model.hidden

    def trial(self, number: int) -> TrialConfig:
        """The trial of this number, from 0: each seed at each learning rate, seed by seed."""
        seed, rate = divmod(number, len(MULTIPLIERS))
        return TrialConfig.model_validate(
            {
                "dataset": self.dataset,
                "norm": self.norm,
                "dropout": self.dropout,
                "lr_multiplier": MULTIPLIERS[rate],
                "seed": seed,
            }
        )


WORKS = tuple(Work(d, norm, p) for d in SHAPES for norm in ("none", "batch") for p in (0.0, 0.5))


def flops(widths: tuple[int, ...], batch: int) -> int:
    """Floating-point operations of the multiplications in one trial-step, a multiply and an add counted as two.

    Each layer of i inputs and o units takes 2 batch i o for its output, as many for its weights' gradient, and as many
    for its inputs' gradient, which the first layer does not need. Normalization, nonlinearity, loss and optimizer are
    not counted."""
    layers = [2 * batch * inputs * units for inputs, units in pairwise(widths)]
    return 3 * sum(layers) - layers[0]


def least_bytes(widths: tuple[int, ...]) -> int:
    """Bytes that one trial-step moves at least, where all activations stay in the cache and no weight does.

    A weight is read for the output, read for its inputs' gradient (not in the first layer), and read and written by
    the optimizer; its velocity is read and written, the gradient being added to it as it is made. All in float32."""
    weights = [inputs * units for inputs, units in pairwise(widths)]
    return FLOAT_BYTES * (6 * sum(weights) - weights[0])


def _noise(name: str) -> Dataset:
    """Images of noise in the sizes of Fashion-MNIST, where its files are missing."""
    draws = np.random.default_rng(0)
    count, test = SYNTHETIC_EXAMPLES, SYNTHETIC_TEST_EXAMPLES
    images, test_images = (draws.integers(0, 256, (n, *SHAPES[name]), np.uint8) for n in (count, test))
    labels, test_labels = (draws.integers(0, CLASSES, n, np.int64) for n in (count, test))
    return Dataset(name, CLASSES, 255.0, images, labels, test_images, test_labels)


def describe_data(dataset: str) -> str:
    """What `load` will give, for the record."""
    if source(dataset).where() is not None:
        return source(dataset).about
    return f"synthetic: uint8 noise in the sizes of {dataset}, whose files are not on this machine"


def load(dataset: str, device: torch.device) -> DeviceData:
    """The dataset on `device`, float32. Its validation set is cut to one example: it is not trained on, and arms are
    compared on training examples."""
    found = source(dataset)
    read = found.read() if found.where() is not None else _noise(dataset)
    data = to_device(read, 0, torch.float32, device)
    return dataclasses.replace(data, validation=data.validation.first(1))
