"""Convolutional layers with a leading trial axis. Shape suffixes as in `convolving`; and S streams, M outputs of one
input channel."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.models.choosing import Shape, method_for
from bnexp.models.convolving import METHODS, Window, patches
from bnexp.models.layers import Cohort, Layer, Pass, gradient_of, initial_weights


class _Convolve(torch.autograd.Function):
    """Each trial's own convolution. As with products of matrices, the gradient of the weights is added to their `grad`,
    the optimizer's velocity, or given back where they are made of others."""

    @staticmethod
    def forward(ctx: Any, x_TBHWI: Tensor, weight_TCK: Tensor, window: Window, method: str) -> Tensor:
        ctx.save_for_backward(x_TBHWI, weight_TCK)
        ctx.window, ctx.method = window, METHODS[method]
        return ctx.method.forward(x_TBHWI, weight_TCK.to(x_TBHWI.dtype), window)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        [dy_TBHWC], (x_TBHWI, weight_TCK) = gradients, ctx.saved_tensors
        into_TCK = gradient_of(weight_TCK)
        given = dy_TBHWC.contiguous(), x_TBHWI, weight_TCK.to(x_TBHWI.dtype), into_TCK
        dx_TBHWI = ctx.method.backward(*given, ctx.window, ctx.needs_input_grad[0])
        return dx_TBHWI, None if weight_TCK.is_leaf else into_TCK, None, None


class Convolution(Layer):
    """y = W * x, without a bias: of x [T, B, H, W, I], or [S, B, H, W, I] with S dividing T, the trials' feature maps
    [T, B, H, W, C]. W [T, C, K] starts normal with standard deviation init_scale sqrt(1/fan_in), fan_in = K = kernel^2
    I."""

    decays = True
    prepare: Callable[[Tensor], Tensor] | None = None
    """What makes of W the weights that are used."""
    enter: Callable[[Tensor], Tensor] | None = None
    """What makes of x what is convolved."""

    def __init__(self, cohort: Cohort, name: str, inputs: int, outputs: int, window: Window) -> None:
        super().__init__()
        self.name, self.window, self.product_dtype = name, window, cohort.product_dtype
        self.weight = nn.Parameter(initial_weights(cohort, name, outputs, window.kernel**2 * inputs))

    def forward(self, x_TBHWI: Tensor, now: Pass) -> Tensor:
        trials = len(self.weight)
        x_TBHWI = x_TBHWI if self.enter is None else self.enter(x_TBHWI)
        if len(x_TBHWI) < trials:
            x_TBHWI = x_TBHWI.repeat_interleave(trials // len(x_TBHWI), 0)
        x_TBHWI = x_TBHWI.to(self.product_dtype)
        height, width, inputs = x_TBHWI.shape[2:]
        kind = x_TBHWI.dtype, x_TBHWI.device
        method = method_for(Shape(height, width, inputs, self.weight.shape[1], self.window, trials, *kind))
        weight_TCK = self.weight if self.prepare is None else self.prepare(self.weight)
        y_TBHWC: Tensor = _Convolve.apply(x_TBHWI, weight_TCK, self.window, method)  # type: ignore[no-untyped-call]
        return y_TBHWC


class SeparableConvolution(Layer):
    """Each input channel convolved by itself with `multiplier` kernels (the depthwise part), then a 1x1 convolution of
    all that (Figure 5's first layer; Chollet 2017 gives the form in words)."""

    def __init__(
        self, cohort: Cohort, name: str, inputs: int, outputs: int, window: Window, multiplier: int = 8
    ) -> None:
        super().__init__()
        self.depthwise = Depthwise(cohort, f"{name} depthwise", inputs, multiplier, window)
        self.pointwise = Convolution(cohort, name, inputs * multiplier, outputs, Window(1, 1, 0))

    def forward(self, x_TBHWI: Tensor, now: Pass) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(x_TBHWI, now), now)
        return y


class Depthwise(Layer):
    """M kernels for each input channel by itself: feature maps [T, B, H, W, I M], those of a channel together. W
    [T, I M, kernel^2] starts with standard deviation init_scale sqrt(1/fan_in), fan_in = kernel^2."""

    decays = True

    def __init__(self, cohort: Cohort, name: str, inputs: int, multiplier: int, window: Window) -> None:
        super().__init__()
        self.name, self.window, self.inputs, self.product_dtype = name, window, inputs, cohort.product_dtype
        self.weight = nn.Parameter(initial_weights(cohort, name, inputs * multiplier, window.kernel**2))

    def forward(self, x_TBHWI: Tensor, now: Pass) -> Tensor:
        trials, streams = len(self.weight), len(x_TBHWI)
        batch = x_TBHWI.shape[1]
        height, width = (self.window.size(pixels) for pixels in x_TBHWI.shape[2:4])
        seen = patches(x_TBHWI.to(self.product_dtype), self.window).unflatten(2, (-1, self.inputs))
        seen_SIPK = seen.permute(0, 3, 1, 2).contiguous().repeat_interleave(trials // streams, 0)
        weight_TIKM = self.weight.to(self.product_dtype).unflatten(1, (self.inputs, -1)).transpose(2, 3)
        y_TIPM = seen_SIPK @ weight_TIKM
        y_TPC: Tensor = y_TIPM.permute(0, 2, 1, 3).flatten(2)
        return y_TPC.reshape(trials, batch, height, width, -1)
