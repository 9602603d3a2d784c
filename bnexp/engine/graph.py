"""Steps captured in CUDA graphs: launched as a whole, without Python or a queue of small launches in between."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

STEPS = 8
"""In the longer graph."""

WARM_UP = 3
"""Steps before capture, in which libraries choose and allocate what they need."""


class Replayed:
    """A step on tensors at fixed addresses, captured at its first use and replayed."""

    def __init__(self, step: Callable[[], None], state: Callable[[], Mapping[str, Tensor]]) -> None:
        """`state` gives every tensor that a step may change."""
        self._step, self._state = step, state
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def __call__(self, count: int) -> None:
        """Take `count` steps."""
        if not self._graphs:
            self._capture()
        many, few = divmod(count, STEPS)
        for graph, times in ((self._graphs[STEPS], many), (self._graphs[1], few)):
            for _ in range(times):
                graph.replay()

    def _capture(self) -> None:
        """Warm up on a stream of its own, as capturing demands, put the state back, and capture."""
        state = list(self._state().values())
        before = [tensor.clone() for tensor in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        pool = None
        for count in (1, STEPS):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                for _ in range(count):
                    self._step()
            pool = graph.pool()
            self._graphs[count] = graph
