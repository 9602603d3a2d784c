"""BN-Inception: the network of the paper's Figure 5, and the original Inception with its 5x5 convolutions replaced by
two of 3x3 as the control of section 4.2.

The printed table has defects. Its branch widths are built here as they stand; so modules 4c and 4d have 608 feature
maps, which the table's column of output sizes calls 576, and 4e has 1056, called 1024. Table and a 1000-way output
layer have some 11 million parameters, where the text says 13.6 million. Rows 3c and 4e print the size before their
stride.
"""

import math
from typing import NamedTuple

from bnexp.config import TrialConfig
from bnexp.models.blocks import Builder, Maps
from bnexp.models.chance import Dropout
from bnexp.models.convolving import Window, same
from bnexp.models.layers import Cohort, Images, Layer, Sequential
from bnexp.models.maps import AveragePool, Branches, GlobalAveragePool, LocalResponseNorm, MaxPool
from bnexp.options import InceptionOptions

POOL = Window(3, 2, 1)
"""What halves the size in the stem and in modules with stride."""


class Module(NamedTuple):
    """A row of Figure 5: the feature maps of each branch."""

    one: int
    """1x1; 0: no such branch."""
    reduce: int
    """1x1, before `three`."""
    three: int
    double_reduce: int
    """1x1, before two of `double`."""
    double: int
    pool: str
    """average or max"""
    project: int
    """1x1, after the pooling; 0: pooled maps pass as they are, and the module has stride 2."""

    @property
    def stride(self) -> int:
        return 1 if self.project else 2


MODULES = {
    "3a": Module(64, 64, 64, 64, 96, "average", 32),
    "3b": Module(64, 64, 96, 64, 96, "average", 64),
    "3c": Module(0, 128, 160, 64, 96, "max", 0),
    "4a": Module(224, 64, 96, 96, 128, "average", 128),
    "4b": Module(192, 96, 128, 96, 128, "average", 128),
    "4c": Module(160, 128, 160, 128, 160, "average", 128),
    "4d": Module(96, 128, 192, 160, 192, "average", 128),
    "4e": Module(0, 128, 192, 192, 256, "max", 0),
    "5a": Module(352, 192, 320, 160, 224, "average", 128),
    "5b": Module(352, 192, 320, 192, 224, "max", 128),
}
STEM = (64, 64, 192)
"""Feature maps of its convolutions: the first, the 1x1 that reduces, the 3x3."""


class Parts(NamedTuple):
    """A network in parts, in their order."""

    layers: dict[str, Layer]
    shapes: dict[str, Maps]
    """What comes out of each part, before the last pooling."""


def bn_inception(cohort: Cohort, config: TrialConfig, shape: tuple[int, int, int], classes: int) -> Layer:
    """Logits [T, B, classes] of examples [S, B, H W C]; `shape` is one example's.

    Every convolution is normalized before its nonlinearity; without normalization it has a bias in that place. Dropout
    stands before the output layer, which is plain, with a bias."""
    built = parts(cohort, config, shape)
    channels = list(built.shapes.values())[-1].channels
    return Sequential(
        Images(*shape),
        *built.layers.values(),
        GlobalAveragePool(),
        Dropout(cohort, "output"),
        *Builder(cohort, config).output(channels, classes),
    )


def parts(cohort: Cohort, config: TrialConfig, shape: tuple[int, int, int]) -> Parts:
    """Stem and modules."""
    assert isinstance(config.model, InceptionOptions)
    options, build = config.model, Builder(cohort, config)
    layers, shapes = _stem(build, options, Maps(*shape))
    maps = list(shapes.values())[-1]
    first_per_activation = build.first_per_activation(len(options.modules))
    for number, name in enumerate(options.modules):
        layers[name], maps = _module(build, name, maps, options.width, number >= first_per_activation)
        shapes[name] = maps
    return Parts(layers, shapes)


def scaled(channels: int, width: float) -> int:
    """The feature maps of a branch in a network that is `width` times as wide."""
    return round(channels * width) if width >= 1 else 4 * math.ceil(channels * width / 4)


def _stem(build: Builder, options: InceptionOptions, maps: Maps) -> tuple[dict[str, Layer], dict[str, Maps]]:
    layers: dict[str, Layer] = {}
    shapes: dict[str, Maps] = {}
    first, reduce, last = (scaled(channels, options.width) for channels in STEM)
    small = options.stem == "small"
    window = same(3) if small else same(7, 2)
    layers["conv1"], maps = build.convolution("conv1", maps, first, window, separable=not small)
    shapes["conv1"] = maps
    if not small:
        layers["pool1"], maps = MaxPool(POOL.kernel, POOL.stride), maps.after(POOL, first)
        shapes["pool1"] = maps
    if options.local_response:
        layers["norm1"] = LocalResponseNorm()
    layers["conv2 reduce"], maps = build.convolution("conv2 reduce", maps, reduce, same(1))
    layers["conv2"], maps = build.convolution("conv2", maps, last, same(3))
    shapes["conv2"] = maps
    if options.local_response:
        layers["norm2"] = LocalResponseNorm()
    layers["pool2"], maps = MaxPool(POOL.kernel, POOL.stride), maps.after(POOL, last)
    shapes["pool2"] = maps
    return layers, shapes


def _module(build: Builder, name: str, given: Maps, width: float, per_activation: bool) -> tuple[Layer, Maps]:
    row = MODULES[name]
    walk = same(3, row.stride)

    def chain(branch: str, *steps: tuple[int, Window]) -> Layer:
        layers, maps = [], given
        for place, (channels, window) in enumerate(steps):
            layer, maps = build.convolution(
                f"{name} {branch} {place}", maps, scaled(channels, width), window, per_activation
            )
            layers.append(layer)
        return Sequential(*layers)

    branches: dict[str, Layer] = {}
    if row.one:
        branches["1x1"] = chain("1x1", (row.one, same(1)))
    branches["3x3"] = chain("3x3", (row.reduce, same(1)), (row.three, walk))
    doubled = (row.double_reduce, same(1)), (row.double, same(3)), (row.double, walk)
    branches["double 3x3"] = chain("double 3x3", *doubled)
    pool = MaxPool(3, row.stride) if row.pool == "max" else AveragePool(3)
    branches["pool"] = Sequential(pool, chain("pool", (row.project, same(1)))) if row.project else pool
    own = (row.one, row.three, row.double, row.project)
    channels = sum(scaled(count, width) for count in own) + (0 if row.project else given.channels)
    return Branches(branches), given.after(walk, channels)
