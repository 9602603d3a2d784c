"""What each training step sees. Shape suffixes: S streams, B batch, I inputs."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bnexp.data.ahead import Ahead
from bnexp.data.augmentation import Augmentation
from bnexp.data.batches import Batches
from bnexp.data.boxes import Canvases
from bnexp.data.examples import Streamed
from bnexp.options import Augment, CropAugmentOptions

Batch = tuple[Tensor, Tensor]
"""x [S, B, I] and y [S, B]."""


class Feed:
    """The batches of some streams, augmented where asked for.

    What lies on the device is indexed and augmented within the step. Pictures that do not are read ahead by other
    threads, and each batch is written into the same tensors before its step."""

    def __init__(self, batches: Batches, augment: Augment, streams: list[int], steps: int) -> None:
        """`steps`: how many there are; no batch beyond the last one's is read."""
        self.batches, self.streams, self.steps = batches, streams, steps
        examples, shape = batches.examples, (len(streams), batches.size)
        self.augmentation: Augmentation | None = None
        if isinstance(augment, CropAugmentOptions):
            assert examples.view is not None
            self.augmentation = Augmentation(augment, examples.view, streams, examples.y.device)
        self.streamed = isinstance(examples, Streamed)
        if self.streamed:
            self._y = torch.zeros(shape, dtype=torch.int64, device=examples.y.device)
            self._x = torch.zeros((*shape, examples.inputs), dtype=examples.dtype, device=examples.y.device)
        self._next = 0
        """The step whose batch comes next from those read ahead."""
        self._ahead: Ahead[tuple[int, Tensor], tuple[int, Tensor, Canvases | Tensor]] | None = None

    def begin(self, streams: list[int]) -> None:
        """Begin anew with as many other streams, whose keys are in place already."""
        self.stop()
        self.streams = streams

    def state(self) -> dict[str, Tensor]:
        """Every tensor that differs from cohort to cohort of one shape."""
        return {"augment": self.augmentation.keys} if self.augmentation else {}

    def batch(self, index_SB: Tensor, step: Tensor) -> Batch:
        """The batch of `step` (int64 without dimension), whose examples are at these indices. It reads nothing back."""
        if self.streamed:
            return self._x, self._y
        if self.augmentation is None:
            return self.batches.take(index_SB)
        pictures = self.batches.examples.pictures(index_SB.reshape(-1))
        return self.augmentation(pictures, step), self.batches.labels(index_SB)

    @torch.no_grad()
    def write(self, step: int) -> None:
        """Have the batch of `step`, counted from 1, where `batch` finds it."""
        if self._ahead is None or step != self._next:
            self.stop()
            examples = self.batches.examples
            assert isinstance(examples, Streamed)
            self._ahead = Ahead(self._read, self._indices(step), examples.threads)
        number, index_SB, read = next(self._ahead)
        assert number == step
        self._next = step + 1
        self._x.copy_(read if isinstance(read, Tensor) else self._inputs(read, step))
        self._y.copy_(self.batches.labels(index_SB))
        if step >= self.steps:
            self.stop()

    def stop(self) -> None:
        """Read nothing ahead any longer."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _indices(self, first: int) -> Iterator[tuple[int, Tensor]]:
        """Each step from `first` on and the indices of its examples."""
        for step in range(first, max(first, self.steps) + 1):
            yield step, self.batches.indices(step, 1, self.streams)[0]

    @torch.no_grad()
    def _read(self, item: tuple[int, Tensor]) -> tuple[int, Tensor, Canvases | Tensor]:
        """In another thread: a batch, on a CPU as inputs, for a GPU as pictures, of which it makes inputs faster."""
        step, index_SB = item
        examples = self.batches.examples
        assert isinstance(examples, Streamed)
        pictures = examples.read(index_SB.reshape(-1))
        return step, index_SB, pictures if examples.y.is_cuda else self._inputs(pictures, step)

    def _inputs(self, pictures: Canvases, step: int) -> Tensor:
        """x [S, B, I] of a batch's pictures."""
        pictures, view = pictures.to(self._x.device), self.batches.examples.view
        if self.augmentation is not None:
            return self.augmentation(pictures, torch.full((), step, device=self._x.device))
        assert view is not None
        return view.single(pictures).view(self._x.shape)
