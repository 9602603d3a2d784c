"""Loops as people write them: a torch.nn network, torch.optim.SGD, one trial after the other.

They start from bnexp's initial weights and see bnexp's batches in bnexp's order, so that their losses can be compared.
The order is made beforehand and costs them nothing. Dropout is torch's own, with draws of its own.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from bnexp import random
from bnexp.config import TrialConfig
from bnexp.data.batches import CURVE_EXAMPLES, Batches, DeviceData
from bnexp.data.examples import Examples
from bnexp.normalizers import BatchNormOptions
from bnexp.options import AdamOptions, MlpOptions, NesterovOptions

NONLINEARITIES = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}
CAPTURE_STEPS = 3
"""Steps on a side stream before a CUDA graph is captured."""


def network(config: TrialConfig, inputs: int, classes: int) -> nn.Sequential:
    """The trial's network as a person would write it, with bnexp's initial weights."""
    assert isinstance(config.model, MlpOptions)
    layers: list[nn.Module] = []
    for units in config.model.hidden:
        if isinstance(config.norm, BatchNormOptions):
            layers += [nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units)]
        else:
            layers += [nn.Linear(inputs, units)]
        layers += [NONLINEARITIES[config.nonlinearity]()]
        if config.dropout:
            layers += [nn.Dropout(config.dropout)]
        inputs = units
    made = nn.Sequential(*layers, nn.Linear(inputs, classes))
    linears = [module for module in made if isinstance(module, nn.Linear)]
    names = [*(f"hidden {number}" for number in range(len(linears) - 1)), "output"]
    for linear, name in zip(linears, names, strict=True):
        draws = random.normal(random.keys("init", [config.seed], name), linear.weight.numel())
        linear.weight.data.copy_(draws.view(linear.weight.shape) * config.init_scale * linear.in_features**-0.5)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
    return made


def order(config: TrialConfig, examples: Examples, steps: int) -> Tensor:
    """The indices of each step's batch, int64 [steps, batch]."""
    batches = Batches(examples, config.batch_size, config.shuffle == "fixed")
    epochs = -(-steps // batches.per_epoch)
    return torch.cat([batches.order(epoch, [config.seed])[0] for epoch in range(epochs)])[:steps]


@torch.no_grad()
def measure(model: nn.Module, examples: Examples) -> tuple[float, float]:
    """Mean loss and accuracy, Dropout off, with the running statistics as they are."""
    logits = model.eval()(examples.x)
    model.train()
    return float(cross_entropy(logits, examples.y)), float((logits.argmax(1) == examples.y).double().mean())


def training_loss(model: nn.Sequential, examples: Examples, steps: int) -> float:
    """Mean loss on the examples of bnexp's curves, with bnexp's debiased moving averages: torch's start at 0 and 1."""
    norms = [module for module in model if isinstance(module, nn.BatchNorm1d)]
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    for norm, (mean, variance) in zip(norms, kept, strict=True):
        assert norm.momentum is not None and mean is not None and variance is not None
        left = (1 - norm.momentum) ** steps
        norm.running_mean, norm.running_var = mean / (1 - left), (variance - left) / (1 - left)
    loss, _ = measure(model, examples.first(CURVE_EXAMPLES))
    for norm, (mean, variance) in zip(norms, kept, strict=True):
        norm.running_mean, norm.running_var = mean, variance
    return loss


def optimizer(config: TrialConfig, parameters: Any) -> torch.optim.Optimizer:
    """torch's own of that name. `parameters` may be groups, of which some have a weight decay of their own."""
    options, rate = config.optimizer, config.optimizer.lr * config.lr_multiplier
    if isinstance(options, AdamOptions):
        return torch.optim.Adam(parameters, rate, (options.beta1, options.beta2), options.eps)
    nesterov = isinstance(options, NesterovOptions)
    return torch.optim.SGD(parameters, rate, momentum=options.momentum, nesterov=nesterov)


class Eager:
    """The examples in memory (on a GPU, in its memory), and a batch indexed from them at each step."""

    def __init__(self, trials: list[TrialConfig], data: DeviceData, steps: int) -> None:
        """The trial of the list's one configuration, about to take at most `steps` steps."""
        [config] = trials
        self.examples = data.train
        self.network = network(config, data.train.x.shape[1], data.classes).to(data.train.x.device)
        self.forward = self.compiled()
        self.optimizer = optimizer(config, self.network.parameters())
        self.order = order(config, data.train, steps)

    def compiled(self) -> Callable[[Tensor], Tensor]:
        return self.network

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        chosen = self.order[number - 1]
        return self.examples.x[chosen], self.examples.y[chosen]

    def run(self, first: int, count: int) -> None:
        """Take `count` training steps from step `first`, counted from 1."""
        for number in range(first, first + count):
            self.step(number)

    def step(self, number: int) -> None:
        x, y = self.batch(number)
        self.optimizer.zero_grad()
        loss = cross_entropy(self.forward(x), y)
        loss.backward()
        self.optimizer.step()

    def losses(self, number: int) -> list[float]:
        """The training loss of the trial after step `number`."""
        return [training_loss(self.network, self.examples, number)]


class Loader(Eager):
    """A DataLoader in this process: a worker process costs more than it brings with examples that are in memory."""

    def __init__(self, trials: list[TrialConfig], data: DeviceData, steps: int) -> None:
        super().__init__(trials, data, steps)
        self.device = data.train.x.device
        dataset = TensorDataset(data.train.x.cpu(), data.train.y.cpu())
        loader: DataLoader[tuple[Tensor, ...]] = DataLoader(
            dataset,
            batch_size=trials[0].batch_size,
            sampler=self.order.flatten().tolist(),
            num_workers=0,
            pin_memory=self.device.type == "cuda",
        )
        self.loader: Iterator[list[Tensor]] = iter(loader)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        x, y = next(self.loader)
        return x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)


class Compiled(Eager):
    """The network through torch.compile. Trials of one shape share what was compiled for the first."""

    def compiled(self) -> Callable[[Tensor], Tensor]:
        return torch.compile(self.network, fullgraph=True)  # fullgraph: an error rather than eager mode


class Captured(Eager):
    """The whole step captured in a CUDA graph and replayed."""

    def __init__(self, trials: list[TrialConfig], data: DeviceData, steps: int) -> None:
        super().__init__(trials, data, steps)
        self.chosen = self.order[0].clone()
        self.graph: torch.cuda.CUDAGraph | None = None

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        return self.examples.x[self.chosen], self.examples.y[self.chosen]

    def step(self, number: int) -> None:
        self.chosen.copy_(self.order[number - 1])
        if number <= CAPTURE_STEPS:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                super().step(number)
            torch.cuda.current_stream().wait_stream(side)
            return
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            self.optimizer.zero_grad()
            with torch.cuda.graph(self.graph):
                super().step(number)
        self.graph.replay()
