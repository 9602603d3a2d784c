"""A dataset on a device, and the order in which a seed sees it. S streams (seeds), B batch, N = S x B, I inputs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bnexp import random
from bnexp.data.dataset import Dataset, Images, Labels
from bnexp.data.examples import Examples, Streamed
from bnexp.data.pictures import Pictures, View, channels_of
from bnexp.data.ragged import Ragged
from bnexp.errors import UsageError

CURVE_EXAMPLES = 2000
"""At most so many examples of each set make a point of a curve."""

FINAL_EXAMPLES = 100_000
"""At most so many training examples make the final training numbers."""

POPULATION_BATCHES = 100
"""At most so many training batches make the population statistics of Algorithm 2."""


HOST_LIMIT = 2**31
"""Bytes of inputs and pictures that are held on a CPU; every worker holds its own."""

SHARE = 0.25
"""Of a GPU's free memory that they may take."""


@dataclass(frozen=True)
class DeviceData:
    """The three sets of one split, on one device. Train and validation stand in random order, so their first examples
    are a fixed random subset."""

    train: Examples
    validation: Examples
    test: Examples
    shape: tuple[int, int, int]
    """Of one input: height, width and channels, flattened in this order."""
    classes: int

    @property
    def device(self) -> torch.device:
        return self.train.y.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the inputs."""
        return self.train.dtype


def to_device(
    dataset: Dataset,
    split: int,
    dtype: torch.dtype,
    device: torch.device,
    binarize: bool = False,
    image_size: int = 0,
    crops: bool = False,
    limit: int | None = None,
) -> DeviceData:
    """`dataset`, cut by `split`, as inputs of type `dtype` on `device`: single crops of `image_size` pixels (0: all of
    the images, as they are), scaled to [0, 1]. With `binarize`, pixels above half of the largest value are 1 and the
    others 0. With `crops`, other crops can be taken too.

    What takes more than `limit` bytes (what the device has room for, unless told) stays where it is, and so do pictures
    of different sizes. Raises UsageError where these are to be seen as they are."""
    shape = shape_of(dataset, image_size)
    view = View(shape[:2], dataset.scale, binarize, dtype)
    streamed = _bytes(dataset, view, crops) > (_room(device) if limit is None else limit)

    def examples(images: Images, labels: Labels, index: npt.NDArray[np.int64]) -> Examples:
        pictures, y = Pictures(images, index), torch.from_numpy(labels[index]).to(device)
        if streamed:
            return Streamed(pictures, y, view, math.prod(shape))
        pixels = pictures.read(torch.arange(len(index))).pixels.to(device) if crops else None
        return Examples(view.all(pictures, device), y, pixels, view)

    train, validation = dataset.split(split)
    return DeviceData(
        train=examples(dataset.images, dataset.labels, train),
        validation=examples(dataset.images, dataset.labels, validation),
        test=examples(dataset.test_images, dataset.test_labels, np.arange(len(dataset.test_labels))),
        shape=shape,
        classes=dataset.classes,
    )


def shape_of(dataset: Dataset, image_size: int) -> tuple[int, int, int]:
    """Height, width and channels of what networks see of the dataset's images. Raises UsageError where these differ in
    size and are to be seen as they are."""
    channels = channels_of(dataset.images)
    if image_size:
        return image_size, image_size, channels
    if isinstance(dataset.images, Ragged):
        raise UsageError(
            f"image_size: 0 leaves images as they are, but those of {dataset.name} differ in size; "
            "set the size that the network sees, such as image_size: 224"
        )
    height, width = dataset.images.shape[1:3]
    return height, width, channels


def batches_of(examples: int, size: int) -> int:
    """How many batches of `size` an epoch has. Raises UsageError where it has none."""
    if size > examples:
        raise UsageError(f"batch_size: {size} is more than the {examples} training examples")
    return examples // size


def _bytes(dataset: Dataset, view: View, crops: bool) -> float:
    """That inputs take on the device, and pictures with them where crops are taken; infinite for what cannot lie there
    as one array."""
    total, (height, width) = 0, view.size
    for images in (dataset.images, dataset.test_images):
        if isinstance(images, Ragged):
            return math.inf
        total += len(images) * height * width * channels_of(images) * view.dtype.itemsize
        total += images.nbytes if crops else 0
    return total


def _room(device: torch.device) -> float:
    """Bytes that data may take on `device`."""
    return SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else HOST_LIMIT


class Batches:
    """The batches of each stream, a permutation an epoch, the last incomplete batch of an epoch left out.

    With `fixed`, the first epoch's batches keep their members for ever and only their order changes."""

    def __init__(self, examples: Examples, size: int, fixed: bool) -> None:
        self.examples, self.size, self.fixed = examples, size, fixed
        self.per_epoch = batches_of(len(examples), size)
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
        [x_NI] = self.examples.each([index_SB.reshape(-1)])
        return x_NI.view(*index_SB.shape, -1), self.labels(index_SB)

    def labels(self, index_SB: Tensor) -> Tensor:
        """The labels y [S, B] at these indices."""
        y = self.examples.y
        return y.index_select(0, index_SB.reshape(-1).to(y.device)).view(index_SB.shape)

    def population(self, streams: list[int]) -> Iterator[Tensor]:
        """x [S, B, I] of the batches that Algorithm 2 averages over: an epoch of their own, at most 100 batches. They
        are single crops, as those are that the network is measured on, though training pictures be augmented."""
        batches = self.order("population", streams)[:, :POPULATION_BATCHES].unbind(1)
        for x_NI in self.examples.each(index_SB.reshape(-1) for index_SB in batches):
            yield x_NI.view(len(streams), self.size, -1)

    def order(self, epoch: int | str, streams: list[int]) -> Tensor:
        """Indices of every batch of `epoch`, int64 [S, batches, B], where the examples want them."""
        used = self.per_epoch * self.size
        members_epoch = 0 if self.fixed else epoch
        device = self.examples.indexed_on
        members = random.permutation(random.keys("order", streams, members_epoch, device=device), len(self.examples))
        batches = members[:, :used].view(len(streams), self.per_epoch, self.size)
        if self.fixed:
            order = random.permutation(random.keys("batch order", streams, epoch, device=device), self.per_epoch)
            batches = torch.take_along_dim(batches, order[:, :, None], dim=1)
        return batches
