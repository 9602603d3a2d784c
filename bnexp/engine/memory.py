"""How many trials of a shape the device's memory holds at once."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bnexp.engine.evaluation import chunk
from bnexp.engine.program import Program
from bnexp.models.alone import Alone
from bnexp.models.layers import Layer, Mode

SHARE = 0.5
"""Of what is free. The rest is for what libraries and the data take, and for what an estimate misses."""

COPIES = 4
"""Tensors as large as an activation in a step: itself, what is saved for the backward pass, its gradient, and a
temporary one."""


def room(program: Program) -> int:
    """How many trials like the first of `program` there is room for, at least one: by the activations of a training
    step, or of the largest layer in an evaluation, whichever is more, and the parameters, with their gradients, what
    the optimizer remembers, and a copy for what a product of another type needs."""
    layers = _activations(program)
    evaluated = chunk(program.batches.examples.inputs)
    activations = max(sum(layers) * program.batches.size, max(layers) * evaluated) * COPIES
    optimizer = program.optimizer
    copies = 3 + len(optimizer.memories)
    parameters = sum(p.numel() * p.element_size() for p in optimizer.parameters) * copies
    per_trial = (activations + parameters) / len(program.trials)
    return max(1, int(_free(program.device) * SHARE / per_trial))


@torch.no_grad()
def _activations(program: Program) -> list[float]:
    """Bytes that each layer puts out for one example, and each part of a plain module."""
    found = []

    def count(layer: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            found.append(output.numel() * output.element_size() / program.batches.size)

    layers = program.layers()
    leaves: list[nn.Module] = [one for one in layers if sum(isinstance(part, Layer) for part in one.modules()) == 1]
    leaves += [part for layer in layers if isinstance(layer, Alone) for part in layer.leaves()]
    hooks = [layer.register_forward_hook(count) for layer in leaves]
    try:
        index_SB = torch.arange(program.batches.size, device=program.batches.examples.indexed_on)[None]
        program.apply(*program.batches.take(index_SB), Mode.PROBE)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _free(device: torch.device) -> int:
    """Bytes for this process: all that is free of a GPU, an equal part of what is available to the cores of a CPU."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    available = _available()
    return available // (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _available() -> int:
    """Bytes that programs may still take, as Linux tells; elsewhere a cautious guess."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        [kibibytes] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        return int(kibibytes) * 1024
    except (OSError, ValueError):
        return 4 << 30
