"""A dataset on a device, and the order in which a seed sees it. S streams (seeds), B batch, I inputs."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp import random
from bnexp.data.dataset import Dataset
from bnexp.errors import UsageError

CURVE_EXAMPLES = 2000
"""At most so many examples of each set make a point of a curve."""

POPULATION_BATCHES = 100
"""At most so many training batches make the population statistics of Algorithm 2."""


@dataclass(frozen=True)
class Examples:
    """Examples on the device: x [N, I] in [0, 1], y [N] int64."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def first(self, count: int) -> "Examples":
        return Examples(self.x[:count], self.y[:count])


@dataclass(frozen=True)
class DeviceData:
    """The three sets of one split, on one device. Train and validation stand in random order, so their first examples
    are a fixed random subset."""

    train: Examples
    validation: Examples
    test: Examples
    shape: tuple[int, ...]
    classes: int


def to_device(
    dataset: Dataset, split: int, dtype: torch.dtype, device: torch.device, binarize: bool = False
) -> DeviceData:
    """Scale, flatten and move `dataset`, cut by `split`. With `binarize`, pixels above half of the largest value are 1
    and the others 0."""

    def examples(images: Tensor, labels: Tensor) -> Examples:
        x = images.to(device).to(dtype).flatten(1) / dataset.scale
        return Examples((x > 0.5).to(dtype) if binarize else x, labels.to(device))

    images, labels = torch.tensor(dataset.images), torch.tensor(dataset.labels)
    train, validation = (torch.from_numpy(part) for part in dataset.split(split))
    return DeviceData(
        train=examples(images[train], labels[train]),
        validation=examples(images[validation], labels[validation]),
        test=examples(torch.tensor(dataset.test_images), torch.tensor(dataset.test_labels)),
        shape=dataset.images.shape[1:],
        classes=dataset.classes,
    )


class Batches:
    """The batches of each stream, a permutation an epoch, the last incomplete batch of an epoch left out.

    With `fixed`, the first epoch's batches keep their members for ever and only their order changes."""

    def __init__(self, examples: Examples, size: int, fixed: bool) -> None:
        self.examples, self.size, self.fixed = examples, size, fixed
        self.per_epoch = len(examples) // size
        if self.per_epoch == 0:
            raise UsageError(f"batch_size: {size} is more than the {len(examples)} training examples")
        self._epoch: tuple[list[int], int] | None = None
        self._order = torch.empty(0)

    def indices(self, first: int, count: int, streams: list[int]) -> Tensor:
        """The examples that `count` training steps from step `first` (from 1) see under the seeds `streams`, int64
        [count, S, B]."""
        parts, start = [], first - 1
        while start < first - 1 + count:
            epoch, batch = divmod(start, self.per_epoch)
            if self._epoch != (streams, epoch):
                self._epoch, self._order = (streams, epoch), self.order(epoch, streams)
            parts.append(self._order[:, batch : batch + first - 1 + count - start])
            start += parts[-1].shape[1]
        return torch.cat(parts, dim=1).transpose(0, 1)

    def take(self, index_SB: Tensor) -> tuple[Tensor, Tensor]:
        """The examples x [S, B, I] and labels y [S, B] at these indices."""
        flat = index_SB.reshape(-1)
        x_SBI = self.examples.x.index_select(0, flat).view(*index_SB.shape, -1)
        return x_SBI, self.examples.y.index_select(0, flat).view(index_SB.shape)

    def population(self, streams: list[int]) -> Iterator[Tensor]:
        """x [S, B, I] of the batches that Algorithm 2 averages over: an epoch of their own, at most 100 batches."""
        for index_SB in self.order("population", streams)[:, :POPULATION_BATCHES].unbind(1):
            yield self.take(index_SB)[0]

    def order(self, epoch: int | str, streams: list[int]) -> Tensor:
        """Indices of every batch of `epoch`, int64 [S, batches, B], on the examples' device."""
        used = self.per_epoch * self.size
        members_epoch = 0 if self.fixed else epoch
        members = random.permutation(random.keys("order", streams, members_epoch), len(self.examples))
        batches = members[:, :used].view(len(streams), self.per_epoch, self.size)
        if self.fixed:
            order = random.permutation(random.keys("batch order", streams, epoch), self.per_epoch)
            batches = torch.take_along_dim(batches, order[:, :, None], dim=1)
        return batches.to(self.examples.y.device)
