"""The one training path: a cohort of trials, of which a lone trial is the smallest, trained side by side."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from bnexp.config import TrialConfig
from bnexp.data.batches import CURVE_EXAMPLES, DeviceData
from bnexp.engine import cohort, device, probing
from bnexp.engine.program import Program
from bnexp.models.layers import Mode
from bnexp.records import Final, Outcome, Point, Probe, Progress, Record, Started


class Trainer:
    """Trains one cohort after another on one device. The program of the last one is used again, in place, for a cohort
    of the same shape, because capturing it in a CUDA graph is dear."""

    def __init__(self) -> None:
        self._program: Program | None = None

    def train(self, trials: Sequence[TrialConfig], data: DeviceData) -> Iterator[Record]:
        """Train `trials`, which differ in per-trial fields only, and yield what happens as it happens.

        Each trial ends with one Outcome, the same in any cohort and any slot. Where memory does not hold them all, the
        halves of those that have not ended are trained one after the other; a lone trial that finds no room raises
        what torch did."""
        device.settle()
        yield Started(device.describe(data.train.x.device), torch.get_num_threads(), torch.__version__)
        yield from self._train(list(trials), data, list(range(len(trials))))

    def _train(self, trials: list[TrialConfig], data: DeviceData, slots: list[int]) -> Iterator[Record]:
        """Train those of `trials` that stand in `slots`."""
        left = set(slots)
        try:
            for record in Training(self._fitting([trials[slot] for slot in slots], data)).go():
                if isinstance(record, Outcome):
                    record = replace(record, slot=slots[record.slot])
                    left.remove(record.slot)
                yield record
        except RuntimeError as error:
            self._program = None
            if len(slots) == 1 or not device.is_out_of_memory(error):
                raise
        else:
            return
        torch.cuda.empty_cache()
        unfinished = [slot for slot in slots if slot in left]
        for half in unfinished[::2], unfinished[1::2]:
            if half:
                yield from self._train(trials, data, half)

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

    def __init__(self, program: Program) -> None:
        self.program = program
        self.steps, self.every = program.trials[0].steps, program.trials[0].eval_every
        self.left = dict(enumerate(range(len(program.trials))))
        """Place in the program, to slot, of the trials that have not ended."""
        self.curves: list[list[Point]] = [[] for _ in program.trials]
        self.probes: list[list[Probe]] = [[] for _ in program.trials]

    def go(self) -> Iterator[Progress | Outcome]:
        """Train to the end. Trials that diverged are looked for at evaluation steps and end there; until then they
        compute on, on numbers that nobody reads."""
        self.add_probes(0)
        for before, step in pairwise([0, *cohort.evaluation_steps(self.steps, self.every)]):
            self.program.run(before + 1, step - before)
            yield from self.end_diverged()
            yield Progress(step, len(self.left))
            if not self.left:
                return
            self.add_points(step)
            self.add_probes(step)
        yield from self.finish()

    def end_diverged(self) -> Iterator[Outcome]:
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

    def _diverged(self, slot: int, step: int, loss: float) -> Outcome:
        curve, probes = tuple(self.curves[slot]), tuple(self.probes[slot])
        return Outcome(slot, "diverged", curve, diverged_at_step=step, reason=str(loss), probes=probes)

    def finish(self) -> Iterator[Outcome]:
        """The final numbers of every trial left. One whose last update made its loss non-finite has diverged too."""
        data = self.program.data
        self.program.gather_population()
        numbers = [self.program.measure(examples, Mode.FINAL) for examples in (data.train, data.validation, data.test)]
        for place, slot in self.left.items():
            final = Final(*(number for measured in numbers for number in measured[place]))
            if math.isfinite(final.train_loss):
                yield Outcome(slot, "finished", tuple(self.curves[slot]), final, probes=tuple(self.probes[slot]))
            else:
                yield self._diverged(slot, self.steps, final.train_loss)
