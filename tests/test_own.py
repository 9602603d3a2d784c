"""Normalizers and nonlinearities of a person's own: found, known by their source, fused or trial by trial."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.alone import PLAIN
from bnexp import own
from bnexp.config import TrialConfig
from bnexp.engine.program import Program
from bnexp.engine.rehearsal import rehearse
from bnexp.engine.trainer import Trainer
from bnexp.errors import ConfigurationError, UsageError
from bnexp.experiments import load
from bnexp.identity import cohort_key, trial_key
from bnexp.models.layers import Mode
from bnexp.records import Outcome
from tests.cohorts import SMALL, assert_as_alone, data_of, synthetic, together
from tests.cohorts import trial as shipped_trial
from tests.conftest import Bnexp
from tests.documented import ROOT
from tests.test_run import rows

PAGE = (ROOT / "docs" / "howto" / "normalizer.md").read_text()
LAYER, FUNCTION = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
[EXAMPLE] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
OTHERS = """

class Random(nn.Linear):
    def __init__(self, units: int) -> None:
        super().__init__(units, units)


class Tied(Plain):
    # A parameter under two names, one that is frozen, and a buffer that is not kept.

    def __init__(self, units: int, frozen: bool = True) -> None:
        super().__init__(units)
        self.same = self.gamma
        self.fixed = nn.Parameter(torch.full((units,), 2.0), requires_grad=not frozen)
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        size = x.abs().mean(1, keepdim=True) + self.eps
        return self.same * x / size * self.fixed * self.scale + self.beta


class Noisy(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.BatchNorm1d(units), nn.Dropout(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Raises(nn.Module):
    def __init__(self, units: int) -> None:
        raise ValueError(f"not of {units}")


class Narrow(nn.Linear):
    def __init__(self, units: int) -> None:
        super().__init__(units, units - 1)


class Nothing(Plain):
    def forward(self, x: Tensor) -> None:
        return None


class Mixes(MeanAbs):
    def forward(self, x: Tensor, now: Pass) -> Tensor:
        return super().forward(x - x.mean(0), now)


class MixesInTheEnd(MeanAbs):
    def forward(self, x: Tensor, now: Pass) -> Tensor:
        return super().forward(x - x.mean(0) if now.mode.name == "FINAL" else x, now)


class OnlyTrains(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            raise RuntimeError("no")
        return x


class Rebinds(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x - self.mean


class Flat(MeanAbs):
    def __init__(self, cohort: Cohort, name: str, units: int) -> None:
        super().__init__(cohort, name, units)
        self.gamma = nn.Parameter(torch.ones(units))


def mixing(x): return x / x.abs().mean()
def refusing(x): raise RuntimeError("not today\\nor ever")
def shorter(x): return x[..., 1:]


known = {"batch": 1}
"""
MODULE = f"{LAYER}\n\n{FUNCTION}{PLAIN}{OTHERS}"
"""What the page shows, and plain modules."""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module `mine`, which we are in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(MODULE)
    yield tmp_path / "mine.py"
    sys.modules.pop("mine", None)


def trial(norm: Any = "none", **fields: Any) -> TrialConfig:
    return shipped_trial({**SMALL, "norm": norm, "steps": 30, **fields}).with_sources()


def numbered(config: TrialConfig, *numbers: dict[str, Any]) -> list[TrialConfig]:
    """Trials with numbers of their own."""
    return [config.model_copy(update=each) for each in numbers]


def test_a_layer_with_a_trial_axis_and_a_plain_module_do_the_same(mine: Path) -> None:
    """In float64, step by step, whatever else differs by trial."""
    losses = []
    for name in ("MeanAbs", "Plain"):
        base = trial({"name": f"mine:{name}", "options": {"eps": 0.5}}, precision="float64", nonlinearity="tanh")
        trials = numbered(base, {"seed": 1}, {"seed": 1, "dropout": 0.3}, {"seed": 2, "lr_multiplier": 9.0})
        program = Program(trials, data_of("digits", "float64"))
        program.run(1, 30)
        losses.append([loss for loss, _ in program.measure(program.data.validation, Mode.FINAL)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9) and len(set(losses[0])) == 3


def test_torchs_own_batch_normalization_trains_as_the_shipped_one(mine: Path) -> None:
    """Its averages are one tensor a trial, moved by training and left alone by a probe."""
    found = []
    for norm in ("torch.nn:BatchNorm1d", "batch"):
        trials = numbered(trial(norm, precision="float64"), {"seed": 1}, {"seed": 2, "lr_multiplier": 5.0})
        program = Program(trials, data_of("digits", "float64"))
        program.run(1, 30)
        found.append([loss for loss, _ in program.measure(program.data.train, Mode.PROBE)])
        if norm != "batch":
            before = {name: one.clone() for name, one in program.model.state_dict().items()}
            program.measure(program.data.train, Mode.PROBE)
            assert all(one.equal(before[name]) for name, one in program.model.state_dict().items())
            [count, *_] = [one for name, one in before.items() if "num_batches" in name]
            assert count.flatten().tolist() == [30, 30]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_a_plain_modules_parameters_may_have_several_names_or_be_frozen(mine: Path) -> None:
    """Twice a half is one, and what is frozen stays: it trains as the module without."""
    losses = []
    for norm in ("mine:Plain", "mine:Tied", {"name": "mine:Tied", "options": {"frozen": False}}):
        program = Program([trial(norm, precision="float64", seed=1)], data_of("digits", "float64"))
        program.run(1, 30)
        losses.append(program.measure(program.data.validation, Mode.FINAL)[0][0])
        assert len([name for name, _ in program.model.named_parameters() if "own" in name]) == 4 + 2 * len(losses[2:])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9) != pytest.approx(losses[2], rel=1e-9)


@pytest.mark.parametrize("norm", ["mine:MeanAbs", "mine:Plain", "torch.nn:BatchNorm1d", "mine:Random", "mine:Noisy"])
def test_a_trial_equals_itself_alone_and_after_a_neighbours_end(mine: Path, norm: str) -> None:
    base = trial(norm, nonlinearity="relu", eval_every=10)
    ends = {"seed": 1, "lr_multiplier": 1e38}
    trials = numbered(base, ends, {"seed": 1}, {"seed": 1, "dropout": 0.5}, {"seed": 2, "init_scale": 2.0})
    assert together(trials)[0].status == "diverged"
    assert_as_alone(trials)


def test_what_a_plain_module_draws_is_its_own_trials_in_a_cohort_after_another(mine: Path) -> None:
    """Though one program could go on with the tensors of the other."""
    trainer, data = Trainer(), data_of("digits", "float32")
    first, second = ([trial("mine:Noisy", seed=seed, steps=5)] for seed in (1, 2))
    list(trainer.train(first, data))
    [outcome] = [one for one in trainer.train(second, data) if isinstance(one, Outcome)]
    assert outcome == together(second)[0]


def test_a_nonlinearity_is_a_function_of_a_tensor(mine: Path) -> None:
    own, shipped = (together([trial(nonlinearity=name)])[0] for name in ("torch:tanh", "tanh"))
    assert (own.curve, own.final) == (shipped.curve, shipped.final)
    assert together([trial(nonlinearity="mine:swish")])[0].final != shipped.final


def test_an_edited_source_is_another_trial(mine: Path) -> None:
    norm = {"name": "mine:MeanAbs", "options": {"eps": 0.5}}
    before, same = trial(norm), trial(norm)
    other = trial({**norm, "options": {"eps": 0.25}})
    shipped = trial("batch")
    mine.write_text(MODULE + "# edited\n")
    after = trial(norm)
    keys = [trial_key(one, "print") for one in (before, after, other)]
    assert trial_key(same, "print") == keys[0] and len(set(keys)) == 3
    assert len({cohort_key(one, "print") for one in (before, after, other)}) == 3
    assert trial("batch") == shipped and shipped.sources == ()
    assert (
        trial(nonlinearity="mine:swish").sources == after.sources[:0] + trial("none", nonlinearity="mine:swish").sources
    )
    with pytest.raises(UsageError, match="mine:MeanAbs: its source has changed since"):
        rehearse(before, synthetic())


def test_what_is_stored_is_read_back_where_the_module_is_not(mine: Path) -> None:
    stored = trial({"name": "mine:MeanAbs", "options": {"word": "a", "eps": 0.5, "flag": True}})
    mine.unlink()
    assert TrialConfig.model_validate(stored.model_dump(mode="json")) == stored


REFUSED = {
    "nowhere:Norm": "no module 'nowhere' with a file is in",
    "mine.inner:Norm": "no module 'mine.inner' with a file",
    "mine:": "not an import path; write package.module:name",
    "os/path:join": "not an import path",
    "{name: 'mine:MeanAbs', eps: 1}": "has no field 'eps' (write it under options, as norm.options: {eps: ...})",
    "{name: 'mine:MeanAbs', options: {eps: [1]}}": 'norm.options: [["eps", [1]]]: they are names with a number',
    "{name: 'mine:MeanAbs', options: 3}": "norm.options: 3: they are names",
}


@pytest.mark.parametrize("norm", REFUSED)
def test_what_cannot_be_found_is_refused_with_its_place(mine: Path, norm: str) -> None:
    path = mine.with_name("e.yaml")
    path.write_text(f"experiments:\n  e:\n    norm: {norm if '{' in norm else repr(norm)}\n    seeds: 1\n")
    with pytest.raises(ConfigurationError) as refused:
        list(load(path).experiments["e"].expand())
    assert re.match(r"\S*e\.yaml:3:\d+: ", str(refused.value)) and REFUSED[norm] in str(refused.value)


UNFIT = {
    "mine:Missing": "mine.py) has no 'Missing'",
    "mine:Raises": "norm: Raises of 20 units with options {}: not of 20 (mine.py:",
    "mine:Narrow": "of [2, 4, 20] it makes [2, 4, 19], where the same shape is wanted",
    "mine:Nothing": "norm: Nothing of 20 units",
    "mine:Mixes": "a trial has other numbers in company than alone",
    "mine:MixesInTheEnd": "a trial has other numbers in company than alone",
    "mine:OnlyTrains": "norm: OnlyTrains of 20 units with options {}: RuntimeError: no (mine.py:",
    "mine:Rebinds": "it binds 'mean' to another tensor; change what it has in place, as by copy_",
    "mine:Flat": "its parameter 'gamma' is [20] in a cohort of 2 trials, where [2, n, m] is wanted",
    "torch.nn:LazyBatchNorm1d": "norm: LazyBatchNorm1d of 20 units",
    "broken:Norm": "broken.py cannot be imported: SyntaxError: ",
    "leaves:Norm": "leaves.py cannot be imported: SystemExit: 3",
    "mine:known": "mine:known is no class of layers or modules",
    "mine:swish": "mine:swish is no class of layers or modules",
}


@pytest.mark.parametrize("norm", UNFIT)
def test_what_is_no_normalizer_is_refused_before_anything_trains(mine: Path, norm: str) -> None:
    mine.with_name("broken.py").write_text("def")
    mine.with_name("leaves.py").write_text("import sys\nsys.exit(3)")
    with pytest.raises(UsageError, match=re.escape(UNFIT[norm])):
        rehearse(trial(norm), synthetic())


UNFIT_FUNCTIONS = {
    "mine:mixing": "a trial has other numbers in company than alone",
    "mine:refusing": "RuntimeError: not today (mine.py:",
    "mine:shorter": "of [2, 4, 5] it makes [2, 4, 4], where a tensor of the same shape is wanted",
    "torch.nn:Tanh": "",
    "torch.nn:Softplus": "of [2, 4, 5] it makes Softplus, where a tensor of the same shape is wanted",
    "mine:known": "it is no function",
}


@pytest.mark.parametrize("name", UNFIT_FUNCTIONS)
def test_what_is_no_nonlinearity_is_refused_before_anything_trains(mine: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"^nonlinearity: {name}: {re.escape(UNFIT_FUNCTIONS[name])}[^\n]*$"):
        rehearse(trial(nonlinearity=name), synthetic())


def test_options_that_a_class_does_not_take_are_refused(mine: Path) -> None:
    with pytest.raises(UsageError, match=r"norm: MeanAbs of 20 units with options {'gain': 1}: .*gain"):
        rehearse(trial({"name": "mine:MeanAbs", "options": {"gain": 1}}), synthetic())


@pytest.mark.slow
def test_who_has_read_only_the_page_gets_results(mine: Path, bnexp: Bnexp) -> None:
    """In workers of their own; an edited file is other trials, and the old ones stay."""
    (mine.parent / "mine.yaml").write_text(EXAMPLE.replace("seeds: 10", "seeds: 1\n    steps: 20"))
    run = ("run", "mine", "--file", "mine.yaml", "--workers", "1")
    ended = bnexp(*run, cwd=mine.parent)
    assert ended.code == 0 and "8 finished" in ended.err, ended.err
    mine.write_text(MODULE + "# edited\n")
    assert "4 trials to train" in bnexp(*run, cwd=mine.parent).err
    found = (
        "select norm, norm_options, count(*) from trial_results where status = 'finished' group by 1, 2 order by 1, 2"
    )
    assert rows(mine.parent, found) == [
        ("batch", None, 2),
        ("mine:MeanAbs", '[["eps", 0.1]]', 4),
        ("mine:MeanAbs", "[]", 4),
        ("none", None, 2),
    ]


def test_looking_for_a_source_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the packages that it is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    inner = tmp_path / "broken_package" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").write_text("raise RuntimeError\n")
    (inner / "norms.py").write_text("")
    assert own.file_of("broken_package.inner.norms:Norm") == inner / "norms.py"
    for name in ("broken_package.gone:Norm", "broken_package.inner.norms.deeper:Norm", "nowhere.at.all:Norm"):
        with pytest.raises(UsageError, match="no module"):
            own.file_of(name)
    with pytest.raises(UsageError, match="cannot be imported: RuntimeError"):
        own.found("broken_package.inner.norms:Norm")
