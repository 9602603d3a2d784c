"""The device that trials train on, and the settings under which results are comparable."""

import ctypes
import os
import platform
from contextlib import suppress

import torch

from bnexp.errors import UsageError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Options of glibc's mallopt."""

KEPT_BYTES = 2**30

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
"""What errors say, beside torch.OutOfMemoryError."""

# Else MKL's products are rounded by where in memory their operands lie. It reads this at its first call.
os.environ.setdefault("MKL_CBWR", "AUTO")


def choose(name: str, worker: int = 0) -> torch.device | None:
    """The device of worker number `worker`: "auto" takes CUDA where it is, else the CPU. Each GPU serves one worker,
    the CPU any number; None where there is none left. Raises UsageError where there is no such device at all."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        return torch.device("cuda", worker) if worker < torch.cuda.device_count() else None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: not available here ({str(error).splitlines()[0]})") from error
    return device


def describe(device: torch.device) -> str:
    """A name for people and provenance."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether this is one of the ways in which a device says that its memory has ended."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def settle() -> None:
    """One thread, so that no sum depends on their number; denormals flushed, in every arm alike, since saturated units
    make them and they are slow; no TF32, and no convolution whose sums depend on what else the GPU does."""
    torch.set_num_threads(1)
    _keep_memory()
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def _keep_memory() -> None:
    """Let glibc keep what is freed, where there is glibc: every step frees and takes the same memory, and giving it
    back to the system in between costs a fifth of the step."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in ((M_TRIM_THRESHOLD, KEPT_BYTES), (M_MMAP_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, 2**26)):
            mallopt(option, size)
