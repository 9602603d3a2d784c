"""Normalizers of each example by itself, beside group normalization. Shape suffixes as in `layers`: T trials, B batch,
C units; and P places of a feature map, one where there are only units."""

import torch
from torch import Tensor, nn

from bnexp.models.layers import Cohort, Layer, Pass
from bnexp.models.normalization import GroupNorm
from bnexp.normalizers import GroupNormOptions, InstanceNormOptions, LayerNormOptions, RmsNormOptions


class LayerNorm(GroupNorm):
    """Layer normalization (Ba, Kiros and Hinton 2016): each example by the mean and the biased variance of all units of
    the layer, then gamma from 1 and beta from 0 per unit, as torch.nn.LayerNorm. Evaluation is no different.

    It is group normalization with one group. Of feature maps the mean and variance are over all maps and places of an
    example, and gamma and beta per map, as Wu and He 2018 have it (section 3.1); the first paper is of units."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: LayerNormOptions) -> None:
        super().__init__(cohort, name, units, GroupNormOptions(groups=1, eps=options.eps))


class InstanceNorm(GroupNorm):
    """Instance normalization (Ulyanov, Vedaldi and Lempitsky 2016, "Instance normalization: the missing ingredient for
    fast stylization"): each feature map of each example by its own mean and biased variance over its places, then gamma
    from 1 and beta from 0 per map, as torch.nn.InstanceNorm2d with `affine`. Evaluation is no different.

    It is group normalization with one map a group. Of one place nothing but beta would be left, so `Builder` refuses
    it for units and for such maps."""

    def __init__(self, cohort: Cohort, name: str, units: int, options: InstanceNormOptions) -> None:
        super().__init__(cohort, name, units, GroupNormOptions(groups=units, eps=options.eps))


class RmsNorm(Layer):
    """Root mean square normalization (Zhang and Sennrich 2019): each example divided by the root of the mean of the
    squares of all units of the layer, whose mean stays; then gamma from 1 and beta from 0 per unit. Evaluation is no
    different.

    torch.nn.RMSNorm has no beta: it stands for the bias that the paper adds after normalization. Of feature maps the
    mean is over all maps and places of an example, as in `LayerNorm`."""

    takes_maps = True

    def __init__(self, cohort: Cohort, name: str, units: int, options: RmsNormOptions) -> None:
        super().__init__()
        self.name = name
        self.gamma = nn.Parameter(cohort.full(1.0, 1, units))
        self.beta = nn.Parameter(cohort.full(0.0, 1, units))
        self.eps = options.eps

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        trials, batch, *_, units = x_TBC.shape
        x_TBPC = x_TBC.to(self.gamma.dtype).view(trials, batch, -1, units)
        inverse_TB11 = ((x_TBPC * x_TBPC).mean((2, 3), keepdim=True) + self.eps).rsqrt()
        y_TBPC = torch.addcmul(self.beta[:, None], x_TBPC * inverse_TB11, self.gamma[:, None])
        return y_TBPC.view(x_TBC.shape)
