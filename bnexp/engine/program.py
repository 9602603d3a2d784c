"""A cohort's network, optimizer and steps, as one program over tensors whose addresses stay.

What differs from step to step (batches, learning rates) is written for a stretch of steps into tensors, of which each
step takes the row that a counter on the device tells. So a step runs the same operations on the same addresses each
time and reads nothing back: it can be captured in a CUDA graph, and any cohort of the same shape can run it.

Shape suffixes: T trials, S streams, B batch, I inputs.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bnexp import registry
from bnexp.config import TrialConfig
from bnexp.data.batches import Batches, DeviceData
from bnexp.data.examples import Examples
from bnexp.data.feed import Feed
from bnexp.engine import cohort
from bnexp.engine.evaluation import Measured, Tally, chunk
from bnexp.engine.graph import Replayed
from bnexp.engine.optim import STRETCH, Optimizer
from bnexp.identity import cohort_key
from bnexp.models.alone import Alone
from bnexp.models.layers import Cohort, Layer, Mode, Pass
from bnexp.models.networks import network


class Program:
    """Trials that differ in per-trial fields only, side by side on one device."""

    def __init__(self, trials: Sequence[TrialConfig], data: DeviceData) -> None:
        config = trials[0]
        self.trials, self.data = list(trials), data
        self.device, dtype = data.device, data.dtype
        self.streams = cohort.streams([trial.random_seed for trial in trials])
        self.batches = Batches(data.train, config.batch_size, config.shuffle == "fixed")
        members = Cohort(
            streams=self.streams,
            init_scale=torch.tensor([trial.init_scale for trial in trials], dtype=torch.float64),
            dropout=torch.tensor([trial.dropout for trial in trials], dtype=torch.float64),
            dtype=dtype,
            device=self.device,
            bfloat16=config.precision == "bfloat16",
        )
        self.model = network(members, config, data.shape, data.classes)
        optimizer = registry.load(registry.OPTIMIZERS[config.optimizer.name])
        self.optimizer: Optimizer = optimizer(self.model, self.trials)
        self.now = torch.zeros((), dtype=torch.int64, device=self.device)
        self.row = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.diverged_at = torch.zeros(len(trials), dtype=torch.int64, device=self.device)
        self.diverged_loss = torch.zeros(len(trials), dtype=dtype, device=self.device)
        self._shape_steps()
        self._begin()

    def _shape_steps(self) -> None:
        self.order = torch.zeros(STRETCH, len(self.streams), self.batches.size, dtype=torch.int64, device=self.device)
        self.feed = Feed(self.batches, self.trials[0].augment, self.streams, self.trials[0].steps)
        self.replayed = Replayed(self.device) if self.device.type == "cuda" else None

    @torch.no_grad()
    def _begin(self) -> None:
        """Have what starts by data do so, where anything does, on the batch of the first step. It is the beginning of
        a program, so what is put back or restarted takes its place, and it is never captured."""
        if not any(layer.begins for layer in self.layers()):
            return
        self.now.fill_(1)
        if self.feed.streamed:
            self.feed.write(1)
            self.feed.stop()
        [index_SB] = self.batches.indices(1, 1, self.streams).to(self.device)
        self.apply(*self.feed.batch(index_SB, self.now), Mode.BEGIN)
        self.now.zero_()

    def state(self) -> dict[str, Tensor]:
        """Every tensor that differs from cohort to cohort of one shape, or from step to step."""
        ours = ("now", "row", "diverged_at", "diverged_loss", "order")
        mine = {name: getattr(self, name) for name in ours}
        return self.model.state_dict() | self.optimizer.state() | self.feed.state() | mine

    def kept(self) -> dict[str, Tensor]:
        """Every tensor that the trials have from the steps taken, in place; the first axis is theirs. What else a step
        needs follows from the trials and the number of the step."""
        streams = {
            f"{path}.{name}" for path, layer in self.model.named_modules() for name in getattr(layer, "by_stream", ())
        }
        model = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items() if name not in streams}
        flags = {"diverged_at": self.diverged_at, "diverged_loss": self.diverged_loss}
        return model | self.optimizer.kept() | flags

    def put_back(self, kept: Mapping[str, Tensor], step: int) -> None:
        """Go on with what `kept` gave of the same trials after `step` steps."""
        self.now.fill_(step)
        for name, tensor in self.kept().items():
            tensor.copy_(kept[name])

    def fits(self, trials: Sequence[TrialConfig], data: DeviceData) -> bool:
        """Whether the steps of `trials` are the same operations on tensors of the same shapes."""
        if trials[0].sources:
            return False  # what a layer of a person's own has besides tensors is that of its trials
        return data is self.data and _shape(trials) == _shape(self.trials)

    def restart(self, trials: Sequence[TrialConfig]) -> None:
        """Begin anew with `trials`, which this program fits, in place. For a moment there are two of it."""
        new = Program(trials, self.data)
        state = new.state()
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.trials, self.streams = new.trials, new.streams
        self.feed.begin(self.streams)
        self.optimizer.begin_like(new.optimizer)

    def run(self, first: int, count: int) -> None:
        """Take `count` steps from step `first`, counted from 1."""
        for start in range(first, first + count, STRETCH):
            steps = min(STRETCH, first + count - start)
            if not self.feed.streamed:
                self.order[:steps].copy_(self.batches.indices(start, steps, self.streams))
            self.optimizer.prepare(start, steps)
            self.now.fill_(start - 1)
            self.row.fill_(-1)
            if self.feed.streamed:
                for step in range(start, start + steps):
                    self.feed.write(step)
                    self._take(1)
            else:
                self._take(steps)

    def _take(self, steps: int) -> None:
        """Take the next steps, which have been prepared."""
        if self.replayed is None:
            for _ in range(steps):
                self._step()
        else:
            self.replayed(self._step, self.state(), steps)

    def _step(self) -> None:
        """One step of every trial: the mean loss over its batch, summed over trials, so that nothing crosses them. The
        sum is a forward operation: to check gradients given instead, torch imports sympy, half a second's work."""
        self.now.add_(1)
        self.row.add_(1)
        [index_SB] = self.order.index_select(0, self.row)
        loss_T = self.apply(*self.feed.batch(index_SB, self.now), Mode.TRAIN)[0].mean(1)
        loss_T.sum().backward()
        self.optimizer.step(self.row)
        self._flag(loss_T.detach())

    def apply(self, x_SBI: Tensor, y_SB: Tensor, mode: Mode) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy [T, B], logits [T, B, classes] and labels [T, B]."""
        logits = self.model(x_SBI, Pass(mode, self.now))
        return self._losses(logits, y_SB)

    def _losses(self, logits: Tensor, y_SB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy [T, B] of logits [T, B, classes], these, and labels [T, B]."""
        trials, batch, classes = logits.shape
        shared = trials // len(y_SB)
        labels = y_SB[:, None].expand(-1, shared, -1).reshape(-1)
        losses = cross_entropy(logits.view(-1, classes), labels, reduction="none")
        return losses.view(trials, batch), logits, labels.view(trials, batch)

    def _flag(self, loss_T: Tensor) -> None:
        """Remember, without reading it, which trials' losses have just ceased to be finite."""
        first = ~loss_T.isfinite() & (self.diverged_at == 0)
        self.diverged_at.copy_(torch.where(first, self.now, self.diverged_at))
        self.diverged_loss.copy_(torch.where(first, loss_T, self.diverged_loss))

    def layers(self) -> list[Layer]:
        """Every layer of the network, those within others too, from the input to the output."""
        return [module for module in self.model.modules() if isinstance(module, Layer)]

    def divergences(self) -> list[tuple[int, float]]:
        """By place, the step at which a trial's loss was first not finite, and that loss; step 0 where all is well."""
        return list(zip(self.diverged_at.tolist(), self.diverged_loss.tolist(), strict=True))

    def sheds(self, left: int) -> bool:
        """Whether it pays to go on with `left` trials only: at once where steps are not captured, else when half are
        gone."""
        return left < len(self.trials) if self.replayed is None else 2 * left <= len(self.trials)

    def keep(self, places: list[int]) -> None:
        """Go on with the trials in `places` only."""
        self.feed.stop()
        self.trials = [self.trials[place] for place in places]
        self.streams = cohort.streams([trial.random_seed for trial in self.trials])
        slots = torch.tensor(places, device=self.device)
        self.model.keep(slots, self.streams)
        self.optimizer.keep(slots, self.trials)
        self.diverged_at, self.diverged_loss = self.diverged_at[slots], self.diverged_loss[slots]
        self._shape_steps()

    @torch.no_grad()
    def gather_population(self) -> None:
        """Gather what normalization needs for the final numbers (Algorithm 2), where anything does."""
        if not any(layer.gathers for layer in self.layers()):
            return
        for x_SBI in self.batches.population(self.streams):
            self.model(x_SBI, Pass(Mode.COLLECT, self.now))

    @torch.no_grad()
    def measure(self, examples: Examples, mode: Mode) -> list[tuple[float, float]]:
        """By place, a trial's mean loss and accuracy on the examples; NaN both where the network is."""
        return [(measured.loss, measured.accuracy) for measured in self._measured(examples, mode)]

    @torch.no_grad()
    def score(self, examples: Examples, crops: int = 1, told: list[Tensor] | None = None) -> list[Measured]:
        """By place, a trial's final numbers on the examples, of class probabilities averaged over `crops` crops. These
        are added to `told`, float32 [T, n, classes] of the next n examples each, not on the device."""
        return self._measured(examples, Mode.FINAL, crops, best=True, told=told)

    def _measured(
        self, examples: Examples, mode: Mode, crops: int = 1, best: bool = False, told: list[Tensor] | None = None
    ) -> list[Measured]:
        tally = Tally(len(self.trials), self.device, best)
        for logits, y in self._answers(examples, mode, crops):
            tally.add(*self._losses(logits, y[None]))
            if told is not None:
                told.append(logits.softmax(2).float().cpu())
        return tally.measured()

    def _answers(self, examples: Examples, mode: Mode, crops: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits [T, n, classes] of the next n examples, and their labels [n]. Those of several crops have the
        probabilities that are the crops' on average."""
        for seen, y in examples.crops(chunk(examples.inputs), crops):
            logits = self.model(next(seen)[None], Pass(mode, self.now))
            if crops > 1:
                logits = logits.log_softmax(2)
                for x in seen:
                    logits = logits.logaddexp(self.model(x[None], Pass(mode, self.now)).log_softmax(2))
            yield logits, y

    def weights(self, place: int) -> dict[str, Tensor]:
        """The parameters of the trial in `place` and its statistics of normalization, without the trial axis, under
        their names in the network's `state_dict`; of plain modules, all that they have, under their own names."""
        tensors: dict[str, Tensor] = dict(self.model.named_parameters())
        for path, layer in self.model.named_modules():
            if getattr(layer, "gathers", False):
                tensors |= {f"{path}.{name}": buffer for name, buffer in layer.named_buffers(recurse=False)}
            if isinstance(layer, Alone):
                tensors = {name: one for name, one in tensors.items() if name.rpartition(".")[0] != path}
                tensors |= {f"{path}.{name}": one for name, one in layer.tensors().items()}
        return {name: tensor[place].detach() for name, tensor in tensors.items()}


def _shape(trials: Sequence[TrialConfig]) -> tuple[str, int, int, bool, bool]:
    """What decides of which operations a step consists, and on which shapes."""
    return (
        cohort_key(trials[0], ""),
        len(trials),
        len(cohort.streams([trial.random_seed for trial in trials])),
        any(trial.dropout > 0 for trial in trials),
        any(trial.optimizer.weight_decay > 0 for trial in trials),
    )
