"""The components of a configuration that have fields of their own: models, normalizers, optimizers, schedules and
augmentations."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from bnexp.marks import SHORT, Fields, Written, per_trial, static
from bnexp.normalizers import NORMS, OwnName, OwnNormOptions, OwnOptions, whose

LAYERS = r"(\d{1,4})x(\d{1,5})"


def as_layers(value: Any) -> Any:
    """[100, 100, 100] of "3x100"; what is not written so is left as it is."""
    match = re.fullmatch(LAYERS, value) if isinstance(value, str) else None
    return [int(match[2])] * int(match[1]) if match else value


SHORT_LAYERS = Written(lambda layers: {"anyOf": [layers, {"type": "string", "pattern": f"^{LAYERS}$"}]})
"""3x100 is short for [100, 100, 100]."""


class MlpOptions(Fields):
    """A multilayer perceptron (the paper's section 4.1 has three hidden layers of 100)."""

    name: Annotated[Literal["mlp"], static("name", "model")] = "mlp"
    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65536)], ...],
        BeforeValidator(as_layers),
        Field(strict=False, min_length=1, max_length=1000),
        SHORT_LAYERS,
        static("units of each hidden layer", "hidden", origin=(100, 100, 100)),
    ] = (100, 100, 100)
    """A list, or "20x100" for twenty of a hundred."""


Widths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=65536)], ...],
    BeforeValidator(as_layers),
    Field(strict=False, max_length=1000),
    SHORT_LAYERS,
]


class CnnOptions(Fields):
    """A small convolutional network: stages of 3x3 convolutions, each stage followed by 2x2 max pooling, then dense
    layers."""

    name: Annotated[Literal["cnn"], static("name", "model")] = "cnn"
    channels: Annotated[Widths, Field(min_length=1), static("feature maps of each stage", "channels", (16, 32))] = (
        16,
        32,
    )
    convolutions: Annotated[int, Field(ge=1, le=16), static("in each stage", "convolutions", origin=1)] = 1
    dense: Annotated[Widths, static("units of each dense hidden layer", "dense", origin=(64,))] = (64,)


class VggOptions(CnnOptions):
    """A network in the style of VGG (Simonyan and Zisserman 2015) for images of 28 or 32 pixels: the same with two
    convolutions a stage, and more of everything."""

    name: Annotated[Literal["vgg"], static("name", "model")] = "vgg"  # type: ignore[assignment]
    channels: Annotated[
        Widths, Field(min_length=1), static("feature maps of each stage", "channels", (64, 128, 256))
    ] = (64, 128, 256)
    convolutions: Annotated[int, Field(ge=1, le=16), static("in each stage", "convolutions", origin=2)] = 2
    dense: Annotated[Widths, static("units of each dense hidden layer", "dense", origin=(512,))] = (512,)


InceptionModule = Literal["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
INCEPTION_MODULES: tuple[InceptionModule, ...] = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


class InceptionOptions(Fields):
    """BN-Inception (the paper's Figure 5). Without normalization, with `local_response` and 40% Dropout it stands for
    the original Inception."""

    name: Annotated[Literal["bn-inception"], static("name", "model")] = "bn-inception"
    width: Annotated[float, Field(gt=0, le=4), static("times the paper's feature maps", "model_width", origin=1.0)] = (
        1.0
    )
    """Of every branch, rounded up to a multiple of 4 where it is less than 1."""
    stem: Annotated[Literal["imagenet", "small"], static("form", "stem", origin="imagenet")] = "imagenet"
    """small: for images of 28 or 32 pixels; a 3x3 convolution without stride stands for the 7x7/2 one, and the first
    pooling is left out, so that the modules work on half of the image's size instead of an eighth."""
    modules: Annotated[
        tuple[InceptionModule, ...],
        Field(strict=False, min_length=1, max_length=10),
        static("names of Figure 5", "modules", origin=INCEPTION_MODULES),
    ] = INCEPTION_MODULES
    """Those that are there, each at most once, in this order."""
    local_response: Annotated[bool, static("yes or no", "local_response", origin=False)] = False
    """Local response normalization after the first pooling and after the stem's last convolution, as the original
    Inception had it."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if list(self.modules) != [name for name in INCEPTION_MODULES if name in self.modules]:
            raise ValueError(f"modules: each at most once, in the order {', '.join(INCEPTION_MODULES)}")
        return self


class OwnModelOptions(Fields):
    """A network of your own, named by import path: with a trial axis, or a plain torch.nn.Module."""

    name: Annotated[OwnName, static("import path", "model")]
    options: Annotated[OwnOptions, static("names and values", "model_options", origin=())] = ()
    """What it is made with."""


class SgdOptions(Fields):
    """Stochastic gradient descent with momentum, as torch.optim.SGD: v = momentum v + g; w = w - lr v."""

    name: Annotated[Literal["sgd"], static("name", "optimizer")] = "sgd"
    lr: Annotated[float, Field(gt=0), per_trial("rate", "lr", origin=0.02)] = 0.02
    """Multiplied by `lr_multiplier`."""
    momentum: Annotated[float, Field(ge=0, lt=1), per_trial("fraction", "momentum", origin=0.9)] = 0.9
    weight_decay: Annotated[float, Field(ge=0), per_trial("rate", "weight_decay", origin=0.0)] = 0.0
    """L2, of weights only: not of biases, gamma or beta."""


class NesterovOptions(SgdOptions):
    """Stochastic gradient descent with Nesterov's momentum (Sutskever et al. 2013), as torch.optim.SGD has it."""

    name: Annotated[Literal["nesterov"], static("name", "optimizer")] = "nesterov"  # type: ignore[assignment]
    momentum: Annotated[float, Field(gt=0, lt=1), per_trial("fraction", "momentum", origin=0.9)] = 0.9


class AdamOptions(Fields):
    """Adam (Kingma and Ba 2015), as torch.optim.Adam: moving averages of the gradient and of its square."""

    name: Annotated[Literal["adam"], static("name", "optimizer")] = "adam"
    lr: Annotated[float, Field(gt=0), per_trial("rate", "lr", origin=0.001)] = 0.001
    """Multiplied by `lr_multiplier`."""
    beta1: Annotated[float, Field(ge=0, lt=1), per_trial("fraction", "adam_beta1", origin=0.9)] = 0.9
    """Of the moving average of gradients that stays at each step."""
    beta2: Annotated[float, Field(ge=0, lt=1), per_trial("fraction", "adam_beta2", origin=0.999)] = 0.999
    """Of the moving average of their squares that stays at each step."""
    eps: Annotated[float, Field(gt=0, le=1), per_trial("gradient", "adam_eps", origin=1e-8)] = 1e-8
    """Added to the root of the latter."""
    weight_decay: Annotated[float, Field(ge=0), per_trial("rate", "weight_decay", origin=0.0)] = 0.0
    """L2, added to the gradient; of weights only: not of biases, gamma or beta."""


class ConstantOptions(Fields):
    """The same learning rate at every step."""

    name: Annotated[Literal["constant"], static("name", "schedule")] = "constant"


class ExponentialOptions(Fields):
    """The learning rate times decay^(step / every), continuously (the paper's section 4.2 decays exponentially)."""

    name: Annotated[Literal["exponential"], static("name", "schedule")] = "exponential"
    decay: Annotated[float, Field(gt=0, le=1), per_trial("factor", "schedule_decay")]
    every: Annotated[float, Field(gt=0), per_trial("steps", "schedule_every")]


class NoAugmentOptions(Fields):
    """Training images as they are."""

    name: Annotated[Literal["none"], static("name", "augment", origin="none")] = "none"


class CropAugmentOptions(Fields):
    """Training images cropped at random and resized, mirrored, and distorted in brightness, contrast and colour
    (Szegedy et al. 2015, section 6), anew at each step."""

    name: Annotated[Literal["crop"], static("name", "augment")] = "crop"
    area: Annotated[float, Field(gt=0, le=1), static("least share of the image", "augment_area", origin=0.08)] = 0.08
    """Crops are uniform in area from this to all of the image, and in the logarithm of their aspect from 3/4 to 4/3."""
    flip: Annotated[float, Field(ge=0, le=1), static("probability", "augment_flip", origin=0.5)] = 0.5
    photometric: Annotated[float, Field(ge=0, le=1), static("strength", "augment_photometric", origin=0.4)] = 0.4
    """Brightness, contrast and saturation are multiplied by numbers uniform in [1 - strength, 1 + strength]."""


COMPONENTS: dict[str, tuple[type[Fields], ...]] = {
    "model": (MlpOptions, CnnOptions, VggOptions, InceptionOptions),
    "norm": NORMS,
    "optimizer": (SgdOptions, NesterovOptions, AdamOptions),
    "schedule": (ConstantOptions, ExponentialOptions),
    "augment": (NoAugmentOptions, CropAugmentOptions),
}
"""Fields with fields of their own, chosen by their `name`."""


OWN_COMPONENTS: dict[str, type[Fields]] = {"model": OwnModelOptions, "norm": OwnNormOptions}
"""The options of those that are named by import path."""


def _else(name: str) -> BeforeValidator:
    """What is given without a name has this one, as all of its kind had once."""
    return BeforeValidator(lambda value: {"name": name} | value if isinstance(value, dict) else value)


ShippedModel = Annotated[MlpOptions | CnnOptions | VggOptions | InceptionOptions, Field(discriminator="name")]
Model = Annotated[
    Annotated[ShippedModel, Tag("shipped")] | Annotated[OwnModelOptions, Tag("own")],
    Discriminator(whose),
    _else("mlp"),
    SHORT,
]
Optimizer = Annotated[SgdOptions | NesterovOptions | AdamOptions, Field(discriminator="name"), _else("sgd"), SHORT]
Schedule = Annotated[ConstantOptions | ExponentialOptions, Field(discriminator="name"), SHORT]
Augment = Annotated[NoAugmentOptions | CropAugmentOptions, Field(discriminator="name"), SHORT]
