"""Loops as people write them: a torch.nn network, torch.optim.SGD, one trial after the other.

They start from bnexp's initial weights and see bnexp's batches in bnexp's order, so that their losses can be compared.
The order is made beforehand and costs them nothing. Dropout is torch's own, with draws of its own.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.plain_norms import has_bias, normalized
from bnexp import random
from bnexp.config import TrialConfig
from bnexp.data.batches import CURVE_EXAMPLES, Batches, DeviceData
from bnexp.data.examples import Examples
from bnexp.options import AdamOptions, ExponentialOptions, MlpOptions, NesterovOptions

PROBED = 60
"""Training examples, by whose loss trials of a battery are compared: a batch, since most normalizers need one."""
NONLINEARITIES = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}
LENGTHS = "original0"
"""How torch's weight normalization names the lengths, which do not decay."""
CAPTURE_STEPS = 3
"""Steps on a side stream before a CUDA graph is captured."""


def network(config: TrialConfig, inputs: int, classes: int) -> nn.Sequential:
    """The trial's network as a person would write it, with bnexp's initial weights."""
    assert isinstance(config.model, MlpOptions)
    layers: list[nn.Module] = []
    for number, units in enumerate(config.model.hidden):
        product = _product(config, f"hidden {number}", nn.Linear(inputs, units, bias=has_bias(config.norm)))
        layers += normalized(config.norm, product)
        layers += [NONLINEARITIES[config.nonlinearity]()]
        if config.dropout:
            layers += [nn.Dropout(config.dropout)]
        inputs = units
    return nn.Sequential(*layers, _product(config, "output", nn.Linear(inputs, classes)))


def _product(config: TrialConfig, name: str, linear: nn.Linear) -> nn.Linear:
    """With bnexp's weights of the layer of this name."""
    draws = random.normal(random.keys("init", [config.seed], name), linear.weight.numel())
    linear.weight.data.copy_(draws.view(linear.weight.shape) * config.init_scale * linear.in_features**-0.5)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear


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


class Scheduled(Eager):
    """The loop for any trial of a battery: weights decay, where they do, and the rate follows its schedule."""

    def __init__(self, trials: list[TrialConfig], data: DeviceData, steps: int) -> None:
        super().__init__(trials, data, steps)
        [config] = trials
        if decay := config.optimizer.weight_decay:
            named = dict(self.network.named_parameters())
            of_weights = {name for name, one in named.items() if one.dim() == 2 and not name.endswith(LENGTHS)}
            weights = [parameter for name, parameter in named.items() if name in of_weights]
            others = [parameter for name, parameter in named.items() if name not in of_weights]
            groups = [{"params": weights, "weight_decay": decay}, {"params": others}]
            self.optimizer = optimizer(config, groups)
        rule, self.schedule = config.schedule, None
        if isinstance(rule, ExponentialOptions):
            self.schedule = ExponentialLR(self.optimizer, rule.decay ** (1 / rule.every))

    def step(self, number: int) -> None:
        super().step(number)
        if self.schedule:
            self.schedule.step()

    @torch.no_grad()
    def losses(self, number: int) -> list[float]:
        """The loss of PROBED training examples as they are trained on, Dropout off."""
        seen = self.examples.first(PROBED)
        as_trained = copy.deepcopy(self.network)
        for module in as_trained:
            if isinstance(module, nn.Dropout):
                module.eval()
        return [float(cross_entropy(as_trained(seen.x), seen.y))]


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
