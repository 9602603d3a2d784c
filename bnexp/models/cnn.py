"""Networks of 3x3 convolutions and pooling, small or in the style of VGG (Simonyan and Zisserman 2015)."""

import math

from bnexp.config import TrialConfig
from bnexp.models.blocks import Builder, Maps
from bnexp.models.chance import Dropout
from bnexp.models.convolving import Window, same
from bnexp.models.layers import Cohort, Images, Layer, Sequential
from bnexp.models.maps import Flatten, MaxPool
from bnexp.options import CnnOptions

HALVE = Window(2, 2, 0)


def cnn(cohort: Cohort, config: TrialConfig, shape: tuple[int, int, int], classes: int) -> Layer:
    """Logits [T, B, classes] of examples [S, B, H W C]; `shape` is one example's.

    Each stage has convolutions that keep the size, normalized before their nonlinearity, and halves it by max pooling
    while there are two pixels to pool. Dense layers, with Dropout, follow; the output layer is plain, with a bias."""
    assert isinstance(config.model, CnnOptions)
    options, build, maps = config.model, Builder(cohort, config), Maps(*shape)
    count = len(options.channels) * options.convolutions
    first_per_activation = build.first_per_activation(count)
    layers: list[Layer] = [Images(*maps)]
    for number in range(count):
        stage, place = divmod(number, options.convolutions)
        per_activation = number >= first_per_activation
        layer, maps = build.convolution(f"convolution {number}", maps, options.channels[stage], same(3), per_activation)
        layers.append(layer)
        if place == options.convolutions - 1 and min(maps.height, maps.width) >= HALVE.stride:
            layers.append(MaxPool(HALVE.kernel, HALVE.stride))
            maps = maps.after(HALVE, maps.channels)
    layers.append(Flatten())
    inputs = math.prod(maps)
    for number, units in enumerate(options.dense):
        name = f"dense {number}"
        layers += [build.dense(name, inputs, units), Dropout(cohort, name)]
        inputs = units
    return Sequential(*layers, *build.output(inputs, classes))
