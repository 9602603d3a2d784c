"""The program of a cohort: steps that a CUDA graph could hold, programs that serve many cohorts, memory that ends."""

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnexp.config import TrialConfig
from bnexp.data.batches import DeviceData, to_device
from bnexp.data.dataset import source
from bnexp.engine import trainer
from bnexp.engine.device import is_out_of_memory
from bnexp.engine.graph import Replayed
from bnexp.engine.optim import STRETCH
from bnexp.engine.program import Program
from bnexp.engine.trainer import Trainer, train_cohort
from bnexp.records import Outcome, Record

BASE: dict[str, Any] = {"model": {"name": "mlp", "hidden": [9, 7]}, "steps": 90, "eval_every": 30, "lr_multiplier": 2.0}
KINDS = [
    {"norm": {"name": "none"}},
    {"norm": {"name": "batch"}, "schedule": {"name": "exponential", "decay": 0.5, "every": 40.0}},
    {"norm": {"name": "batch"}, "nonlinearity": "relu", "shuffle": "fixed"},
    {"norm": {"name": "none"}, "nonlinearity": "tanh", "optimizer": {"name": "sgd", "weight_decay": 1e-3}},
    {"norm": {"name": "noisy-batch", "stop_gradient": True}},
    {"norm": {"name": "group", "groups": 1}},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=["none", "batch", "relu", "tanh", "noisy", "group"])


def cohort(kind: dict[str, Any], *seeds: int, **fields: Any) -> list[TrialConfig]:
    """Two trials a seed, with different dropout."""
    return [
        TrialConfig.model_validate({**BASE, **kind, "seed": seed, "dropout": dropout, **fields})
        for seed in seeds
        for dropout in (0.0, 0.4)
    ]


@pytest.fixture(scope="module")
def digits() -> DeviceData:
    return to_device(source("digits").read(), 0, torch.float32, torch.device("cpu"))


class Recording(TorchDispatchMode):
    """Takes down every operation and its tensors, as a CUDA graph would, and refuses what would read them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal"}, f"{name} reads a tensor"
        assert name not in {"lift_fresh", "_pin_memory"}, f"{name} makes a tensor on the host"
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        """The same operations on the same memory again, without the Python that called them."""
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor):
                    old.copy_(new)


def copied(program: Program) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in program.state().items()}


def addresses(program: Program) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in program.state().items()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@kinds
def test_a_step_can_be_recorded_once_and_replayed_without_python(kind: dict[str, Any], digits: DeviceData) -> None:
    """Whatever differs between steps lies in tensors: two steps, recorded, stand for the next four as well."""
    trials = cohort(kind, 3, 4)
    stepped, replayed = Program(trials, digits), Program(trials, digits)
    for program in (stepped, replayed):
        program.run(1, 1)
        program.order[:7].copy_(program.batches.indices(2, 7, program.streams))
        program.optimizer.prepare(2, 7)
        program.row.fill_(-1)
    for _ in range(6):
        stepped._step()
    recording = Recording()
    with recording:
        replayed._step()
        replayed._step()
    assert len(recording.calls) > 50
    recording.replay()
    recording.replay()
    assert int(replayed.now) == 7
    assert_same(copied(stepped), copied(replayed))


@kinds
def test_what_a_step_uses_stays_where_it_is(kind: dict[str, Any], digits: DeviceData) -> None:
    """Over steps, stretches of steps, and cohorts; and the state names every tensor of the model and its velocity."""
    program = Program(cohort(kind, 3, 4), digits)
    before, first = addresses(program), copied(program)
    program.run(1, STRETCH + 3)
    assert addresses(program) == before
    moved = {name for name, tensor in program.state().items() if not torch.equal(tensor, first[name])}
    assert {"now", "row", "order", *(name for name in before if name.startswith("velocity"))} <= moved
    assert {name for name, _ in program.model.named_parameters()} <= moved
    program.restart(cohort(kind, 8, 9))
    assert addresses(program) == before


@kinds
def test_a_program_restarted_is_a_program_made_anew(kind: dict[str, Any], digits: DeviceData) -> None:
    """Bit for bit, whatever it did before: training, and the population statistics of another cohort."""
    used, new = Program(cohort(kind, 3, 4), digits), Program(cohort(kind, 8, 9, lr_multiplier=3.0), digits)
    used.run(1, 70)
    used.gather_population()
    assert used.fits(new.trials, digits)
    used.restart(new.trials)
    for program in (used, new):
        program.run(1, 70)
        program.gather_population()
    assert_same(copied(used), copied(new))


@pytest.mark.parametrize(
    "other",
    [
        {"steps": 91},
        {"nonlinearity": "relu"},
        {"dropout": 0.0},
        {"optimizer": {"name": "sgd", "weight_decay": 0.1}},
    ],
    ids=str,
)
def test_a_program_fits_only_what_has_the_same_operations(other: dict[str, Any], digits: DeviceData) -> None:
    """Dropout and weight decay that no trial has are left out of the steps."""
    program = Program(cohort(KINDS[0], 3, 4), digits)
    assert program.fits(cohort(KINDS[0], 5, 6, init_scale=2.0), digits)
    assert not program.fits(cohort(KINDS[0], 5, 6, **other), digits)
    assert not program.fits(cohort(KINDS[0], 5, 6, 7), digits)
    assert not program.fits(cohort(KINDS[0], 5, 6)[::2] * 2, digits), "as many trials, in as many streams as trials"
    again = to_device(source("digits").read(), 0, torch.float32, torch.device("cpu"))
    assert not program.fits(program.trials, again)


def outcomes(records: Sequence[Record]) -> list[Outcome]:
    return sorted((one for one in records if isinstance(one, Outcome)), key=lambda one: one.slot)


def test_a_trainer_gives_each_cohort_the_results_it_has_alone(digits: DeviceData) -> None:
    """Also after a cohort some of whose trials diverged, and one of another shape."""
    wild = {"lr_multiplier": 1e38, "nonlinearity": "relu"}
    cohorts = [
        cohort(KINDS[0], 3, 4),
        [*cohort(KINDS[0], 5), *cohort(KINDS[0], 6)],
        [*cohort(KINDS[2], 3, 4), *cohort(KINDS[2], 5, **wild)],
        cohort(KINDS[2], 3, 4, 5),
        cohort(KINDS[0], 3, 4),
    ]
    one = Trainer()
    for trials in cohorts:
        assert str(outcomes(list(one.train(trials, digits)))) == str(outcomes(list(train_cohort(trials, digits))))


def test_a_cohort_that_memory_cannot_hold_is_halved(digits: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, at once or in the midst of training; trials that have ended are not trained again."""
    trials = [*cohort(KINDS[2], 3, 4, 5), *cohort(KINDS[2], 6, lr_multiplier=1e38)]
    whole = outcomes(list(train_cohort(trials, digits)))
    assert {one.status for one in whole} == {"finished", "diverged"}
    sizes: list[int] = []

    class Small(Program):
        def run(self, first: int, count: int) -> None:
            if first == 1:
                sizes.append(len(self.trials))
            if len(self.trials) > (5 if first > 20 else 6):
                raise torch.OutOfMemoryError("no room")
            super().run(first, count)

    monkeypatch.setattr(trainer, "Program", Small)
    halved = [one for one in train_cohort(trials, digits) if isinstance(one, Outcome)]
    assert sizes == [8, 4, 4]
    assert sorted(one.slot for one in halved) == list(range(8))
    assert str(outcomes(halved)) == str(whole), "NaN, too, is equal so"


def test_a_lone_trial_that_finds_no_room_says_so(digits: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Program, "run", full)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        list(train_cohort(cohort(KINDS[0], 3), digits))


def test_a_program_is_freed_at_once_when_nobody_wants_it(digits: DeviceData) -> None:
    """Else its memory is still taken when the next one's is asked for."""
    program = Program(cohort(KINDS[0], 3), digits)
    program.replayed = Replayed(torch.device("cuda"))
    gone = weakref.ref(program)
    gc.disable()
    try:
        del program
        assert gone() is None
    finally:
        gc.enable()


def test_every_way_of_having_no_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**15)
    assert is_out_of_memory(raised.value) and is_out_of_memory(torch.OutOfMemoryError("CUDA"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
