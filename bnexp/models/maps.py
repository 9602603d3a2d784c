"""Layers of feature maps [T, B, H, W, C] that have nothing to learn, and what lets other layers work on maps. Shape
suffixes as in `convolving`."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d, pad

from bnexp.models.layers import Layer, Pass


def _by_image(x_TBHWC: Tensor) -> Tensor:
    """The same memory as torch has images in its format channels_last: [T B, C, H, W]."""
    return x_TBHWC.flatten(0, 1).permute(0, 3, 1, 2)


def _by_trial(x: Tensor, trials: int) -> Tensor:
    """Of `_by_image`, back."""
    _, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).contiguous().view(trials, -1, height, width, channels)


class MaxPool(Layer):
    """The largest number in each window, padded so that an even size is divided by the stride, and an odd one rounded
    up, as in a convolution of 3x3 with that stride."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x_TBHWC: Tensor, now: Pass) -> Tensor:
        x = max_pool2d(_by_image(x_TBHWC), self.kernel, self.stride, padding=(self.kernel - 1) // 2)
        return _by_trial(x, len(x_TBHWC))


class AveragePool(Layer):
    """The mean over each window, of what is there at the edges; the size stays."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x_TBHWC: Tensor, now: Pass) -> Tensor:
        x = _by_image(x_TBHWC)
        if x.is_cuda:  # where gradients of padded windows in channels_last are wrong (pytorch issue 188344)
            x = x.contiguous()
        x = avg_pool2d(x, self.kernel, 1, padding=self.kernel // 2, count_include_pad=False)
        return _by_trial(x, len(x_TBHWC))


class GlobalAveragePool(Layer):
    """The mean of each feature map, [T, B, C]."""

    def forward(self, x_TBHWC: Tensor, now: Pass) -> Tensor:
        return x_TBHWC.flatten(2, 3).mean(2)


class Flatten(Layer):
    """Every activation a unit, [T, B, H W C]."""

    def forward(self, x_TBHWC: Tensor, now: Pass) -> Tensor:
        return x_TBHWC.flatten(2)


class LocalResponseNorm(Layer):
    """x / (k + alpha mean of x^2 over `size` neighbouring maps)^beta (Krizhevsky et al. 2012, section 3.3, with the
    constants of torch.nn.LocalResponseNorm and GoogLeNet)."""

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x_TBHWC: Tensor, now: Pass) -> Tensor:
        before = self.size // 2
        around = pad(x_TBHWC * x_TBHWC, (before, self.size - 1 - before))
        channels = x_TBHWC.shape[4]
        total = sum((around[..., place : place + channels] for place in range(1, self.size)), around[..., :channels])
        return x_TBHWC * (self.k + self.alpha / self.size * total) ** -self.beta


class Branches(Layer):
    """Several layers on the same input, their feature maps put one after the other."""

    def __init__(self, branches: dict[str, Layer]) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x_TBHWC: Tensor, now: Pass) -> Tensor:
        return torch.cat([branch(x_TBHWC, now) for branch in self.children()], dim=4)


class PerMap(Layer):
    """A layer of units on feature maps: batch and places are one axis to it, so that it has one number a feature map
    (section 3.2)."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_TBHWC: Tensor, now: Pass) -> Tensor:
        y: Tensor = self.layer(x_TBHWC.flatten(1, 3), now)
        return y.view(x_TBHWC.shape)


class PerActivation(Layer):
    """A layer of units on feature maps, each activation a unit of its own."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_TBHWC: Tensor, now: Pass) -> Tensor:
        y: Tensor = self.layer(x_TBHWC.flatten(2), now)
        return y.view(x_TBHWC.shape)
