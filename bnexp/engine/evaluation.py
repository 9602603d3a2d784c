"""What a network's answers are worth. Shape suffixes: T trials, B examples, C classes."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 384
"""Examples of at most CHUNK_INPUTS inputs evaluated at once, whatever the cohort; of larger ones, fewer in proportion,
but LEAST."""
CHUNK_INPUTS = 784
LEAST = 16

BEST = 5
"""An example's label is to be among so many classes, for top-5 accuracy; None where there are no more of them."""


class Measured(NamedTuple):
    """A trial's numbers on a set of examples."""

    loss: float
    """NaN where the network is, and then the others too."""
    accuracy: float
    top5_accuracy: float | None


def chunk(inputs: int) -> int:
    """How many examples of so many inputs are evaluated at once."""
    return max(LEAST, CHUNK * CHUNK_INPUTS // max(CHUNK_INPUTS, inputs))


def among_best(scores_TBC: Tensor, labels_TB: Tensor) -> Tensor:
    """Whether the label is among the best classes, boolean [T, B]; of classes with equal scores the first is the
    better."""
    scores_TB1 = scores_TBC.gather(2, labels_TB[:, :, None])
    earlier_TBC = torch.arange(scores_TBC.shape[2], device=scores_TBC.device) < labels_TB[:, :, None]
    better_TBC = (scores_TBC > scores_TB1) | ((scores_TBC == scores_TB1) & earlier_TBC)
    return better_TBC.sum(2) < BEST


class Tally:
    """Sums over the examples of a set, on the device."""

    def __init__(self, trials: int, device: torch.device, best: bool) -> None:
        """With `best`, top-5 accuracy too, where there are enough classes."""
        self._examples, self._best = 0, best
        self._loss_T = torch.zeros(trials, dtype=torch.float64, device=device)
        self._right_T = torch.zeros(trials, dtype=torch.int64, device=device)
        self._among_T: Tensor | None = None

    def add(self, loss_TB: Tensor, scores_TBC: Tensor, labels_TB: Tensor) -> None:
        """Count further examples."""
        self._examples += labels_TB.shape[1]
        self._loss_T += loss_TB.sum(1)
        self._right_T += (scores_TBC.argmax(2) == labels_TB).sum(1)
        if self._best and scores_TBC.shape[2] > BEST:
            among_T = among_best(scores_TBC, labels_TB).sum(1)
            self._among_T = among_T if self._among_T is None else self._among_T + among_T

    def measured(self) -> list[Measured]:
        """Means over all examples, by place."""
        losses_T = self._loss_T / self._examples
        losses, ruined = losses_T.tolist(), losses_T.isnan()
        accuracies = self._share(self._right_T, ruined)
        among = [None] * len(losses) if self._among_T is None else self._share(self._among_T, ruined)
        return [Measured(*numbers) for numbers in zip(losses, accuracies, among, strict=True)]

    def _share(self, count_T: Tensor, ruined_T: Tensor) -> list[float]:
        shares: list[float] = (count_T.double() / self._examples).masked_fill(ruined_T, math.nan).tolist()
        return shares
