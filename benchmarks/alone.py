"""What a normalizer costs that is a plain torch module, trained trial by trial: steps of cohorts on digits with the
page's own example, with a trial axis and without, in turn.

    python benchmarks/alone.py          # a minute; stores what it found
    python benchmarks/alone.py --check  # exits 1 where docs/howto/normalizer.md says something else
"""

import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from benchmarks.machine import ROOT, describe, write
from benchmarks.pages import Part
from bnexp.config import TrialConfig
from bnexp.data.batches import to_device
from bnexp.data.dataset import source
from bnexp.engine.program import Program

STORED = ROOT / "benchmarks" / "results" / "alone.json"
PART = Part("docs/howto/normalizer.md", "alone", "alone.py")
COHORTS, ROUNDS, STEPS = (1, 8, 48), 9, 64
PLAIN = """

class Plain(nn.Module):
    def __init__(self, units: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps, self.gamma, self.beta = eps, nn.Parameter(torch.ones(units)), nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x / (x.abs().mean(1, keepdim=True) + self.eps) + self.beta
"""
"""The same for one trial."""


def measure() -> dict[str, dict[str, list[float]]]:
    """By cohort and class, seconds of STEPS steps in each round."""
    torch.set_num_threads(1)
    [layer, *_] = re.findall(r"```python\n(.*?)```", PART.path.read_text(), re.DOTALL)
    data = to_device(source("digits").read(), 0, torch.float32, torch.device("cpu"))
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "of_the_page.py").write_text(layer + PLAIN)
        sys.path.insert(0, folder)
        for trials in COHORTS:
            programs = {}
            for name in ("MeanAbs", "Plain"):
                config = TrialConfig.model_validate({"norm": f"of_the_page:{name}", "steps": 100_000}).with_sources()
                numbered = [config.model_copy(update={"seed": seed}) for seed in range(trials)]
                programs[name] = Program(numbered, data)
                programs[name].run(1, STEPS)
            seconds: dict[str, list[float]] = {name: [] for name in programs}
            for turn in range(1, ROUNDS + 1):
                for name, program in programs.items():
                    began = time.perf_counter()
                    program.run(1 + turn * STEPS, STEPS)
                    seconds[name].append(time.perf_counter() - began)
            found[str(trials)] = seconds
    return found


def render() -> str:
    """The sentence of the page."""
    record = json.loads(STORED.read_text())
    ratios = {
        trials: statistics.median(p / f for p, f in zip(seconds["Plain"], seconds["MeanAbs"], strict=True))
        for trials, seconds in record["cohorts"].items()
    }
    told = ", ".join(f"{ratio:.1f} with {trials}" for trials, ratio in ratios.items())
    return (
        f"a step of the example above, written for one trial, took so many times as long in cohorts of so many trials: "
        f"{told} (digits, three layers of 100, one thread, {ROUNDS} rounds in turn; `python benchmarks/alone.py`)."
    )


if __name__ == "__main__":
    if not set(sys.argv) & {"--check"}:
        write(STORED, describe() | {"cohorts": measure()})
    PART.main(__doc__, render)
