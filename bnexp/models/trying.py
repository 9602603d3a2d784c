"""Whether a layer of a person's own does what a layer must, tried before anything trains.

Shape suffixes as in `layers`."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bnexp.models.layers import Cohort, Layer, Mode, Pass

CPU = torch.device("cpu")
EXAMPLES = 4
"""In the batch that it is tried with."""
MODES = (Mode.TRAIN, Mode.CURVE, Mode.COLLECT, Mode.FINAL)
"""Of the passes, in their order."""

Build = Callable[[Cohort], Layer]


def cohort_like(
    cohort: Cohort, streams: Sequence[int], trials: int, scale: float = 1.0, dropout: float = 0.0
) -> Cohort:
    """One of other trials, all alike, on a CPU."""
    return replace(
        cohort,
        streams=[*streams],
        init_scale=torch.full((trials,), scale),
        dropout=torch.full((trials,), dropout),
        device=CPU,
        bfloat16=False,
    )


def batch(cohort: Cohort, streams: int, *shape: int) -> Tensor:
    """Numbers to pass through, [streams, EXAMPLES, *shape]."""
    return torch.randn(streams, EXAMPLES, *shape, dtype=cohort.dtype, generator=_draws())


def images(cohort: Cohort, streams: int, inputs: int) -> Tensor:
    """Pixels in [0, 1] to pass through, [streams, EXAMPLES, inputs]."""
    return torch.rand(streams, EXAMPLES, inputs, dtype=cohort.dtype, generator=_draws())


def _draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def passed(layer: Layer, x: Tensor, mode: Mode = Mode.TRAIN) -> Tensor:
    """What it makes of a batch in its first step."""
    made: Tensor = layer(x, Pass(mode, torch.ones((), dtype=torch.int64)))
    return made


@torch.no_grad()
def tried(build: Build, cohort: Cohort, x_TBI: Tensor, wanted: Sequence[int], wanted_is: str = "") -> None:
    """Make one of two trials and pass a batch through it, and of the first trial alone, as they train and as they are
    evaluated. Raises ValueError where shapes are not what they should be (`wanted`, [2, ...], in words `wanted_is`), or
    a trial depends on its company."""
    together, alone = (build(cohort_like(cohort, range(trials), trials)) for trials in (2, 1))
    for path, parameter in together.named_parameters():
        if parameter.dim() != 3 or len(parameter) != 2:
            shape = f"[{', '.join(map(str, parameter.shape))}]"
            raise ValueError(f"its parameter {path!r} is {shape} in a cohort of 2 trials, where [2, n, m] is wanted")
    for mode in MODES:
        y_TBC = passed(together, x_TBI, mode)
        refuse_other(y_TBC, x_TBI, wanted, wanted_is)
        refuse_company(y_TBC, passed(alone, x_TBI[:1], mode))


@torch.no_grad()
def tried_function(function: Callable[[Tensor], Tensor], cohort: Cohort) -> None:
    """Pass a batch of two trials through an elementwise function, and the first trial's alone. Raises ValueError where
    it is no function, shapes are not what they should be, or a trial depends on its company."""
    if not callable(function):
        raise ValueError("it is no function")
    x_TBC = batch(cohort, 2, 5)
    y_TBC = function(x_TBC.clone())
    refuse_other(y_TBC, x_TBC, x_TBC.shape, "a tensor of the same shape")
    refuse_company(y_TBC, function(x_TBC[:1].clone()))


def refuse_company(y_TBC: Tensor, alone_TBC: Tensor) -> None:
    """Raise ValueError where the first of several trials has other numbers than what was made of it alone."""
    if not torch.allclose(y_TBC[:1], alone_TBC, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise ValueError("a trial has other numbers in company than alone: nothing may cross the first axis")


def refuse_other(y_TBC: Tensor, x_SBI: Tensor, wanted: Sequence[int], wanted_is: str = "") -> None:
    """Raise ValueError where what was made of a batch has another shape than `wanted`."""
    if not isinstance(y_TBC, Tensor) or [*y_TBC.shape] != [*wanted]:
        given = list(y_TBC.shape) if isinstance(y_TBC, Tensor) else type(y_TBC).__name__
        raise ValueError(f"of {[*x_SBI.shape]} it makes {given}, where {wanted_is or [*wanted]} is wanted")
