"""The multilayer perceptron of the paper's section 4.1: linear, normalization, nonlinearity, dropout, repeated."""

import math

from bnexp.config import TrialConfig
from bnexp.models.blocks import Builder
from bnexp.models.chance import Dropout
from bnexp.models.layers import Cohort, Layer, Sequential
from bnexp.options import MlpOptions


def mlp(cohort: Cohort, config: TrialConfig, shape: tuple[int, ...], classes: int) -> Layer:
    """Logits [T, B, classes] of flattened examples [S, B, inputs]; `shape` is one example's.

    Every hidden layer is normalized before its nonlinearity; without normalization it has a bias in that place. The
    output layer is plain, with a bias."""
    assert isinstance(config.model, MlpOptions)
    build = Builder(cohort, config)
    build.first_per_activation(0)
    layers: list[Layer] = []
    inputs = math.prod(shape)
    for number, units in enumerate(config.model.hidden):
        name = f"hidden {number}"
        layers += [build.dense(name, inputs, units), Dropout(cohort, name)]
        inputs = units
    return Sequential(*layers, *build.output(inputs, classes))
