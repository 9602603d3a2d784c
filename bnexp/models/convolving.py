"""Three ways to convolve many trials at once, to be equal but for rounding.

Shape suffixes: T trials, B batch, H W height and width, I input channels, C output channels, K weights of
one output, in the order height, width, input channel. Channels come last, so that a feature map's numbers lie where a
unit's would: normalization and products need no other code.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from bnexp.models.layers import add_product


class Window(NamedTuple):
    """How a square kernel walks over an image."""

    kernel: int
    stride: int
    padding: int

    def size(self, pixels: int) -> int:
        """Of what comes out, of so many pixels in a row."""
        return (pixels + 2 * self.padding - self.kernel) // self.stride + 1


def same(kernel: int, stride: int = 1) -> Window:
    """With the padding that, without a stride, leaves the size as it is."""
    return Window(kernel, stride, kernel // 2)


Forward = Callable[[Tensor, Tensor, Window], Tensor]
"""y [T, B, H, W, C] of x [T, B, H, W, I] and weights [T, C, K]."""

Backward = Callable[[Tensor, Tensor, Tensor, Tensor, Window, bool], Tensor | None]
"""Of dy, x, the weights and their gradients [T, C, K], which it adds to: dx, where it is wanted."""


class Method(NamedTuple):
    """One way to convolve."""

    forward: Forward
    backward: Backward


def _as_filters(weight_CK: Tensor, window: Window) -> Tensor:
    """The same memory as torch has filters in its format channels_last: [C, I, kernel, kernel]."""
    return weight_CK.view(len(weight_CK), window.kernel, window.kernel, -1).permute(0, 3, 1, 2)


def _as_image(x_BHWC: Tensor) -> Tensor:
    """The same memory, as torch has images in its format channels_last: [B, C, H, W]."""
    return x_BHWC.permute(0, 3, 1, 2)


def _gradients(
    dy: Tensor, x: Tensor, filters: Tensor, window: Window, groups: int, needs_dx: bool
) -> tuple[Tensor | None, Tensor]:
    stride, padding = [window.stride] * 2, [window.padding] * 2
    wanted = [needs_dx, True, False]
    dx, dw, _ = torch.ops.aten.convolution_backward(
        dy, x, filters, None, stride, padding, [1, 1], False, [0, 0], groups, wanted
    )
    return dx, dw


def loop_forward(x_TBHWI: Tensor, weight_TCK: Tensor, window: Window) -> Tensor:
    """Trial by trial, by torch's own convolution."""
    of_trials = [
        conv2d(_as_image(x), _as_filters(w, window), stride=window.stride, padding=window.padding)
        for x, w in zip(x_TBHWI, weight_TCK, strict=True)
    ]
    return _together(of_trials)


def _together(of_trials: Sequence[Tensor]) -> Tensor:
    """Images [T, B, H, W, C] of each trial's [B, C, H, W], copied where there are several."""
    channels_last = [y.permute(0, 2, 3, 1) for y in of_trials]
    return channels_last[0].contiguous()[None] if len(channels_last) == 1 else torch.stack(channels_last)


def loop_backward(
    dy_TBHWC: Tensor, x_TBHWI: Tensor, weight_TCK: Tensor, into_TCK: Tensor, window: Window, needs_dx: bool
) -> Tensor | None:
    gradients = []
    for dy, x, w, into in zip(dy_TBHWC, x_TBHWI, weight_TCK, into_TCK, strict=True):
        dx, dw = _gradients(_as_image(dy), _as_image(x), _as_filters(w, window), window, 1, needs_dx)
        into.add_(dw.permute(0, 2, 3, 1).reshape(into.shape))
        if dx is not None:
            gradients.append(dx)
    return _together(gradients) if gradients else None


def _side_by_side(x_TBHWC: Tensor) -> Tensor:
    """The trials' channels in one image: [B, T C, H, W], channels_last."""
    return _as_image(x_TBHWC.permute(1, 2, 3, 0, 4).flatten(3))


def _apart(x_BCHW: Tensor, trials: int) -> Tensor:
    """Of `_side_by_side`, back."""
    x_BHWTC: Tensor = x_BCHW.permute(0, 2, 3, 1).unflatten(3, (trials, -1))
    return x_BHWTC.permute(3, 0, 1, 2, 4).contiguous()


def grouped_forward(x_TBHWI: Tensor, weight_TCK: Tensor, window: Window) -> Tensor:
    """All trials in one convolution, a group each."""
    trials = len(weight_TCK)
    filters = _as_filters(weight_TCK.flatten(0, 1), window)
    y = conv2d(_side_by_side(x_TBHWI), filters, stride=window.stride, padding=window.padding, groups=trials)
    return _apart(y, trials)


def grouped_backward(
    dy_TBHWC: Tensor, x_TBHWI: Tensor, weight_TCK: Tensor, into_TCK: Tensor, window: Window, needs_dx: bool
) -> Tensor | None:
    trials = len(weight_TCK)
    filters = _as_filters(weight_TCK.flatten(0, 1), window)
    dx, dw = _gradients(_side_by_side(dy_TBHWC), _side_by_side(x_TBHWI), filters, window, trials, needs_dx)
    into_TCK.add_(dw.permute(0, 2, 3, 1).reshape(into_TCK.shape))
    return None if dx is None else _apart(dx, trials)


def patches(x_TBHWI: Tensor, window: Window) -> Tensor:
    """What the kernel sees at each place: [T, places, K]."""
    kernel, stride, padding = window
    if window == (1, 1, 0):
        return x_TBHWI.flatten(1, 3)
    padded = pad(x_TBHWI, (0, 0, padding, padding, padding, padding))
    seen: Tensor = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
    return seen.permute(0, 1, 2, 3, 5, 6, 4).reshape(len(x_TBHWI), -1, kernel * kernel * x_TBHWI.shape[4])


def patches_forward(x_TBHWI: Tensor, weight_TCK: Tensor, window: Window) -> Tensor:
    """As a product of the patches that the kernel sees (im2col)."""
    height, width = (window.size(pixels) for pixels in x_TBHWI.shape[2:4])
    y_TPC = torch.bmm(patches(x_TBHWI, window), weight_TCK.transpose(1, 2))
    return y_TPC.view(*x_TBHWI.shape[:2], height, width, -1)


def patches_backward(
    dy_TBHWC: Tensor, x_TBHWI: Tensor, weight_TCK: Tensor, into_TCK: Tensor, window: Window, needs_dx: bool
) -> Tensor | None:
    dy_TPC = dy_TBHWC.flatten(1, 3)
    add_product(into_TCK, dy_TPC.transpose(1, 2), patches(x_TBHWI, window))
    if not needs_dx:
        return None
    kernel, stride, padding = window
    if window == (1, 1, 0):
        return torch.bmm(dy_TPC, weight_TCK).view(x_TBHWI.shape)
    trials, batch, height, width, inputs = x_TBHWI.shape
    down, across = dy_TBHWC.shape[2:4]
    seen = torch.bmm(dy_TPC, weight_TCK).view(trials, batch, down, across, kernel, kernel, inputs)
    padded = dy_TPC.new_zeros(trials, batch, height + 2 * padding, width + 2 * padding, inputs)
    for row in range(kernel):
        for column in range(kernel):
            rows = slice(row, row + stride * (down - 1) + 1, stride)
            columns = slice(column, column + stride * (across - 1) + 1, stride)
            padded[:, :, rows, columns] += seen[:, :, :, :, row, column]
    dx: Tensor = padded[:, :, padding : padding + height, padding : padding + width].contiguous()
    return dx


METHODS = {
    "loop": Method(loop_forward, loop_backward),
    "patches": Method(patches_forward, patches_backward),
    "grouped": Method(grouped_forward, grouped_backward),
}
