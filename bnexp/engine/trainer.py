"""The one training path: a cohort of trials, of which a lone trial is the smallest, trained side by side."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch

from bnexp.config import TrialConfig
from bnexp.data.batches import CURVE_EXAMPLES, FINAL_EXAMPLES, DeviceData
from bnexp.engine import cohort, device, memory, probing
from bnexp.engine.checkpoints import Keeper, Snapshot
from bnexp.engine.keeping import Shelf
from bnexp.engine.optim import STRETCH
from bnexp.engine.program import Program
from bnexp.models.layers import Mode
from bnexp.records import Checkpoint, Final, Outcome, Point, Probe, Progress, Record, Resumed, Started


class Trainer:
    """Trains one cohort after another on one device. The program of the last one is used again, in place, for a cohort
    of the same shape, because capturing it in a CUDA graph is dear."""

    def __init__(self) -> None:
        self._program: Program | None = None

    def train(
        self, trials: Sequence[TrialConfig], data: DeviceData, checkpoint: Checkpoint | None = None
    ) -> Iterator[Record]:
        """Train `trials`, which differ in per-trial fields only, and yield what happens as it happens.

        Each trial ends with one Outcome, the same in any cohort and any slot. With `checkpoint`, training is kept there
        now and then, and goes on from what is there. Where memory does not seem to hold all trials, parts of them are
        trained one after the other, and where it ends all the same, the halves of those that have not ended; a lone
        trial that finds no room raises what torch did."""
        device.settle()
        name = device.describe(data.device)
        yield Started(name, torch.get_num_threads(), str(torch.__version__))  # as text, that needs no torch to be read
        keeper = Keeper(checkpoint, name)
        snapshot, notes = keeper.load()
        yield from notes
        kept = set(snapshot.keys) if snapshot is not None else set()
        begun = [slot for slot in range(len(trials)) if keeper.key(slot) in kept]
        fresh = [slot for slot in range(len(trials)) if keeper.key(slot) not in kept]
        for slots, before in ((begun, snapshot), (fresh, None)):
            for part in self._parts([trials[slot] for slot in slots], data):
                yield from self._train(list(trials), data, keeper, [slots[place] for place in part], before)

    def _train(
        self,
        trials: list[TrialConfig],
        data: DeviceData,
        keeper: Keeper,
        slots: list[int],
        snapshot: Snapshot | None = None,
    ) -> Iterator[Record]:
        """Train those of `trials` that stand in `slots`, on from `snapshot` where there is one."""
        left = set(slots)
        try:
            training = Training(self._fitting([trials[slot] for slot in slots], data), keeper, slots)
            for record in training.go(snapshot):
                if isinstance(record, Outcome):
                    left.remove(record.slot)
                yield record
        except RuntimeError as error:
            self._program = None
            if len(slots) == 1 or not device.is_out_of_memory(error):
                raise
        else:
            return
        finally:
            if self._program is not None:
                self._program.feed.stop()
        torch.cuda.empty_cache()
        unfinished = [slot for slot in slots if slot in left]
        for half in unfinished[::2], unfinished[1::2]:
            if half:
                yield from self._train(trials, data, keeper, half)

    def _parts(self, trials: list[TrialConfig], data: DeviceData) -> list[list[int]]:
        """The places of these trials, in parts that the device has room for."""
        places = list(range(len(trials)))
        if len(trials) < 2 or (self._program is not None and self._program.fits(trials, data)):
            return [places] if places else []
        self._program = None
        torch.cuda.empty_cache()  # what the last program had is free again
        return cohort.even_parts(places, memory.room(Program(trials[:1], data)))

    def _fitting(self, trials: list[TrialConfig], data: DeviceData) -> Program:
        """A program for these trials: the last one where it fits."""
        if self._program is not None and self._program.fits(trials, data):
            self._program.restart(trials)
        else:
            self._program = None  # its memory goes before the next one's comes
            self._program = Program(trials, data)
        return self._program


def train_cohort(trials: Sequence[TrialConfig], data: DeviceData) -> Iterator[Record]:
    """As `Trainer.train`, once."""
    return Trainer().train(trials, data)


class Training:
    """One cohort's way through its program: who is left, their curves and what was probed."""

    def __init__(self, program: Program, keeper: Keeper, slots: Sequence[int]) -> None:
        """`slots` are those of the program's trials."""
        self.program, self.keeper = program, keeper
        self.steps, self.every = program.trials[0].steps, program.trials[0].eval_every
        self.step = 0
        """Steps taken."""
        self.resumed_at: int | None = None
        self.left = dict(enumerate(slots))
        """Place in the program, to slot, of the trials that have not ended."""
        self.curves: dict[int, list[Point]] = {slot: [] for slot in slots}
        self.probes: dict[int, list[Probe]] = {slot: [] for slot in slots}

    def go(self, snapshot: Snapshot | None = None) -> Iterator[Record]:
        """Train to the end, on from `snapshot` where there is one. Trials that diverged are looked for at evaluation
        steps and end there; until then they compute on, on numbers that nobody reads."""
        if snapshot is None:
            self.add_probes(0)
        else:
            self.put_back(snapshot)
            yield Resumed(self.step, len(self.left))
        for step in cohort.evaluation_steps(self.steps, self.every):
            if step <= self.step:
                continue
            before = self.step
            while self.step < step:
                yield from self.keep()
                stretch = min(STRETCH, step - self.step)
                self.program.run(self.step + 1, stretch)
                self.step += stretch
            yield from self.end_diverged()
            yield Progress(step, len(self.left), (step - before) * len(self.left))
            if not self.left:
                return
            self.add_points(step)
            self.add_probes(step)
        yield from self.keep()
        yield from self.finish()

    def keep(self) -> Iterator[Record]:
        """Keep how far the trials have come, if there is a place and it is time to."""
        if self.keeper.checkpoint is None or self.step == self.resumed_at:
            return
        kept = self.program.kept()
        if not self.keeper.due(sum(tensor.nbytes for tensor in kept.values())):
            return
        if len(self.left) < len(self.program.trials):
            places = torch.tensor(list(self.left), device=self.program.device)
            kept = {name: tensor[places] for name, tensor in kept.items()}
        slots = self.left.values()
        snapshot = Snapshot(
            step=self.step,
            keys=[self.keeper.key(slot) for slot in slots],
            tensors=kept,
            curves=[self.curves[slot] for slot in slots],
            probes=[self.probes[slot] for slot in slots],
        )
        yield from self.keeper.save(snapshot)

    def put_back(self, snapshot: Snapshot) -> None:
        """Go on from where `snapshot` was kept; it may hold other trials too."""
        places = {key: place for place, key in enumerate(snapshot.keys)}
        of = [places[self.keeper.key(slot)] for slot in self.left.values()]
        self.program.put_back({name: tensor[of] for name, tensor in snapshot.tensors.items()}, snapshot.step)
        self.step = self.resumed_at = snapshot.step
        for slot, place in zip(self.left.values(), of, strict=True):
            self.curves[slot], self.probes[slot] = snapshot.curves[place], snapshot.probes[place]

    def end_diverged(self) -> Iterator[Record]:
        """End the trials that have diverged. The program lets go of them where that pays."""
        for place, (step, loss) in enumerate(self.program.divergences()):
            if step and place in self.left:
                slot = self.left.pop(place)
                yield self._diverged(slot, step, loss)
        if self.left and self.program.sheds(len(self.left)):
            self.program.keep(list(self.left))
            self.left = dict(enumerate(self.left.values()))

    def add_points(self, step: int) -> None:
        """A point on every curve."""
        data = self.program.data
        train = self.program.measure(data.train.first(CURVE_EXAMPLES), Mode.CURVE)
        validation = self.program.measure(data.validation.first(CURVE_EXAMPLES), Mode.CURVE)
        for place, slot in self.left.items():
            self.curves[slot].append(Point(step, *train[place], *validation[place]))

    def add_probes(self, step: int) -> None:
        """What the trials ask to have measured, before the first step (0) or after `step`."""
        if not self.program.trials[0].probes:
            return
        found = probing.sample(self.program, step)
        for place, slot in self.left.items():
            self.probes[slot] += found[place]

    def finish(self) -> Iterator[Outcome]:
        """The final numbers of every trial left. One whose last update made its loss non-finite has diverged too."""
        data, crops = self.program.data, self.program.trials[0].crops
        self.program.gather_population()
        training = self.program.measure(data.train.first(FINAL_EXAMPLES), Mode.FINAL)
        shelf = Shelf(self.program, self.keeper.checkpoint)
        validation = self.program.score(data.validation, 1, shelf.told("validation"))
        test = self.program.score(data.test, crops, shelf.told("test"))
        for place, slot in self.left.items():
            numbers = *training[place], *validation[place][:2], *test[place][:2]
            final = Final(*numbers, validation[place].top5_accuracy, test[place].top5_accuracy)
            if math.isfinite(final.train_loss):
                yield self._outcome(slot, "finished", final=final, kept=shelf.keep(place, slot))
            else:
                yield self._diverged(slot, self.steps, final.train_loss)

    def _diverged(self, slot: int, step: int, loss: float) -> Outcome:
        return self._outcome(slot, "diverged", diverged_at_step=step, reason=str(loss))

    def _outcome(self, slot: int, status: Literal["finished", "diverged"], **numbers: Any) -> Outcome:
        curve, probes = tuple(self.curves[slot]), tuple(self.probes[slot])
        return Outcome(slot, status, curve, probes=probes, resumed_at_step=self.resumed_at, **numbers)
