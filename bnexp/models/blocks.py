"""What convolutional networks are built of: a convolution, its normalization and its nonlinearity."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bnexp import own, registry
from bnexp.config import TrialConfig
from bnexp.errors import UsageError
from bnexp.models.alone import normalizer
from bnexp.models.convolution import Convolution, SeparableConvolution
from bnexp.models.convolving import Window
from bnexp.models.layers import Cohort, Layer, Linear, Nonlinearity, Sequential
from bnexp.models.maps import PerActivation, PerMap
from bnexp.models.normalization import Bias
from bnexp.models.of_weights import OfWeights
from bnexp.models.trying import tried_function
from bnexp.normalizers import BatchNormOptions, GhostBatchNormOptions, InstanceNormOptions


class Maps(NamedTuple):
    """The shape of an example's feature maps."""

    height: int
    width: int
    channels: int

    def after(self, window: Window, channels: int) -> "Maps":
        """What comes out of a window's walk over them."""
        return Maps(window.size(self.height), window.size(self.width), channels)


class Builder:
    """Makes the parts of one cohort's network, all normalized alike."""

    def __init__(self, cohort: Cohort, config: TrialConfig) -> None:
        self.cohort, self.norm, self.model = cohort, config.norm, config.model.name
        if isinstance(config.norm, GhostBatchNormOptions):
            _refuse_uneven(config.norm.groups, config.batch_size)
        self._normalizer = normalizer(config)
        self._function = registry.component(registry.NONLINEARITIES, config.nonlinearity, config.sources)
        if cohort.device.type == "meta" and own.is_own(config.nonlinearity):  # nothing is trained, but it is tried
            _refuse_unfit(self._function, cohort, config.nonlinearity)

    def first_per_activation(self, layers: int) -> int:
        """The number of the first of `layers` convolutional layers, or modules, in which each activation is normalized
        by itself; `layers` where it is so in none. Raises UsageError where more are asked for."""
        asked = self.norm.per_activation if isinstance(self.norm, BatchNormOptions) else 0
        if asked > layers:
            there = f"the {layers} convolutional layers or modules of {self.model}"
            raise UsageError(f"norm.per_activation: {asked} is more than {there}")
        return layers - asked

    def convolution(
        self,
        name: str,
        given: Maps,
        channels: int,
        window: Window,
        per_activation: bool = False,
        separable: bool = False,
    ) -> tuple[Layer, Maps]:
        """Convolution, normalization and nonlinearity, and the maps that come out."""
        make = SeparableConvolution if separable else Convolution
        maps = given.after(window, channels)
        convolution = make(self.cohort, name, given.channels, channels, window)
        product = convolution.pointwise if isinstance(convolution, SeparableConvolution) else convolution
        normalizer = self._normalized(name, maps, product, per_activation)
        return self._in_order(convolution, normalizer, name, channels, PerMap), maps

    def dense(self, name: str, inputs: int, units: int) -> Layer:
        """The same of units."""
        self._refuse_one_place(name, "units, which have no places")
        linear = Linear(self.cohort, name, inputs, units)
        return self._in_order(linear, self._normalizer_of(linear, name, units), name, units)

    def output(self, inputs: int, classes: int) -> tuple[Layer, Layer]:
        """The product and the bias of the output layer. It is never normalized, but an initialization in the place of
        a norm begins it too."""
        linear = Linear(self.cohort, "output", inputs, classes)
        after = registry.load(registry.OUTPUTS.get(self.norm.name, registry.NORMS["none"]))
        bias: Layer = after(self.cohort, "output", classes, self.norm)
        if isinstance(bias, OfWeights):
            bias.follow(linear)
        return linear, bias

    def _in_order(
        self,
        product: Layer,
        normalizer: Layer,
        name: str,
        units: int,
        each: Callable[[Layer], Layer] = lambda layer: layer,
    ) -> Layer:
        """A product, its normalizer and its nonlinearity. Where normalization comes last there is a bias of `units`
        numbers before the nonlinearity, which it does not take away; `each` makes of a layer of units one of maps."""
        nonlinearity = Nonlinearity(name, self._function)
        if getattr(self.norm, "position", "before") == "before":
            return Sequential(product, normalizer, nonlinearity)
        return Sequential(product, each(Bias(self.cohort, name, units)), nonlinearity, normalizer)

    def _normalizer_of(self, product: Linear | Convolution, name: str, units: int) -> Layer:
        """The normalizer of what comes out of a product, or of its weights."""
        normalizer: Layer = self._normalizer(self.cohort, name, units, self.norm)
        if isinstance(normalizer, OfWeights):
            normalizer.follow(product)
        return normalizer

    def _refuse_one_place(self, name: str, what: str) -> None:
        """Raise UsageError where each map is to be normalized over its places, and layer `name` has `what` instead."""
        if isinstance(self.norm, InstanceNormOptions):
            raise UsageError(
                f"norm: instance normalizes over the places of a feature map, and layer {name!r} has {what}; use "
                "norm: layer, or a convolutional model without dense hidden layers (model.dense: []) whose maps keep "
                "several places"
            )

    def _normalized(self, name: str, maps: Maps, product: Convolution, per_activation: bool) -> Layer:
        if maps.height * maps.width == 1:
            self._refuse_one_place(name, "maps of one place")
        units = maps.height * maps.width * maps.channels if per_activation else maps.channels
        normalizer = self._normalizer_of(product, name, units)
        if per_activation:
            return PerActivation(normalizer)
        return normalizer if normalizer.takes_maps else PerMap(normalizer)


def _refuse_unfit(function: Callable[[Tensor], Tensor], cohort: Cohort, name: str) -> None:
    """Raise UsageError where a nonlinearity of a person's own, called `name`, is none."""
    try:
        tried_function(function, cohort)
    except Exception as error:
        raise UsageError(f"nonlinearity: {name}: {own.said(error, name)}") from error


def _refuse_uneven(groups: int, batch_size: int) -> None:
    """Raise UsageError where a batch cannot be cut into so many virtual batches."""
    examples, left = divmod(batch_size, groups)
    if left or examples < 2:
        raise UsageError(
            f"norm.groups: a batch of {batch_size} examples cannot be cut into {groups} virtual batches of equally "
            "many, two or more"
        )
