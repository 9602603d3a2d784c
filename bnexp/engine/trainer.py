"""The one training path: a cohort of trials, of which a lone trial is the smallest, trained side by side.

Shape suffixes: T trials, S streams, B batch, I inputs.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bnexp import registry
from bnexp.config import TrialConfig
from bnexp.data.batches import CURVE_EXAMPLES, Batches, DeviceData, Examples
from bnexp.engine import cohort, device
from bnexp.engine.optim import Sgd
from bnexp.models.layers import Cohort, Layer, Mode, Pass
from bnexp.records import Final, Outcome, Point, Progress, Record, Started

EVALUATION_CHUNK = 256
"""Examples evaluated at once, whatever the cohort."""


def train_cohort(trials: Sequence[TrialConfig], data: DeviceData) -> Iterator[Record]:
    """Train `trials`, which differ in per-trial fields only, and yield what happens as it happens.

    Each trial ends with one Outcome, the same in any cohort and any slot. Trials that diverged are looked for at
    evaluation steps, end there, and cost nothing more; until then they compute on, on numbers that nobody reads."""
    device.settle()
    training = Training(trials, data)
    yield Started(device.describe(training.device), torch.get_num_threads(), torch.__version__)
    evaluations = set(cohort.evaluation_steps(trials[0].steps, trials[0].eval_every))
    for step in range(1, trials[0].steps + 1):
        training.step(step)
        if step in evaluations:
            yield from training.drop_diverged()
            yield Progress(step, len(training.slots))
            if not training.slots:
                return
            training.add_points(step)
    yield from training.finish()


class Training:
    """A cohort in training: the network, the optimizer, and who is left in it."""

    def __init__(self, trials: Sequence[TrialConfig], data: DeviceData) -> None:
        self.trials = list(trials)
        self.slots = list(range(len(trials)))
        """The place in the cohort as given, of each trial that is left."""
        self.curves: list[list[Point]] = [[] for _ in trials]
        self.data = data
        config = trials[0]
        self.streams = cohort.streams([trial.seed for trial in trials])
        self.batches = Batches(data.train, config.batch_size, config.shuffle == "fixed")
        self.device = data.train.x.device
        members = Cohort(
            streams=self.streams,
            init_scale=torch.tensor([trial.init_scale for trial in trials], dtype=torch.float64),
            dropout=torch.tensor([trial.dropout for trial in trials], dtype=torch.float64),
            dtype=data.train.x.dtype,
            device=self.device,
        )
        build = registry.load(registry.MODELS[config.model.name])
        self.model: Layer = build(members, config, data.shape, data.classes)
        self.optimizer: Sgd = registry.load(registry.OPTIMIZERS[config.optimizer.name])(self.model, self.trials)
        self.now = torch.zeros((), dtype=torch.int64, device=self.device)
        self.diverged_at = torch.zeros(len(trials), dtype=torch.int64, device=self.device)
        self.diverged_loss = torch.zeros(len(trials), dtype=data.train.x.dtype, device=self.device)

    def step(self, step: int) -> None:
        """One step of every trial: the mean loss over its batch, summed over trials, so that nothing crosses them."""
        self.now.fill_(step)
        x_SBI, y_SB = self.batches.at(step, self.streams)
        loss_T = self._losses(x_SBI, y_SB, Mode.TRAIN)[0].mean(1)
        loss_T.sum().backward()
        self.optimizer.step(step)
        self._flag(loss_T.detach(), step)

    def _losses(self, x_SBI: Tensor, y_SB: Tensor, mode: Mode) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy [T, B], logits [T B, classes] and labels [T B]."""
        logits = self.model(x_SBI, Pass(mode, self.now))
        trials, batch, classes = logits.shape
        shared = trials // len(y_SB)
        labels = y_SB[:, None].expand(-1, shared, -1).reshape(-1)
        flat = logits.view(-1, classes)
        return cross_entropy(flat, labels, reduction="none").view(trials, batch), flat, labels

    def _flag(self, loss_T: Tensor, step: int) -> None:
        """Remember, without reading it, which trials' losses have just ceased to be finite."""
        first = ~loss_T.isfinite() & (self.diverged_at == 0)
        self.diverged_at.masked_fill_(first, step)
        self.diverged_loss = torch.where(first, loss_T, self.diverged_loss)

    def drop_diverged(self) -> Iterator[Outcome]:
        """End the trials that have diverged and go on with the others."""
        steps, losses = self.diverged_at.tolist(), self.diverged_loss.tolist()
        for place, step in enumerate(steps):
            if step:
                slot = self.slots[place]
                yield Outcome(
                    slot,
                    "diverged",
                    tuple(self.curves[slot]),
                    diverged_at_step=step,
                    reason=str(losses[place]),
                )
        living = [place for place, step in enumerate(steps) if not step]
        if 0 < len(living) < len(steps):
            self._keep(living)
        self.slots = [self.slots[place] for place in living]

    def _keep(self, places: list[int]) -> None:
        self.trials = [self.trials[place] for place in places]
        self.streams = cohort.streams([trial.seed for trial in self.trials])
        slots = torch.tensor(places, device=self.device)
        self.model.keep(slots, self.streams)
        self.optimizer.keep(slots, self.trials)
        self.diverged_at, self.diverged_loss = self.diverged_at[slots], self.diverged_loss[slots]

    @torch.no_grad()
    def _measure(self, examples: Examples, mode: Mode) -> tuple[list[float], list[float]]:
        """Mean loss and accuracy of each trial on the same examples."""
        loss_T = torch.zeros(len(self.slots), dtype=torch.float64, device=self.device)
        right_T = torch.zeros(len(self.slots), dtype=torch.int64, device=self.device)
        for x, y in zip(examples.x.split(EVALUATION_CHUNK), examples.y.split(EVALUATION_CHUNK), strict=True):
            loss_TB, logits, labels = self._losses(x[None], y[None], mode)
            loss_T += loss_TB.sum(1)
            right_T += (logits.argmax(1) == labels).view(len(self.slots), -1).sum(1)
        return (loss_T / len(examples)).tolist(), (right_T.double() / len(examples)).tolist()

    def add_points(self, step: int) -> None:
        """A point on every curve."""
        train = self._measure(self.data.train.first(CURVE_EXAMPLES), Mode.CURVE)
        validation = self._measure(self.data.validation.first(CURVE_EXAMPLES), Mode.CURVE)
        for slot, *numbers in zip(self.slots, *train, *validation, strict=True):
            self.curves[slot].append(Point(step, *numbers))

    def finish(self) -> Iterator[Outcome]:
        """The final numbers of every trial left. One whose last update made its loss non-finite has diverged too."""
        with torch.no_grad():
            for x_SBI in self.batches.population(self.streams):
                self.model(x_SBI, Pass(Mode.COLLECT, self.now))
        sets = (self.data.train, self.data.validation, self.data.test)
        numbers = [column for examples in sets for column in self._measure(examples, Mode.FINAL)]
        for slot, *row in zip(self.slots, *numbers, strict=True):
            curve, final = tuple(self.curves[slot]), Final(*row)
            if math.isfinite(final.train_loss):
                yield Outcome(slot, "finished", curve, final)
            else:
                step = int(self.now)
                yield Outcome(slot, "diverged", curve, diverged_at_step=step, reason=str(final.train_loss))
