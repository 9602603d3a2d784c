"""Steps captured in CUDA graphs: launched as a whole, without Python or a queue of small launches in between."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

STEPS = 8
"""In the longer graph."""

WARM_UP = 3
"""Steps before capture, in which libraries choose and allocate what they need."""


class Replayed:
    """A step on tensors at fixed addresses, captured at its first use and replayed. It keeps nothing but the graphs, so
    that whoever owns it is freed, and the memory with it, as soon as nobody wants it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def __call__(self, step: Callable[[], None], state: Mapping[str, Tensor], count: int) -> None:
        """Take `count` steps; `state` is every tensor that a step may change. Both are the same at every call."""
        with torch.cuda.device(self._device):  # streams belong to the current device
            if not self._graphs:
                self._capture(step, list(state.values()))
            many, few = divmod(count, STEPS)
            for graph, times in ((self._graphs[STEPS], many), (self._graphs[1], few)):
                for _ in range(times):
                    graph.replay()

    def _capture(self, step: Callable[[], None], state: list[Tensor]) -> None:
        """Warm up on a stream of its own, as capturing demands, put the state back, and capture."""
        before = [tensor.clone() for tensor in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        pool = None
        for count in (1, STEPS):
            graph = torch.cuda.CUDAGraph()
            # Threads that read pictures ahead may take memory meanwhile.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                for _ in range(count):
                    step()
            pool = graph.pool()
            self._graphs[count] = graph
