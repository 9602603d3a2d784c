"""The examples of one set: as inputs on the device, or as pictures that stay where they are until they are needed.

Shape suffixes: N examples, I inputs, B some of the examples.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing

import torch
from torch import Tensor

from bnexp.data.ahead import Ahead
from bnexp.data.boxes import Canvases
from bnexp.data.crops import boxes
from bnexp.data.pictures import Pictures, View, fixed

READERS = {"cpu": 1, "cuda": 4}
"""Threads that read pictures, by the type of device. On a CPU every core has a cohort of its own to train."""


class Examples:
    """Examples on the device: x [N, I] in [0, 1], y [N] int64. With `pixels`, uint8 [N, H, W, C], what they are made
    of is there too, for crops of it to be taken; `view` says how."""

    def __init__(self, x: Tensor, y: Tensor, pixels: Tensor | None = None, view: View | None = None) -> None:
        self.y, self.view = y, view
        self._x, self._pixels = x, pixels

    @property
    def x(self) -> Tensor:
        """All inputs, [N, I]."""
        return self._x

    @property
    def dtype(self) -> torch.dtype:
        return self._x.dtype

    @property
    def inputs(self) -> int:
        """Of one example."""
        return self._x.shape[1]

    @property
    def indexed_on(self) -> torch.device:
        """Where lists of places are wanted: where the pictures are."""
        return self.y.device

    def __len__(self) -> int:
        return len(self.y)

    def first(self, count: int) -> "Examples":
        pixels = None if self._pixels is None else self._pixels[:count]
        return Examples(self._x[:count], self.y[:count], pixels, self.view)

    def each(self, places: Iterable[Tensor]) -> Iterator[Tensor]:
        """The inputs [B, I] at each of some lists of places (int64 [B])."""
        return (self._x.index_select(0, place) for place in places)

    def pictures(self, places: Tensor) -> Canvases:
        """What the examples at `places` are made of, on the device."""
        assert self._pixels is not None
        return fixed(self._pixels.index_select(0, places))

    def canvases(self, size: int) -> Iterator[Canvases]:
        """All pictures, `size` at once, on the device."""
        return (self.pictures(places) for places in torch.arange(len(self), device=self.y.device).split(size))

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All examples, `size` at once: x [B, I] and y [B]."""
        return zip(self._x.split(size), self.y.split(size), strict=True)

    def crops(self, size: int, count: int) -> Iterator[tuple[Iterator[Tensor], Tensor]]:
        """All examples, `size` at once: `count` crops of each, one after the other, x [B, I] each; and y [B]."""
        if count == 1:
            yield from ((iter([x]), y) for x, y in self.chunks(size))
            return
        assert self.view is not None
        view = self.view
        for pictures, y in zip(self.canvases(size), self.y.split(size), strict=True):
            cut = boxes(count, pictures.sizes, view.size)
            yield (view.seen(pictures, box_N4, mirrored_N) for box_N4, mirrored_N in cut), y


class Streamed(Examples):
    """Examples whose pictures stay in memory of the host or in a file; the labels are on the device. What is needed
    next is read ahead by other threads. Inputs are the same, to the bit on a CPU, as those of `Examples`."""

    view: View

    def __init__(self, pictures: Pictures, y: Tensor, view: View, inputs: int) -> None:
        self.y, self.view = y, view
        self._stored, self._inputs = pictures, inputs

    @property
    def x(self) -> Tensor:
        return torch.cat(list(self.each(torch.arange(len(self)).split(64))))

    @property
    def dtype(self) -> torch.dtype:
        return self.view.dtype

    @property
    def inputs(self) -> int:
        return self._inputs

    @property
    def indexed_on(self) -> torch.device:
        return torch.device("cpu")

    @property
    def threads(self) -> int:
        """How many read ahead."""
        return READERS.get(self.y.device.type, 1)

    def first(self, count: int) -> "Streamed":
        return Streamed(self._stored.first(count), self.y[:count], self.view, self._inputs)

    def each(self, places: Iterable[Tensor]) -> Iterator[Tensor]:
        return map(self.view.single, self._ahead(places))

    def pictures(self, places: Tensor) -> Canvases:
        return self.read(places).to(self.y.device)

    def canvases(self, size: int) -> Iterator[Canvases]:
        return self._ahead(torch.arange(len(self)).split(size))

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(map(self.view.single, self.canvases(size)), self.y.split(size), strict=True)

    def read(self, places: Tensor) -> Canvases:
        """The pictures at `places` (on the host), on the host, in memory from which the device copies fast."""
        pictures = self._stored.read(places)
        return pictures.pinned() if self.y.is_cuda else pictures

    def _ahead(self, places: Iterable[Tensor]) -> Iterator[Canvases]:
        with closing(Ahead(self.read, places, self.threads)) as ahead:
            for pictures in ahead:
                yield pictures.to(self.y.device)
