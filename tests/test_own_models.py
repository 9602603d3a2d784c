"""Networks of a person's own: plain modules trial by trial, and networks with a trial axis."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from bnexp.config import TrialConfig, columns
from bnexp.data.batches import to_device
from bnexp.engine import memory
from bnexp.engine.program import Program
from bnexp.engine.rehearsal import rehearse
from bnexp.engine.trainer import Trainer
from bnexp.enrolling import instantiate
from bnexp.enrolling import rehearse as rehearse_instance
from bnexp.errors import UsageError
from bnexp.experiments import load
from bnexp.identity import cohort_key, trial_key
from bnexp.models.layers import Linear, Mode
from bnexp.records import Outcome
from tests.attacks import invoke
from tests.cohorts import CPU, assert_as_alone, data_of, synthetic, together
from tests.conftest import Bnexp
from tests.documented import ROOT

PAGE = (ROOT / "docs" / "howto" / "own.md").read_text()
SHOWN = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
EXAMPLE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
OTHERS = """
import torch
from torch import Tensor

from bnexp.models.layers import Layer, Linear


def plain(shape, classes, units=20):
    # The shipped network of one hidden layer without normalization, as torch has it.
    height, width, channels = shape
    return nn.Sequential(
        nn.Flatten(), nn.Linear(height * width * channels, units), nn.Sigmoid(), nn.Linear(units, classes)
    )


class Takes(nn.Module):
    def __init__(self, shape, classes, norm, init_scale, dropout):
        super().__init__()
        self.given = norm, init_scale, dropout
        self.linear = nn.Linear(shape[0] * shape[1], classes)
        self.drop = nn.Dropout(dropout)
        nn.init.normal_(self.linear.weight, std=0.1 * init_scale)

    def forward(self, x):
        return self.linear(self.drop(x.flatten(1)))


class Mixes(Layer):
    def __init__(self, cohort, shape, classes):
        super().__init__()
        self.linear = Linear(cohort, "output", shape[0] * shape[1] * shape[2], classes)

    def forward(self, x, now):
        y = self.linear(x, now)
        return y - y.mean(0)


class NoFactors(Mixes):
    def forward(self, x, now):
        return self.linear(x, now)


class Listed(Layer):
    # Layers in a list, one of them under two names, and parameters in another.

    def __init__(self, cohort, shape, classes):
        super().__init__()
        self.decays = True
        self.first = Linear(cohort, "hidden 0", shape[0] * shape[1] * shape[2], 20)
        self.layers = nn.ModuleList([self.first, nn.ModuleList([Linear(cohort, "output", 20, classes)])])
        self.gains = nn.ParameterList([cohort.full(1.0, 1, 20)])

    def forward(self, x, now):
        return self.layers[1][0](torch.tanh(self.layers[0](x, now)) * self.gains[0], now)


class Fixed(NoFactors):
    def __init__(self, cohort, shape, classes):
        super().__init__(cohort, shape, classes)
        self.linear.weight.data.fill_(0.01)


class Streams(NoFactors):
    def forward(self, x, now):
        return self.linear(x.expand(len(self.linear.weight), -1, -1), now)[: len(x)]


def twins(cohort, config, shape, classes):
    build = Builder(cohort, config)
    same = (build.dense("same", width, 9) for width in (shape[0] * shape[1], 9))
    return Sequential(*same, *build.output(9, classes))


def narrow(shape, classes): return plain(shape, classes - 1)
def unready(cohort): return nn.Linear(1, 1)
def number(shape): return 3
def frozen(shape, classes): return plain(shape, classes).requires_grad_(False)
def raises(shape, nonlinearity): raise ValueError(f"not of {shape}")
known = 3
"""


PIXELS = """

class Levels(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.level, self.classify = nn.Embedding(17, 1), nn.Linear(shape[0] * shape[1], classes)

    def forward(self, images):
        return self.classify(self.level((images * 16).long()).flatten(1))
"""


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module `ours`, which we are in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "ours.py").write_text(SHOWN + OTHERS)
    yield tmp_path / "ours.py"
    sys.modules.pop("ours", None)


def trial(model: Any, **fields: Any) -> TrialConfig:
    return TrialConfig.model_validate({"model": model, "steps": 20, "eval_every": 10, **fields}).with_sources()


def numbered(config: TrialConfig, *numbers: dict[str, Any]) -> list[TrialConfig]:
    """Trials with numbers of their own."""
    return [config.model_copy(update=each) for each in numbers]


def test_the_pages_networks_train(ours: Path) -> None:
    """Every arm of the example, and the one with a trial axis as the shipped network that it is alike."""
    ours.with_name("e.yaml").write_text(EXAMPLE)
    instance = instantiate(load(ours.with_name("e.yaml")).experiments["networks"], "", None)
    rehearse_instance(instance, None)
    assert {wanted.arm for wanted in instance.trials} == {
        f"{v}, dropout {d}" for v in ("few", "many") for d in (0, 0.5)
    }
    [outcome] = together([trial("ours:Small", nonlinearity="relu", steps=40)])
    assert outcome.final is not None and outcome.final.train_accuracy > 0.5
    fields = {"norm": "batch", "dropout": 0.25, "init_scale": 2.0, "probes": ("moments",)}
    own = trial({"name": "ours:bottleneck", "options": {"wide": 20, "narrow": 20}}, **fields)
    rehearse(own, synthetic())
    [mine], [shipped] = (together([one]) for one in (own, trial({"name": "mlp", "hidden": (20, 20)}, **fields)))
    assert mine.final is not None and shipped.final is not None
    assert len(mine.probes) == len(shipped.probes) > 0 and mine.status == shipped.status


def test_a_plain_network_steps_as_torch_does(ours: Path) -> None:
    """In float64, with weight decay of its weights alone, momentum, and rates of their own."""
    base = trial("ours:plain", precision="float64", optimizer={"weight_decay": 0.1, "lr": 0.5})
    program = Program(numbered(base, {"seed": 1}, {"seed": 2, "lr_multiplier": 3.0}), data_of("digits", "float64"))
    ours_by_slot = [[one[slot].flatten() for one in program.model.parameters()] for slot in (0, 1)]
    twins = [importlib.import_module("ours").plain((8, 8, 1), 10).double() for _ in (0, 1)]
    order = program.batches.indices(1, 10, program.streams)
    for slot, (twin, begun) in enumerate(zip(twins, ours_by_slot, strict=True)):
        torch.nn.utils.vector_to_parameters(torch.cat(begun).detach().clone(), twin.parameters())
        groups = [
            {"params": [p for p in twin.parameters() if (p.dim() > 1) is decays], "weight_decay": 0.1 * decays}
            for decays in (True, False)
        ]
        optimizer = torch.optim.SGD(groups, lr=0.5 * program.trials[slot].lr_multiplier, momentum=0.9)
        for index_SB in order:
            x, y = program.batches.take(index_SB)
            optimizer.zero_grad()
            cross_entropy(twin(x[slot].view(-1, 1, 8, 8)), y[slot]).backward()
            optimizer.step()
    program.run(1, 10)
    for slot, twin in enumerate(twins):
        mine = torch.cat([one[slot].flatten() for one in program.model.parameters()])
        assert torch.allclose(mine, torch.nn.utils.parameters_to_vector(twin.parameters()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", ["ours:Small", "ours:bottleneck", "ours:Takes", "ours:Listed"])
def test_a_trial_equals_itself_alone_and_after_a_neighbours_end(ours: Path, model: str) -> None:
    base = trial(model, nonlinearity="sigmoid" if model == "ours:Takes" else "relu")
    ends = {"seed": 1, "lr_multiplier": 1e38}
    trials = numbered(base, ends, {"seed": 1}, {"seed": 1, "dropout": 0.5}, {"seed": 2, "dropout": 0.1})
    assert together(trials)[0].status == "diverged"
    assert_as_alone(trials)


def test_weight_decay_reaches_parameters_in_a_list_once(ours: Path) -> None:
    base = trial("ours:Listed", optimizer={"weight_decay": 0.1})
    program = Program([base], data_of("digits", "float32"))
    assert {id(one) for one in program.optimizer.decaying} == {id(one) for one in program.model.parameters()}
    assert len(program.optimizer.decaying) == 3


def test_numbers_that_a_module_takes_are_each_trials_own_in_every_cohort(ours: Path) -> None:
    """A program that goes on with other trials of the same shape has their modules."""
    trainer, data = Trainer(), to_device(synthetic(), 0, torch.float32, CPU)
    base = trial("ours:Takes", norm="layer", dataset="mnist")
    cohorts = [numbered(base, {"dropout": d, "init_scale": s, "seed": 1}) for d, s in ((0.5, 1.0), (0.1, 3.0))]
    found = [[one for one in trainer.train(cohort, data) if isinstance(one, Outcome)] for cohort in cohorts]
    again = [one for one in Trainer().train(cohorts[1], data) if isinstance(one, Outcome)]
    assert found[1] == again != found[0]


def test_what_is_tuned_must_be_taken_too(ours: Path) -> None:
    tuned = "tune: {factor: dropout, levels: [0, 0.5], seeds: [101]}"
    ours.with_name("e.yaml").write_text(f'experiments:\n  a: {{model: "ours:plain", steps: 20, {tuned}}}\n')
    refused = invoke("plan", "a", "--file", "e.yaml")
    assert refused.code == 2 and "dropout: model ours:plain takes none" in refused.err


def test_a_program_does_not_go_on_with_other_trials_of_own_code(ours: Path) -> None:
    """A layer may hold more of its trials than tensors."""
    data = to_device(synthetic(), 0, torch.float32, CPU)
    for model, fits in (("mlp", True), ("ours:bottleneck", False)):
        first, second = (numbered(trial(model, dataset="mnist"), {"seed": seed}) for seed in (0, 1))
        assert Program(first, data).fits(second, data) is fits


def test_the_pages_network_begins_as_its_norm_says(ours: Path) -> None:
    rehearse(trial("ours:bottleneck", norm="fixup", dropout=0.5), synthetic())
    program = Program(
        [trial("ours:bottleneck", norm="fixup", dataset="mnist")], to_device(synthetic(), 0, torch.float32, CPU)
    )
    *_, output = (layer for layer in program.layers() if isinstance(layer, Linear))
    assert output.name == "output" and not output.weight.any()


def test_networks_are_tried_with_pixels(ours: Path) -> None:
    ours.write_text(ours.read_text() + PIXELS)
    rehearse(trial("ours:Levels"), synthetic())


def test_source_and_options_are_in_the_key(ours: Path) -> None:
    model = {"name": "ours:Small", "options": {"maps": 4}}
    before, other = trial(model), trial({**model, "options": {"maps": 5}})
    ours.write_text(ours.read_text() + "# edited\n")
    after = trial(model)
    for key in (trial_key, cohort_key):
        assert len({key(one, "print") for one in (before, other, after)}) == 3
    assert columns(before)["model_options"] == '[["maps", 4]]' and columns(before)["model"] == "ours:Small"
    assert "model_options" not in columns(TrialConfig())
    assert TrialConfig.model_validate(before.model_dump(mode="json")) == before
    with pytest.raises(UsageError, match="ours:Small: its source has changed since"):
        rehearse(before, synthetic())


UNFIT: list[tuple[str, dict[str, Any], str]] = [
    ("ours:Missing", {}, "ours.py) has no 'Missing'"),
    ("ours:known", {}, "model: ours:known: it is neither a class of networks nor a function that makes one"),
    ("ours:number", {}, "model: ours:number: it must be a torch.nn.Module, not int"),
    ("ours:unready", {}, "model: ours:unready: with a trial axis it must be a Layer, not Linear"),
    ("ours:raises", {}, "model: ours:raises: not of (28, 28, 1)"),
    ("ours:narrow", {}, "of [2, 4, 784] it makes [2, 4, 9], where [2, 4, 10] is wanted"),
    ("ours:Mixes", {}, "a trial has other numbers in company than alone"),
    ("ours:Streams", {}, "of [1, 4, 784] it makes [1, 4, 10], where [2, 4, 10] is wanted"),
    ("ours:plain", {"norm": "batch"}, "norm: model ours:plain takes none; leave it at none"),
    ("ours:plain", {"nonlinearity": "relu"}, "nonlinearity: model ours:plain takes none; leave it at sigmoid"),
    ("ours:plain", {"dropout": 0.5}, "dropout: model ours:plain takes none; leave it at 0.0"),
    ("ours:plain", {"init_scale": 2.0}, "init_scale: model ours:plain takes none; leave it at 1.0"),
    ("ours:plain", {"precision": "bfloat16"}, "precision: model ours:plain is a plain module"),
    ("ours:plain", {"probes": ("moments",)}, "probes: they look at nonlinearities of bnexp's"),
    ("ours:Takes", {"norm": {"name": "group", "groups": 2}}, "norm: model ours:Takes is a plain module, which is told"),
    ("ours:NoFactors", {"norm": "batch"}, "norm: model ours:NoFactors takes none"),
    ("ours:NoFactors", {"nonlinearity": "relu"}, "nonlinearity: model ours:NoFactors takes none"),
    ("ours:NoFactors", {"dropout": 0.5}, "dropout: model ours:NoFactors takes none"),
    (
        "ours:twins",
        {},
        "model: ours:twins: 2 parts of kind Linear are named 'same' and would draw the same random numbers",
    ),
    ("ours:frozen", {}, "model: ours:frozen: it has no parameters to train"),
    ("ours:Fixed", {"init_scale": 0.5}, "init_scale: model ours:Fixed takes none"),
]


@pytest.mark.parametrize(("model", "fields", "said"), UNFIT, ids=str)
def test_what_cannot_be_trained_is_refused_before_anything_trains(
    ours: Path, model: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        rehearse(trial(model, **fields), synthetic())


def test_options_are_told_from_what_is_given_and_from_what_is_not_taken(ours: Path) -> None:
    for options, said in (
        ({"classes": 3}, "model.options: 'classes' is given to model ours:plain by bnexp, and is no option"),
        ({"dropout": 0.5}, "model.options: 'dropout' is given"),
        ({"depth": 3}, "model: ours:plain with options {'depth': 3}: "),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            rehearse(trial({"name": "ours:plain", "options": options}), synthetic())


def test_commands_refuse_it_in_a_sentence(ours: Path) -> None:
    """Also where only one of an experiment's arms cannot train."""
    ours.with_name("e.yaml").write_text(EXAMPLE)
    line = ours.read_text().partition("def raises")[0].count("\n") + 1
    for changes, said in (
        (("norm=batch",), "norm: model ours:Small takes none"),
        (("init_scale=2",), "init_scale: model ours:Small takes none"),
        (("model.maps=3",), "write it under options, as model.options: {maps: ...}"),
        (("model=gone:Net",), "no module 'gone' with a file is in"),
        (("model=ours:raises",), f"few, dropout 0: model: ours:raises: not of (8, 8, 1) (ours.py:{line}); change it"),
    ):
        refused = invoke("plan", "networks", "--file", "e.yaml", *(w for c in changes for w in ("--set", c)))
        assert refused.code == 2 and said in refused.err, refused.err
    ours.with_name("e.yaml").write_text(EXAMPLE.replace("dropout: [0, 0.5]", "init_scale: [1, 2]"))
    refused = invoke("plan", "networks", "--file", "e.yaml")
    assert refused.code == 2 and "networks, few, init_scale 2: init_scale: model ours:Small takes none" in refused.err


def test_a_final_number_is_of_a_module_that_evaluates(ours: Path) -> None:
    """Without dropout, and by its moving averages."""
    program = Program([trial("ours:Small", dropout=0.9, nonlinearity="relu")], data_of("digits", "float32"))
    program.run(1, 3)
    first, second = (program.measure(program.data.validation, mode) for mode in (Mode.CURVE, Mode.FINAL))
    assert first == second


def test_what_is_kept_of_a_plain_network_is_what_its_class_loads(ours: Path) -> None:
    """Under its own names, statistics included, whatever the trial's place."""
    base = trial("ours:Small", nonlinearity="relu")
    program = Program(numbered(base, {"seed": 1}, {"seed": 2}), data_of("digits", "float32"))
    program.run(1, 5)
    program.keep([1])
    [logits, _] = next(program._answers(program.data.test, Mode.FINAL, 1))
    module = importlib.import_module("ours").Small((8, 8, 1), 10, torch.relu)
    module.load_state_dict({name.removeprefix("plain."): one for name, one in program.weights(0).items()})
    expected = module.eval()(program.data.test.first(logits.shape[1]).x.view(-1, 1, 8, 8))
    assert torch.allclose(logits[0], expected, rtol=1e-5, atol=1e-6)


def test_memory_is_estimated_by_what_is_within_a_plain_network(ours: Path) -> None:
    """Its feature maps, and not only the logits that it gives."""
    few, many = (
        sum(memory._activations(Program([trial(model, nonlinearity="relu")], data_of("digits", "float32"))))
        for model in ({"name": "ours:Small", "options": {"maps": maps}} for maps in (4, 16))
    )
    assert many - few == pytest.approx(3 * (16 - 4) * 64 * 4)


@pytest.mark.slow
def test_who_has_read_only_the_page_gets_results(ours: Path, bnexp: Bnexp) -> None:
    """Its three examples, in workers of their own; and verify finds the same, and then another source."""
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for name, text, count in zip(("striped", "networks", "rates"), examples, (2, 4, 6), strict=True):
        small = re.sub(r"steps: \d+", "steps: 20", text.replace("seeds: 10", "seeds: 1"))
        ours.with_name(f"{name}.yaml").write_text(small)
        ended = bnexp("run", name, "--file", f"{name}.yaml", "--workers", "1", cwd=ours.parent)
        assert ended.code == 0 and f"{count} finished" in ended.err, ended.err
    assert "Worst, norm batch minus norm none" in bnexp("report", "--file", "rates.yaml", cwd=ours.parent).out
    verify = ("verify", "--experiment", "networks", "--workers", "1")
    again = bnexp(*verify, cwd=ours.parent)
    assert again.code == 0 and "4 bitwise equal" in again.out, again.out + again.err
    ours.write_text(ours.read_text() + "# edited\n")
    said = " ".join(bnexp(*verify, cwd=ours.parent).out.split())
    assert "the source of ours:Small is not what it was trained by" in said
