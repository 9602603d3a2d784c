"""The tables of speed in docs/speed.md, made from what is stored in benchmarks/results and from nothing else.

python benchmarks/table.py            # writes them between the markers in docs/speed.md
python benchmarks/table.py --check    # exits 1 where the page says something else
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.pages import ROOT, Part, table

RESULTS = ROOT / "benchmarks" / "results"
PART = Part("docs/speed.md", "performance", "table.py")
LOOPS = ("loader", "eager", "compiled", "captured", "parallel")
HEADINGS = {
    "loader": "DataLoader",
    "eager": "plain loop",
    "compiled": "compiled",
    "captured": "CUDA graph",
    "parallel": "plain loop, {processes} processes",
}
COMMANDS = {
    "bnexp": "`bnexp run`",
    "optuna": "Optuna, GridSampler, SQLite",
    "mlflow": "MLflow, SQLite",
    "csv": "plain loop, CSV files",
}
NEAR = 48
"""Trials: what `bnexp run` takes at most in a cohort on a CPU."""
Record = dict[str, Any]


def render(results: list[Record]) -> str:
    """The tables of every device in `results`, Markdown. Quick records are not shown."""
    shown = [record for record in results if record["benchmark"] == "speed" and not record["quick"]]
    return "\n\n".join(_device(record) for record in shown) or "Nothing has been measured yet."


def _device(record: Record) -> str:
    parts = [_origin(record), _works(record) if record["works"] else "", _data(record)]
    parts += [_commands(record["commands"])] if "commands" in record else []
    parts += [_grid(record["grid"])] if "grid" in record else []
    return "\n\n".join(part for part in parts if part)


def _origin(record: Record) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    commit = (record["commit"] or "unknown")[:10] + ("+" if str(record["commit"]).endswith("+") else "")
    device = record["device_name"] if record["device"] == "cpu" else f"{record['device_name']}, {record['processor']}"
    cores = "core" if record["cores"] == 1 else "cores"
    return (
        f"**{device}, {record['cores']} {cores}** ({record['date']}, commit {commit}, {versions}): "
        "bnexp's trial-steps a second, and how many times those of each loop they are, medians [and ranges] of "
        f"{record['rounds']} interleaved rounds of {record['steps']} steps; bnexp with a process a core (or one on a "
        f"GPU), in cohorts of {_cohort(record)}."
    )


def _cohort(record: Record) -> str:
    return " or ".join(sorted({str(ours["cohort"]) for work in record["works"] if (ours := _shown(work))})) or "no size"


def _works(record: Record) -> str:
    kinds = [kind for kind in LOOPS if any(_arm(work, kind) for work in record["works"])]
    headings = [HEADINGS[kind].format(**(_arm(record["works"][0], kind) or {"processes": ""})) for kind in kinds]
    rows = [["network", "bnexp", *headings, "of the multiply peak", "peak memory"]]
    return table(rows + [_work(work, kinds) for work in record["works"]], "---:")


def _work(work: Record, kinds: list[str]) -> list[str]:
    ours = _shown(work)
    name = f"{work['inputs']} inputs" + (", BN" if work["norm"] == "batch" else "")
    name += f", Dropout {work['dropout']}" if work["dropout"] else ""
    if ours is None:
        return [name, "disagrees", *["–"] * (len(kinds) + 2)]
    times = [_times(work, ours, kind) for kind in kinds]
    share, memory = ours["share_of_multiply_peak"]["median"], ours["peak_memory_bytes"]
    rate = f"{ours['trial_steps_per_second']['median']:,.0f}"
    return [name, rate, *times, f"{share:.0%}", _megabytes(memory)]


def _times(work: Record, ours: Record, kind: str) -> str:
    """How many times faster than a loop of this kind bnexp is."""
    loop = _arm(work, kind)
    if loop is None or loop["status"] != "agrees":
        return "disagrees" if loop and loop["status"] == "disagrees" else "–"
    [found] = [ratio for ratio in work["ratios"] if (ratio["of"], ratio["to"]) == (ours["arm"], loop["arm"])]
    return f"{found['median']:.1f} [{found['min']:.1f}, {found['max']:.1f}]"


def _shown(work: Record) -> Record | None:
    """bnexp with as many processes as it runs, and cohorts as near as was measured to what it takes."""
    fused = [arm for arm in work["arms"] if arm["kind"] == "fused"]
    most = max((arm["processes"] for arm in fused), default=0)
    whole = [arm for arm in fused if arm["processes"] == most]
    ours = min(whole, key=lambda arm: abs(int(arm["cohort"]) - NEAR), default=None)
    return ours if ours and ours["status"] == "agrees" else None


def _arm(work: Record, kind: str) -> Record | None:
    return next((arm for arm in work["arms"] if arm["kind"] == kind), None)


def _megabytes(memory: int | None) -> str:
    return f"{memory / 1e6:,.0f} MB" if memory else "–"


def _data(record: Record) -> str:
    sizes = {work["inputs"]: work["data"] for work in record["works"]}
    return "\n".join(f"{inputs} inputs: {data}." for inputs, data in sizes.items())


def _commands(commands: Record) -> str:
    rows = [["whole command", "processes", "seconds [range]", "times `bnexp run` on all cores"]]
    for each in commands["commands"]:
        took, times = each["seconds"], each["times_bnexp"]
        rows.append(
            [
                COMMANDS[each["tool"]],
                str(each["processes"]),
                f"{took['median']:.1f} [{took['min']:.1f}, {took['max']:.1f}]" if took else each["status"],
                f"{times['median']:.1f} [{times['min']:.1f}, {times['max']:.1f}]" if times else "–",
            ]
        )
    about = f"The same {commands['trials']} trials of {commands['steps']} steps on {commands['dataset']}, start to end:"
    return f"{about}\n\n{table(rows, '---:')}"


def _grid(grid: Record) -> str:
    return (
        f"`bnexp run grid`, all {grid['trials']} trials, took {grid['seconds']:.0f} s, of which "
        f"{grid['share_besides_training']:.1%} of its {grid['workers']} workers' time passed without a cohort, from "
        f"the command's start to its end; run again when all was trained, {grid['seconds_when_all_is_trained']:.1f} s."
    )


def stored() -> list[Record]:
    """Every record of speed."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("speed-*.json"))]


if __name__ == "__main__":
    PART.main(__doc__, lambda: render(stored()))
