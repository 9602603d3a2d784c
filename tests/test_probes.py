"""Probes: their numbers are those of plain torch autograd, and nothing of the trial's can tell that they were there."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bnexp import registry
from bnexp.config import TrialConfig
from bnexp.engine import device, probes, probing
from bnexp.engine.cohort import evaluation_steps
from bnexp.engine.program import Program
from bnexp.engine.trainer import Trainer
from bnexp.models.layers import Mode
from bnexp.options import ExponentialOptions
from bnexp.records import Outcome, Probe
from tests.cohorts import (
    NORMS,
    SMALL,
    assert_as_alone,
    data_of,
    norm_params,
    records,
    together,
    trial,
    undivided,
    watch,
)
from tests.twins import Twin

ALL = tuple(registry.PROBES)
Numbers = dict[tuple[str, str], list[float]]
"""By layer and name: one number, or one a unit."""


@pytest.fixture(autouse=True, scope="module")
def settled() -> None:
    """The engine's settings, for the twins too."""
    device.settle()


class Plain:
    """What the probes should find in one trial's twin, in plain torch, one number after the other."""

    def __init__(self, twin: Twin) -> None:
        examples = twin.sets.train.first(500)
        self.twin, self.x, self.y = twin, examples.x.clone().requires_grad_(), examples.y
        self.names = [*(f"hidden {number}" for number in range(len(twin.linears) - 1)), "output"]
        self.blocks = [list(linear.parameters()) for linear in twin.linears]
        for block, norm in zip(self.blocks, twin.norms, strict=False):
            block.extend(norm.parameters())
        self.weights = [linear.weight for linear in twin.linears]

    def loss(self) -> Tensor:
        return cross_entropy(self.twin.layer_by_layer(self.x)[1][-1], self.y)

    def gradient(self, *of: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(self.loss(), of))

    def everything(self) -> list[nn.Parameter]:
        return [parameter for block in self.blocks for parameter in block]

    def rate(self, step: int) -> float:
        config = self.twin.trial
        rule, rate = config.schedule, config.optimizer.lr * config.lr_multiplier
        return rate * (rule.decay ** ((step - 1) / rule.every) if isinstance(rule, ExponentialOptions) else 1)

    @contextmanager
    def moved(self, parameters: Sequence[nn.Parameter | Tensor], by: list[Tensor]) -> Iterator[None]:
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter, change in zip(parameters, by, strict=True):
            parameter.data += change
        yield
        for parameter, value in zip(parameters, before, strict=True):
            parameter.data = value

    def percentiles(self, step: int) -> Numbers:
        x = self.twin.layer_by_layer(self.x)[0][-2].detach().numpy()
        return {(self.names[-2], f"p{p}"): np.percentile(x, p, axis=0).tolist() for p in (15, 50, 85)}

    def moments(self, step: int) -> Numbers:
        entering = [x.detach().numpy() for x in self.twin.layer_by_layer(self.x)[0][:-1]]
        found = {(name, "mean"): x.mean(0).tolist() for name, x in zip(self.names, entering, strict=False)}
        return found | {(name, "variance"): x.var(0).tolist() for name, x in zip(self.names, entering, strict=False)}

    def gradient_norms(self, step: int) -> Numbers:
        leaving = self.twin.layer_by_layer(self.x)[1]
        found: Numbers = {}
        for what, tensors in (("activations", leaving), ("weights", self.weights)):
            gradients = torch.autograd.grad(cross_entropy(leaving[-1], self.y), tensors, retain_graph=True)
            found |= {(n, what): [float((g**2).sum())] for n, g in zip(self.names, gradients, strict=True)}
        return found

    def covariate_shift(self, step: int) -> Numbers:
        found: Numbers = {}
        for number, (name, weight) in enumerate(zip(self.names, self.weights, strict=True)):
            before = [parameter for block in self.blocks[:number] for parameter in block]
            [now, *gradients] = self.gradient(weight, *before)
            with self.moved(before, [-self.rate(max(step, 1)) * gradient for gradient in gradients]):
                [then] = self.gradient(weight)
            found[name, "l2"] = [float((then - now).norm())]
            found[name, "cosine"] = [float((then * now).sum() / (then.norm() * now.norm()))]
        return found

    def smoothness(self, step: int) -> Numbers:
        now = self.gradient(*self.everything())
        size = float(torch.cat([g.flatten() for g in now]).norm())
        losses, changes, betas = [], [], []
        for eta in (self.rate(max(step, 1)) * factor for factor in (0.5, 1, 2, 4)):
            with self.moved(self.everything(), [-eta * gradient for gradient in now]):
                losses.append(self.loss().item())
                then = self.gradient(*self.everything())
            changes.append(float(torch.cat([(a - b).flatten() for a, b in zip(now, then, strict=True)]).norm()))
            betas.append(changes[-1] / (eta * size))
        found = {"loss": self.loss().item(), "loss range": max(losses) - min(losses)}
        found |= {"gradient change": max(changes), "effective beta": max(betas)}
        return {("", name): [value] for name, value in found.items()}

    def scale_invariance(self, step: int) -> Numbers:
        def measure(weight: Tensor) -> list[Tensor]:
            logits = self.twin.layer_by_layer(self.x)[1][-1].detach()
            return [logits, *self.gradient(self.x, weight)]

        found: Numbers = {}
        for name, weight in zip(self.names[:-1], self.weights, strict=False):
            plain = measure(weight)
            with self.moved([weight], [6.3 * weight.detach()]):
                scaled = measure(weight)
            scaled[2] *= 7.3
            for what, a, b in zip(("logits", "input gradient", "weight gradient"), scaled, plain, strict=True):
                difference = float((a - b).abs().max())
                found[name, what] = [difference and difference / float(b.abs().max())]
        return found


def numbers(told: list[Probe]) -> Numbers:
    """By layer and what was measured, without the probe's own name before it."""
    found = {(probe.layer, probe.name.partition(" ")[2]): list(probe.units or (probe.value,)) for probe in told}
    assert len(found) == len(told)
    return found


def ragged(norm: dict[str, Any], **fields: Any) -> list[TrialConfig]:
    """Three trials, two of one seed, so that streams are not shared, with numbers of their own; all probes."""
    base = {**SMALL, **norm, "probes": ALL, "steps": 30, "eval_every": 10, **fields}
    rule = {"name": "exponential", "decay": 0.5, "every": 10.0}
    return [
        trial(base, seed=7, dropout=0.2, lr_multiplier=5.0, schedule=rule),
        trial(base, seed=7, momentum=0.5, weight_decay=1e-2, schedule={**rule, "decay": 1.0}),
        trial(base, seed=8, dropout=0.5, init_scale=1.5, schedule={**rule, "every": 3.0}),
    ]


FLOAT64: dict[str, Any] = {"precision": "float64"}
DEEP = {"model": {"name": "mlp", "hidden": (12, 7, 9, 6)}, "nonlinearity": "relu", "batch_size": 7}


@pytest.mark.parametrize("fields", [FLOAT64, {**FLOAT64, **DEEP}], ids=["sigmoid", "deep relu"])
@pytest.mark.parametrize("norm", norm_params())
def test_probes_find_what_plain_autograd_finds(norm: dict[str, Any], fields: dict[str, Any]) -> None:
    """All of them, of three trials at once, before training and within it, with units one by one; the noise is that of
    the step just taken, and there is no dropout."""
    _, program, twins = watch(ragged(undivided(norm) if "model" in fields else norm, **fields))
    for step in (0, 1, 12):
        program.run(int(program.now) + 1, step - int(program.now))
        found = probing.sample(program, step)
        for twin, told in zip(twins, found, strict=True):
            while twin.steps < step:
                twin.step()
            plain, ours = Plain(twin), numbers(told)
            expected: Numbers = {}
            for name in ALL:
                expected |= getattr(plain, name.replace("-", "_"))(step)
            assert ours.keys() == expected.keys()
            for key, values in expected.items():
                assert ours[key] == pytest.approx(values, rel=1e-8, abs=1e-11, nan_ok=True), key
            assert {probe.step for probe in told} == {step}
            for probe in told:
                assert not probe.units or probe.value == pytest.approx(np.mean(probe.units), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("norm", norm_params())
def test_probes_change_nothing(norm: dict[str, Any]) -> None:
    """Bit for bit, with momentum, dropout and noise; and beside a neighbour that diverges."""
    probed = [*ragged(norm), trial(ragged(norm)[0].model_dump(), seed=7, lr_multiplier=1e38)]
    plain = [config.model_copy(update={"probes": ()}) for config in probed]
    ours, theirs = together(probed), together(plain)
    assert all(outcome.probes for outcome in ours) and not any(outcome.probes for outcome in theirs)
    assert str([replace(outcome, probes=()) for outcome in ours]) == str(theirs)


@pytest.mark.parametrize("norm", norm_params())
def test_what_is_probed_depends_on_the_trial_alone(norm: dict[str, Any]) -> None:
    """Bit for bit, whoever shares the cohort, on sizes that leave every vector register partly filled too."""
    short = {"steps": 3, "eval_every": 2}
    assert_as_alone(ragged(norm, **short))
    assert_as_alone(ragged(norm, **short)[::-1])
    assert_as_alone(ragged(undivided(norm), **short, **DEEP))


def test_probes_stand_before_the_first_step_and_at_every_point() -> None:
    """Of the trials that ask, in the order asked; those of a trial that diverges end before its step."""
    base = {**SMALL, "nonlinearity": "relu", "steps": 25, "eval_every": 10, "probes": ("percentiles", "smoothness")}
    calm, wild = together([trial(base), trial(base, init_scale=1e10)])
    steps = [0, *evaluation_steps(25, 10)]
    names = [f"percentiles p{percent}" for percent in (15, 50, 85)]
    names += [f"smoothness {what}" for what in ("loss", "loss range", "gradient change", "effective beta")]
    assert [(probe.step, probe.name) for probe in calm.probes] == [(step, name) for step in steps for name in names]
    assert [point.step for point in calm.curve] == steps[1:]
    assert wild.status == "diverged" and wild.diverged_at_step is not None
    assert [probe.step for probe in wild.probes] == [s for s in steps if s < wild.diverged_at_step for _ in names]
    assert (calm.probes[0].layer, len(calm.probes[0].units), calm.probes[3].units) == ("hidden 1", 20, ())


def state(program: Program) -> dict[str, tuple[int, list[float]]]:
    """Every tensor's address and content."""
    return {name: (tensor.data_ptr(), tensor.flatten().tolist()) for name, tensor in program.state().items()}


def assert_untouched(program: Program, before: dict[str, tuple[int, list[float]]], velocities: list[Any]) -> None:
    assert state(program) == before
    assert all(parameter.grad is v for parameter, v in zip(program.optimizer.parameters, velocities, strict=True))
    for module in program.model.modules():
        assert not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("norm", norm_params())
def test_a_probe_leaves_the_program_as_it_was(norm: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor at its address, the velocities the very same; also where memory ends in the midst of it."""
    program = Program(
        [config.model_copy(update={"probes": (name,)}) for config in ragged(norm)], data_of("digits", "float32")
    )
    program.run(1, 5)
    before, velocities = state(program), [parameter.grad for parameter in program.optimizer.parameters]
    assert any(any(content) for key, (_, content) in before.items() if key.startswith("velocity"))
    probing.sample(program, 5)
    assert_untouched(program, before, velocities)
    apply, calls = program.apply, []

    def full(x: Tensor, y: Tensor, mode: Mode) -> tuple[Tensor, Tensor, Tensor]:
        calls.append(mode)
        if len(calls) == limit:
            apply(x, y, mode)[0].sum().backward() if torch.is_grad_enabled() else None
            raise torch.OutOfMemoryError("no room")
        return apply(x, y, mode)

    monkeypatch.setattr(program, "apply", full)
    for limit in (1, 2):
        calls.clear()
        try:
            probing.sample(program, 5)
        except torch.OutOfMemoryError:
            assert set(calls) == {Mode.PROBE}
        assert len(calls) == 1 or limit == 2
        assert_untouched(program, before, velocities)


def test_who_asks_for_nothing_pays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(probing, "sample", refuse)
    monkeypatch.setattr(probing, "Bench", refuse)
    assert records([trial({**SMALL, "steps": 5})])


def test_a_used_trainer_and_a_halved_cohort_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarted in place, or trained in halves because memory did not hold the probes of all."""
    trials = [*ragged(NORMS["noisy"]), *(config.model_copy(update={"seed": 9}) for config in ragged(NORMS["noisy"]))]
    data, one = data_of("digits", "float32"), Trainer()

    def outcomes(trainer: Trainer) -> list[Outcome]:
        ended = [told for told in trainer.train(trials, data) if isinstance(told, Outcome)]
        return sorted(ended, key=lambda outcome: outcome.slot)

    first = outcomes(one)
    assert first == outcomes(one)
    sample, sizes = probing.sample, []

    def small(program: Program, step: int) -> list[list[Probe]]:
        sizes.append(len(program.trials))
        if len(program.trials) > 3 and step == 2:
            raise torch.OutOfMemoryError("no room")
        return sample(program, step)

    monkeypatch.setattr(probing, "sample", small)
    assert outcomes(one) == first
    assert sizes[:4] == [6, 6, 6, 3]


def test_percentiles_of_what_is_not_a_number_are_not_numbers() -> None:
    """A unit that is NaN for one example, beside units that are well."""

    class Stub:
        def inputs(self) -> dict[str, Tensor]:
            x_TBC = torch.arange(60.0).view(2, 10, 3)
            x_TBC[1, 4, 2] = math.nan
            return {"hidden 0": x_TBC}

    for reading in probes.percentiles(cast(probing.Bench, Stub())):
        assert reading.values.isnan().tolist() == [[False] * 3, [False, False, True]]


@pytest.mark.slow
def test_a_network_of_twenty_layers_is_probed_throughout() -> None:
    base = {"model": {"name": "mlp", "hidden": "20x100"}, "steps": 2, "eval_every": 2, "norm": "batch", "probes": ALL}
    [outcome] = together([trial(base)])
    layers = [f"hidden {number}" for number in range(20)]
    for name, expected in (
        ("moments mean", layers),
        ("gradient-norms weights", [*layers, "output"]),
        ("covariate-shift cosine", [*layers, "output"]),
        ("scale-invariance logits", layers),
        ("percentiles p50", layers[-1:]),
    ):
        assert [p.layer for p in outcome.probes if p.name == name and p.step == 1] == expected
    assert all(math.isfinite(probe.value) for probe in outcome.probes)


@pytest.mark.parametrize(
    "norm", [{"name": "batch"}, {"name": "noisy-batch"}, {"name": "group"}, {"name": "none"}], ids=str
)
def test_scale_does_not_matter_with_normalization_and_does_without(norm: dict[str, Any]) -> None:
    """Section 3.3's identities, exact but for rounding where eps is 0."""
    options = norm if norm["name"] == "none" else {**norm, "eps": 0.0}
    base = {**SMALL, "norm": options, "precision": "float64", "probes": ("scale-invariance",), "nonlinearity": "tanh"}
    for told in probing.sample(Program([trial(base, seed=s) for s in (1, 2)], data_of("digits", "float64")), 0):
        names = [f"scale-invariance {what}" for what in ("logits", "input gradient", "weight gradient")]
        assert [probe.name for probe in told] == names * 2
        assert all(probe.value > 0.01 if norm["name"] == "none" else 0 < probe.value < 1e-12 for probe in told)


def growth(nonlinearity: str, norm: str) -> float:
    """By how much the squared norm of the gradient of a layer's outputs grows a layer, in the midst of ten layers."""
    base = {"model": {"name": "mlp", "hidden": "10x500"}, "norm": norm, "nonlinearity": nonlinearity}
    config = trial({**base, "probes": ("gradient-norms",)})
    [told] = probing.sample(Program([config], data_of("digits", "float32")), 0)
    found = numbers(told)
    ratio = found["hidden 2", "activations"][0] / found["hidden 8", "activations"][0]
    return math.exp(math.log(ratio) / 6)


def test_gradients_explode_with_relu_and_batch_normalization_as_theory_says() -> None:
    """By pi / (pi - 1) = 1.467 a layer (Yang et al. 2019); hardly in a linear network, and they halve without."""
    assert growth("relu", "batch") == pytest.approx(math.pi / (math.pi - 1), abs=0.05)
    assert 1 < growth("identity", "batch") < 1.1
    assert growth("relu", "none") == pytest.approx(0.5, abs=0.03)
