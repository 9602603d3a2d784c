"""What steps see and how networks are measured: the same numbers wherever pictures are kept, whoever trains beside."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bnexp.config import TrialConfig
from bnexp.data import batches
from bnexp.data.ahead import Ahead
from bnexp.data.batches import DeviceData, to_device
from bnexp.data.dataset import Dataset
from bnexp.data.examples import Streamed
from bnexp.data.loading import data_key
from bnexp.data.pictures import Pictures
from bnexp.data.ragged import Ragged
from bnexp.engine.evaluation import CHUNK, among_best, chunk
from bnexp.engine.program import Program
from bnexp.engine.trainer import Trainer, train_cohort
from bnexp.errors import UsageError
from bnexp.models.layers import Mode
from bnexp.records import Final, Outcome
from tests.test_program import Recording

CPU = torch.device("cpu")
AUGMENT = {"name": "crop", "area": 0.3}
BASE: dict[str, Any] = {
    "model": {"name": "mlp", "hidden": [9]},
    "norm": "batch",
    "batch_size": 7,
    "steps": 24,
    "eval_every": 8,
    "lr_multiplier": 3.0,
}


def trial(**fields: Any) -> TrialConfig:
    return TrialConfig.model_validate({**BASE, **fields})


@cache
def grey(classes: int = 8) -> Dataset:
    """120 pictures of 9 x 8 pixels, 30 of them for tests."""
    rng = np.random.default_rng(classes)
    centres = rng.integers(0, 200, (classes, 9, 8))
    labels = np.arange(120) % classes
    images = (centres[labels] * rng.random((120, 9, 8))).astype(np.uint8)
    return Dataset("grey", classes, 255.0, images[:90], labels[:90], images[90:], labels[90:])


@cache
def coloured() -> Dataset:
    """The same with three channels, each of them another shade."""
    shades = np.array([1.0, 0.7, 0.4])
    images, tests = ((part[..., None] * shades).astype(np.uint8) for part in (grey().images, grey().test_images))
    return replace(grey(), name="coloured", images=images, test_images=tests)


@cache
def ragged() -> Dataset:
    """The same, cut to different sizes."""
    rng = np.random.default_rng(1)

    def cut(images: Any) -> Ragged:
        return Ragged.packed([image[: rng.integers(5, 10), : rng.integers(5, 9)] for image in images])

    return replace(coloured(), name="ragged", images=cut(coloured().images), test_images=cut(coloured().test_images))


def placed(dataset: Dataset, config: TrialConfig, limit: int | None = None) -> DeviceData:
    crops = data_key(config)[-1]
    dtype = getattr(torch, config.precision)
    return to_device(dataset, config.split, dtype, CPU, config.binarize, config.image_size, bool(crops), limit)


def outcomes(trials: Sequence[TrialConfig], data: DeviceData) -> list[Outcome]:
    found = [record for record in train_cohort(trials, data) if isinstance(record, Outcome)]
    return sorted(found, key=lambda outcome: outcome.slot)


def readers() -> int:
    """Threads that read ahead."""
    return sum(thread.name.startswith("ahead") for thread in threading.enumerate())


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "binary": {"binarize": True},
    "double": {"precision": "float64", "shuffle": "fixed"},
    "resized": {"image_size": 6, "crops": 10},
    "convolutional": {
        "model": {"name": "cnn", "channels": [3], "dense": [6]},
        "image_size": 8,
        "augment": AUGMENT,
        "crops": 10,
        "steps": 8,
    },
    "augmented": {"augment": AUGMENT, "probes": ["gradient-norms"]},
    "all": {"augment": AUGMENT, "image_size": 10, "crops": 144, "steps": 8, "precision": "float64"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [grey, coloured])
def test_streamed_data_give_the_numbers_of_resident_data(make: Any, form: str) -> None:
    """Bit for bit, curves, probes and final numbers, over epochs, for streams of two seeds."""
    trials = [trial(seed=seed, dropout=drop, **FORMS[form]) for seed in (1, 2) for drop in (0.0, 0.4)]
    resident, streamed = (placed(make(), trials[0], limit) for limit in (None, 0))
    assert isinstance(streamed.train, Streamed) and not isinstance(resident.train, Streamed)
    assert streamed.shape == resident.shape == (*resident.shape[:2], 1 if make is grey else 3)
    assert torch.equal(streamed.train.x, resident.train.x)
    if data_key(trials[0])[-1]:
        some = torch.tensor([5, 0, 41])
        assert torch.equal(streamed.train.pictures(some).pixels, resident.train.pictures(some).pixels)
    assert outcomes(trials, streamed) == outcomes(trials, resident)
    assert readers() == 0


def test_pictures_of_one_size_may_lie_in_one_file() -> None:
    """As Ragged, they give the same numbers."""
    whole, config = coloured(), trial(image_size=6, augment=AUGMENT)
    packed = replace(
        whole, images=Ragged.packed(list(whole.images)), test_images=Ragged.packed(list(whole.test_images))
    )
    assert outcomes([config], placed(packed, config)) == outcomes([config], placed(whole, config))


@pytest.mark.parametrize("make", [grey, ragged])
def test_an_augmented_trial_equals_itself_alone(make: Any) -> None:
    """Bit for bit, among trials of its own and of other seeds, in any slot, and where some diverge and are let go."""
    base = {"image_size": 7, "augment": AUGMENT, "nonlinearity": "relu", "norm": "none"}
    trials = [trial(seed=seed, lr_multiplier=rate, **base) for seed in (5, 6) for rate in (1.0, 1e38, 2.0)]
    data = placed(make(), trials[0])
    together = outcomes(trials, data)
    assert {outcome.status for outcome in together} == {"finished", "diverged"}
    for slot, outcome in enumerate(together):
        [alone] = outcomes([trials[slot]], data)
        assert str(replace(alone, slot=slot)) == str(outcome)
    assert str([replace(one, slot=0) for one in outcomes(trials[::-1], data)[::-1]]) == str(
        [replace(one, slot=0) for one in together]
    )
    assert readers() == 0


@pytest.mark.parametrize("limit", [None, 0])
def test_augmented_training_goes_on_to_the_same_numbers(limit: int | None) -> None:
    trials = [trial(seed=seed, augment=AUGMENT) for seed in (1, 2)]
    data = placed(grey(), trials[0], limit)
    straight, first, second = (Program(trials, data) for _ in range(3))
    straight.run(1, 24)
    first.run(1, 10)
    kept = {name: tensor.clone() for name, tensor in first.kept().items()}
    first.run(11, 3)
    for program in (first, second):
        program.put_back(kept, 10)
        program.run(11, 14)
        for name, tensor in straight.kept().items():
            assert torch.equal(program.kept()[name], tensor), name
    assert readers() == 0


@pytest.mark.parametrize("limit", [None, 0])
def test_a_program_restarted_sees_the_new_seeds_pictures(limit: int | None) -> None:
    """In the tensors that it had; kept trials too."""
    old, new = ([trial(seed=seed, augment=AUGMENT) for seed in seeds] for seeds in ((1, 2), (3, 4)))
    data = placed(grey(), old[0], limit)
    used, fresh = Program(old, data), Program(new, data)
    used.run(1, 9)
    before = {name: tensor.data_ptr() for name, tensor in used.state().items()}
    assert "augment" in before
    used.restart(new)
    for program in (used, fresh):
        program.run(1, 9)
        assert readers() == (limit == 0) * (1 if program is used else 2)
    for name, tensor in used.state().items():
        assert tensor.data_ptr() == before[name] and torch.equal(tensor, fresh.state()[name]), name
    for program in (used, fresh):
        program.keep([1])
    assert readers() == 0
    lone = Program(new[1:], data)
    lone.run(1, 24)
    used.run(10, 15)
    for name, tensor in lone.kept().items():
        assert torch.equal(used.kept()[name], tensor), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [None, 0])
def test_a_gpu_sees_what_a_cpu_sees(form: str, limit: int | None) -> None:
    """Captured, and from pinned memory; to rounding, since a GPU rounds otherwise."""
    trials = [trial(seed=seed, **FORMS[form]) for seed in (1, 2)]
    here = placed(coloured(), trials[0])
    dtype = here.dtype
    there = to_device(
        coloured(),
        0,
        dtype,
        torch.device("cuda"),
        trials[0].binarize,
        trials[0].image_size,
        bool(data_key(trials[0])[-1]),
        limit,
    )
    assert isinstance(there.train, Streamed) is (limit == 0)
    torch.testing.assert_close(there.train.x.cpu(), here.train.x, rtol=1e-6, atol=1e-6)
    for on_gpu, on_cpu in zip(outcomes(trials, there), outcomes(trials, here), strict=True):
        assert on_gpu.final is not None and on_cpu.final is not None
        assert on_gpu.final.train_loss == pytest.approx(on_cpu.final.train_loss, rel=1e-2)
        assert on_gpu.final.test_loss == pytest.approx(on_cpu.final.test_loss, rel=1e-2)
    assert readers() == 0


def test_an_augmented_step_can_be_recorded_once_and_replayed_without_python() -> None:
    trials = [trial(seed=seed, augment=AUGMENT) for seed in (3, 4)]
    data = placed(coloured(), trials[0])
    stepped, replayed = Program(trials, data), Program(trials, data)
    for program in (stepped, replayed):
        program.run(1, 1)
        program.order[:7].copy_(program.batches.indices(2, 7, program.streams))
        program.optimizer.prepare(2, 7)
        program.row.fill_(-1)
    for _ in range(4):
        stepped._step()
    recording = Recording()
    with recording:
        replayed._step()
    for _ in range(3):
        recording.replay()
    for name, tensor in stepped.state().items():
        assert torch.equal(replayed.state()[name], tensor), name


def test_a_reader_that_fails_ends_training_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it fails in another thread; no thread is left, and the trainer goes on with another cohort."""
    config, trainer = trial(), Trainer()
    data, read = placed(grey(), config, 0), Pictures.read
    calls: list[int] = []

    def fail(self: Pictures, places: Tensor) -> Any:
        calls.append(1)
        if len(calls) == 12:
            raise OSError("the disk is gone")
        return read(self, places)

    monkeypatch.setattr(Pictures, "read", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        list(trainer.train([config], data))
    assert readers() == 0
    again = [one for one in trainer.train([config], data) if isinstance(one, Outcome)]
    assert again == outcomes([config], data)


def test_training_that_is_left_leaves_no_thread() -> None:
    config = trial()
    records = Trainer().train([config], placed(grey(), config, 0))
    for _ in range(3):
        next(records)
    assert readers() == 1
    records.close()  # type: ignore[attr-defined]
    assert readers() == 0


def test_what_cannot_be_made_is_told_when_it_is_asked_for() -> None:
    """And ends the rest."""
    ahead = Ahead(lambda number: 6 // number, [3, 2, 0, 1])
    assert [next(ahead), next(ahead)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(ahead)
    assert readers() == 0 and next(ahead, None) is None


def test_little_is_made_ahead_of_what_is_large() -> None:
    """One thing of more than the bytes that may wait."""
    for size, most in ((2**28 + 1, 2), (2**27, 3), (1, 5)):
        taken: list[int] = []
        ahead = Ahead(int, (taken.append(number) or number for number in range(9)), size=size)
        next(ahead)
        assert len(taken) == most
        ahead.close()


@pytest.mark.parametrize("threads", [1, 4])
def test_what_is_made_ahead_comes_in_order_and_not_too_far(threads: int) -> None:
    taken: list[int] = []

    def numbers() -> Any:
        for number in range(40):
            taken.append(number)
            assert threading.current_thread() is threading.main_thread()
            yield number

    ahead = Ahead(lambda number: (number, threading.current_thread().name), numbers(), threads)
    for expected in range(40):
        number, thread = next(ahead)
        assert number == expected and thread.startswith("ahead")
        assert len(taken) <= expected + 1 + 4 + threads
    assert next(ahead, None) is None and next(ahead, None) is None
    assert readers() == 0


def test_data_stay_where_they_are_only_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    config, augmented = trial(), trial(augment=AUGMENT)
    inputs, pixels = 120 * 72 * 4, 120 * 72
    for room, streamed in ((inputs - 1, True), (inputs, False)):
        monkeypatch.setattr(batches, "HOST_LIMIT", room)
        assert isinstance(placed(grey(), config).train, Streamed) is streamed
        monkeypatch.setattr(batches, "HOST_LIMIT", room + pixels)
        assert isinstance(placed(grey(), augmented).test, Streamed) is streamed


def test_pictures_of_different_sizes_need_a_size() -> None:
    with pytest.raises(UsageError, match=r"image_size: 0 .* those of ragged differ in size; set the size"):
        placed(ragged(), trial())
    data = placed(ragged(), trial(image_size=7))
    assert (data.shape, data.train.x.shape) == ((7, 7, 3), (60, 147))


@pytest.mark.parametrize("classes", [6, 40])
def test_top_5_is_what_sorting_says(classes: int) -> None:
    """Of equal scores the first class is the better, as a stable sort has it: many are equal here."""
    scores = torch.randint(0, 6, (3, 500, classes), generator=torch.Generator().manual_seed(0)).float()
    labels = torch.randint(0, classes, (3, 500), generator=torch.Generator().manual_seed(1))
    best = scores.sort(dim=2, descending=True, stable=True).indices[..., :5]
    assert torch.equal(among_best(scores, labels), (best == labels[..., None]).any(2))
    first = scores.sort(dim=2, descending=True, stable=True).indices[..., 0]
    assert bool(among_best(scores, first).all())


def final(config: TrialConfig, data: DeviceData) -> tuple[Program, Final]:
    """A trained program, ready for final numbers, and those that the trainer has."""
    program = Program([config], data)
    program.run(1, config.steps)
    program.gather_population()
    [outcome] = outcomes([config], data)
    assert outcome.final is not None
    return program, outcome.final


@pytest.mark.parametrize("crops", [1, 10, 144])
@pytest.mark.parametrize("make", [grey, ragged])
def test_final_numbers_are_of_probabilities_averaged_over_crops(make: Any, crops: int) -> None:
    """Of the test set only."""
    config = trial(image_size=6, crops=crops, precision="float64")
    data = placed(make(), config)
    program, told = final(config, data)
    plain = program.score(data.validation)[0]
    assert (told.validation_loss, told.validation_accuracy, told.validation_top5_accuracy) == plain
    assert told.validation_top5_accuracy is not None and told.test_top5_accuracy is not None
    logits = [
        torch.cat([program.apply(x[None], y[None], Mode.FINAL)[1][0] for x in crop_list])
        for crop_list, y in [([next(seen)], y) for seen, y in data.test.crops(30, 1)]
    ]
    if crops > 1:
        [(seen, y)] = data.test.crops(30, crops)
        logits = [program.apply(x[None], y[None], Mode.FINAL)[1][0] for x in seen]
        assert len(logits) == crops and not torch.equal(logits[0], logits[1])
    mean = torch.stack(logits).detach().softmax(2).mean(0)
    chunks: list[torch.Tensor] = []
    program.score(data.test, crops, chunks)
    [found] = torch.cat(chunks, dim=1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, mean.float())
    y = data.test.y
    assert told.test_loss == pytest.approx(float(cross_entropy(mean.log(), y)), rel=1e-9)
    assert told.test_accuracy == float((mean.argmax(1) == y).double().mean())
    among = (mean.sort(dim=1, descending=True).indices[:, :5] == y[:, None]).any(1)
    assert told.test_top5_accuracy == float(among.double().mean()) >= told.test_accuracy


def test_top_5_of_five_classes_is_none() -> None:
    config = trial()
    [outcome] = outcomes([config], placed(grey(5), config))
    assert outcome.final is not None
    assert outcome.final.validation_top5_accuracy is outcome.final.test_top5_accuracy is None


def test_final_training_numbers_are_of_the_first_examples_only(monkeypatch: pytest.MonkeyPatch) -> None:
    config = trial()
    data = placed(grey(), config)
    monkeypatch.setattr("bnexp.engine.trainer.FINAL_EXAMPLES", 20)
    program, told = final(config, data)
    assert (told.train_loss, told.train_accuracy) == program.measure(data.train.first(20), Mode.FINAL)[0]


def test_as_many_examples_are_evaluated_at_once_as_their_size_allows() -> None:
    assert [chunk(inputs) for inputs in (1, 64, 784, 3072, 224 * 224 * 3)] == [CHUNK, CHUNK, CHUNK, 98, 16]
