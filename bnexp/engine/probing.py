"""A cohort's network held still on one batch, for probes to look into and to disturb, and then to go on as if nothing
had been. Shape suffixes: T trials, B batch, I inputs, C units.

The batch is the first training examples, the same for every trial and step. The network is as it trains: batch
statistics, and the noise of the present step where there is any, but no dropout.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp import registry
from bnexp.engine.program import Program
from bnexp.models.layers import Mode, Nonlinearity
from bnexp.records import Probe

EXAMPLES = 500
"""At most so many."""

OUTPUT = "output"
"""The name of the layer that has no nonlinearity: its logits stand for what enters it and for what leaves it."""

Watch = Callable[[str, Tensor, Tensor], None]
"""Told a layer's name, what enters its nonlinearity [T, B, C] and what leaves it. In what enters, a feature map is a
unit, and each of its places an example."""


@dataclass(frozen=True)
class Reading:
    """What a probe found at one place of every trial's network."""

    layer: str
    """Empty where it is about the whole network."""
    name: str
    values: Tensor
    """[T], or [T, C] where each unit is measured."""

    def probes(self, step: int, probe: str) -> Iterator[Probe]:
        """The record of each trial, under the probe's name and its own: "percentiles p15"."""
        name = f"{probe} {self.name}"
        if self.values.dim() == 1:
            return (Probe(step, self.layer, name, value) for value in self.values.tolist())
        means, units = self.values.mean(1).tolist(), self.values.tolist()
        return (Probe(step, self.layer, name, *found) for found in zip(means, map(tuple, units), strict=True))


@dataclass(frozen=True)
class Slope:
    """The mean loss of every trial and its gradients, where the parameters now stand."""

    loss: Tensor
    """float64 [T]."""
    logits: Tensor
    """[T, B, classes]."""
    gradients: list[Tensor]
    """With respect to `Bench.parameters`, one by one."""
    inputs: Tensor | None
    """With respect to the examples, [T, B, I], where asked for."""


class Bench:
    """The network and its batch. Made by `bench`, which puts back what is changed here."""

    def __init__(self, program: Program, step: int) -> None:
        self._program = program
        examples = program.data.train.first(EXAMPLES)
        self._x_1BI, self._y_1B = examples.x[None], examples.y[None]
        self.parameters = program.optimizer.parameters
        self.rate_T11 = program.optimizer.rates(max(step, 1), 1)[0].to(self.parameters[0])
        """The learning rate of the step just taken; before the first, of the first."""
        self.layers: dict[str, list[int]] = {}
        """Which parameters belong to each layer, from the input to the output."""
        self.weights: dict[str, int] = {}
        """Which parameter is the weight matrix of each."""
        places = {id(parameter): place for place, parameter in enumerate(self.parameters)}
        for module in program.layers():
            for parameter in module.parameters(recurse=False):
                place = places[id(parameter)]
                self.layers.setdefault(module.name, []).append(place)
                if module.decays:
                    self.weights[module.name] = place
        self.hidden = [name for name in self.layers if name != OUTPUT]

    @torch.no_grad()
    def inputs(self) -> dict[str, Tensor]:
        """What enters the nonlinearity of each hidden layer, [T, B, C], from the first to the last."""
        seen: dict[str, Tensor] = {}
        with self._watched(lambda layer, entering, leaving: seen.update({layer: entering})):
            self._program.apply(self._x_1BI, self._y_1B, Mode.PROBE)
        return seen

    def slope(self, watch: Watch | None = None, inputs: bool = False) -> Slope:
        """Loss and gradients; `watch` is told of every layer before the backward pass. With `inputs`, the gradient
        with respect to the examples too."""
        for parameter in self.parameters:
            parameter.grad = None
        trials = len(self.parameters[0])
        # Each trial its own copy, else its gradients would be summed with its neighbours'.
        x_SBI = self._x_1BI.repeat(trials, 1, 1).requires_grad_() if inputs else self._x_1BI
        with self._watched(watch):
            loss_TB, logits_TBC, _ = self._program.apply(x_SBI, self._y_1B, Mode.PROBE)
        if watch is not None:
            watch(OUTPUT, logits_TBC, logits_TBC)
        loss_TB.mean(1).sum().backward()
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        assert len(gradients) == len(self.parameters)
        return Slope(loss_TB.detach().mean(1, dtype=torch.float64), logits_TBC.detach(), gradients, x_SBI.grad)

    @torch.no_grad()
    def descend(self, gradients: list[Tensor], rate_T11: Tensor, places: Iterable[int] | None = None) -> None:
        """One plain gradient step of the parameters at `places`, of all unless told."""
        for place in range(len(self.parameters)) if places is None else places:
            self.parameters[place].addcmul_(gradients[place], -rate_T11)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Within, parameters may be changed in place; afterwards they are what they were, bit for bit."""
        values = [parameter.detach().clone() for parameter in self.parameters]
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, values, strict=True):
                    parameter.copy_(value)

    @contextmanager
    def _watched(self, watch: Watch | None) -> Iterator[None]:
        def tell(layer: Nonlinearity, given: tuple[Tensor, ...], leaving_TBC: Tensor) -> None:
            assert watch is not None
            [entering] = given[:1]
            watch(layer.name, entering.flatten(1, -2), leaving_TBC)

        watched = self._program.layers() if watch is not None else []
        hooks = [layer.register_forward_hook(tell) for layer in watched if isinstance(layer, Nonlinearity)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@contextmanager
def bench(program: Program, step: int) -> Iterator[Bench]:
    """The network of `program` after `step` steps, held still. A parameter's `grad` is the optimizer's velocity, to
    which a backward pass would add: the very tensors are put aside meanwhile, and back."""
    velocities = [parameter.grad for parameter in program.optimizer.parameters]
    try:
        yield Bench(program, step)
    finally:
        for parameter, velocity in zip(program.optimizer.parameters, velocities, strict=True):
            parameter.grad = velocity


def sample(program: Program, step: int) -> list[list[Probe]]:
    """By place, what the probes that the trials ask for find after `step` steps."""
    found: list[list[Probe]] = [[] for _ in program.trials]
    with bench(program, step) as held:
        for name in program.trials[0].probes:
            readings: list[Reading] = list(registry.load(registry.PROBES[name])(held))
            for reading in readings:
                for probes, probe in zip(found, reading.probes(step, name), strict=True):
                    probes.append(probe)
    return found
