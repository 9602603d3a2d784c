"""Pictures made brighter or darker, richer or poorer in contrast and in colour. Shape suffixes: N pictures, R rows,
Q columns, C channels."""

from torch import Tensor

GREY = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in how bright a colour is (ITU-R BT.601)."""


def distort(x_NRQC: Tensor, factors_3N: Tensor) -> Tensor:
    """Pictures in [0, 1] made brighter, richer in contrast (about each one's mean) and in colour (about its grey) by
    their factors, and held in [0, 1]. What is grey has no colour."""
    brightness_N, contrast_N, saturation_N = factors_3N[:, :, None, None, None]
    x_NRQC = x_NRQC * brightness_N
    mean_N = x_NRQC.flatten(1).mean(1)[:, None, None, None]
    x_NRQC = (x_NRQC - mean_N) * contrast_N + mean_N
    if x_NRQC.shape[3] == len(GREY):
        red, green, blue = (x_NRQ * share for x_NRQ, share in zip(x_NRQC.unbind(3), GREY, strict=True))
        grey_NRQ1 = (red + green + blue)[..., None]
        x_NRQC = (x_NRQC - grey_NRQ1) * saturation_N + grey_NRQ1
    return x_NRQC.clamp(0, 1)
