"""The machine that figures belong to: what it is, what runs on it, and how fast it multiplies and copies at best."""

import importlib.metadata
import json
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bnexp.executors.local import cores
from bnexp.provenance import this_worker

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
CPU_INFO = Path("/proc/cpuinfo")
LIBRARIES = ("torch", "numpy", "optuna", "mlflow-skinny", "mlflow")
MULTIPLY_SIZE = 2048
COPY_BYTES = 1 << 30
REPEATS = 3


def processor() -> str:
    """The processor's model name."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of bnexp, Python and the libraries that are installed."""
    found = {"bnexp": this_worker().bnexp_version, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"sqlite": sqlite3.sqlite_version}


def describe(device: torch.device = CPU) -> dict[str, Any]:
    """What every stored record says of its origin. `load_before` is the machine's load average as the run began: above
    0 or so, somebody else was computing too."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "device": device.type,
        "device_name": name,
        "processor": processor(),
        "cores": cores(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "commit": this_worker().git_commit,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Store a record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def slug(device: torch.device) -> str:
    """A device's name for files: cpu, or the GPU's."""
    if device.type != "cuda":
        return device.type
    return "".join(c if c.isalnum() else "-" for c in torch.cuda.get_device_name(device).lower())


def multiply_peak(device: torch.device) -> float:
    """Floating-point operations a second of a large float32 multiplication, with every core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(cores())
    a, b = (torch.rand(MULTIPLY_SIZE, MULTIPLY_SIZE, device=device) for _ in range(2))
    out = torch.empty_like(a)
    seconds = _fastest(lambda: torch.mm(a, b, out=out), device)
    torch.set_num_threads(threads)
    return 2 * MULTIPLY_SIZE**3 / seconds


def copy_peak(device: torch.device) -> float | None:
    """Bytes a second that a large copy on a GPU reads and writes; None elsewhere."""
    if device.type != "cuda":
        return None
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / _fastest(lambda: target.copy_(source), device)


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of a few runs."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])
