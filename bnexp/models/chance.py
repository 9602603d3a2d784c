"""What a network draws at random while it trains. Shape suffixes as in `layers`: T trials, S streams, B batch,
C units."""

from torch import Tensor

from bnexp import random
from bnexp.models.layers import Cohort, Layer, Mode, Pass


class Draws(Layer):
    """Uniform numbers that belong to (role, seed, layer, step) and an index, so that the trials of one seed share them
    and no trial's depend on its company."""

    keys: Tensor
    by_stream = ("keys",)

    def __init__(self, cohort: Cohort, role: str, name: str) -> None:
        super().__init__()
        self.role, self.name = role, name
        self.register_buffer("keys", random.keys(role, cohort.streams, name, device=cohort.device))
        self._counters = random.counters(0)

    def keep(self, slots: Tensor, streams: list[int]) -> None:
        super().keep(slots, streams)
        self.keys = random.keys(self.role, streams, self.name, device=self.keys.device)

    def uniform(self, count: int, now: Pass, like: Tensor) -> Tensor:
        """The step's first `count` numbers of each stream, in [0, 1), of the type of `like`: [S, count]."""
        if len(self._counters) != count:
            self._counters = random.counters(count, like.device)
        return random.uniform(random.step_keys(self.keys, now.step), self._counters, like.dtype)


class Dropout(Layer):
    """In training, zero each unit with its trial's probability p and divide the others by 1 - p.

    The uniforms belong to (seed, layer, step, example, unit): trials of one seed drop nested sets of units whatever
    their p, and p = 0 multiplies by exactly 1. The mask is arithmetic on floats because comparisons to booleans and
    `where` are several times slower on a CPU."""

    drop: Tensor
    keep_scale: Tensor

    def __init__(self, cohort: Cohort, name: str) -> None:
        super().__init__()
        drop = cohort.dropout[:, None, None]
        # A copy of its own, for float64 too: a file of tensors takes none that share their memory.
        self.register_buffer("drop", drop.to(cohort.device, cohort.dtype, copy=True))
        self.register_buffer("keep_scale", (1 / (1 - drop)).to(cohort.device, cohort.dtype))
        self.active = bool((cohort.dropout > 0).any())
        self.draws = Draws(cohort, "dropout", name)

    def forward(self, x_TBC: Tensor, now: Pass) -> Tensor:
        if now.mode is not Mode.TRAIN or not self.active:
            return x_TBC
        trials, batch, units = x_TBC.shape
        uniform = self.draws.uniform(batch * units, now, x_TBC)
        streams = len(uniform)
        by_stream = (streams, trials // streams, batch, units)
        mask = uniform.view(streams, 1, batch, units) - self.drop.view(streams, -1, 1, 1)
        mask = mask.ge_(0).mul_(self.keep_scale.view(streams, -1, 1, 1))
        return (x_TBC.reshape(by_stream) * mask).view(trials, batch, units)
