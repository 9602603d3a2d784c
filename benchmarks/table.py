"""README's tables of speed, made from what is stored in benchmarks/results and from nothing else.

python benchmarks/table.py            # writes them between the markers in README.md
python benchmarks/table.py --check    # exits 1 where README says something else
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- performance: begin -->", "<!-- performance: end -->"
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
        f"trial-steps a second, medians of {record['rounds']} interleaved rounds of {record['steps']} steps; "
        "bnexp with a process a core (or one on a GPU), at the cohort size that was fastest."
    )


def _works(record: Record) -> str:
    kinds = [kind for kind in LOOPS if any(_arm(work, kind) for work in record["works"])]
    headings = [HEADINGS[kind].format(**(_arm(record["works"][0], kind) or {"processes": ""})) for kind in kinds]
    last = kinds[-1] if kinds else None
    compared = [f"times the {headings[-1]} [range]"] if last else []
    rows = [["network", *headings, "bnexp", "trials in a cohort", *compared, "of the multiply peak", "peak memory"]]
    rows += [_work(work, kinds, last) for work in record["works"]]
    return _table(rows)


def _work(work: Record, kinds: list[str], last: str | None) -> list[str]:
    best = _fastest(work)
    name = f"{work['inputs']} inputs" + (", BN" if work["norm"] == "batch" else "")
    name += f", Dropout {work['dropout']}" if work["dropout"] else ""
    row = [name, *(_rate(_arm(work, kind)) for kind in kinds), _rate(best)]
    if best is None:
        return [*row, *["–"] * (4 if last else 3)]
    found = [ratio for ratio in work["ratios"] if (ratio["of"], ratio["to"]) == (best["arm"], last)]
    compared = [f"{found[0]['median']:.1f} [{found[0]['min']:.1f}, {found[0]['max']:.1f}]" if found else "–"]
    share, memory = best["share_of_multiply_peak"]["median"], best["peak_memory_bytes"]
    return [*row, str(best["cohort"]), *(compared if last else []), f"{share:.0%}", _megabytes(memory)]


def _fastest(work: Record) -> Record | None:
    """bnexp's fastest cohort size, with as many processes as bnexp runs."""
    fused = [arm for arm in work["arms"] if arm["kind"] == "fused" and arm["status"] == "agrees"]
    most = max((arm["processes"] for arm in fused), default=0)
    whole = [arm for arm in fused if arm["processes"] == most]
    return max(whole, key=lambda arm: float(arm["trial_steps_per_second"]["median"]), default=None)


def _arm(work: Record, kind: str) -> Record | None:
    return next((arm for arm in work["arms"] if arm["kind"] == kind), None)


def _rate(arm: Record | None) -> str:
    if arm is None or arm["status"] == "not measured":
        return "–"
    if arm["status"] == "disagrees":
        return "disagrees"
    return f"{arm['trial_steps_per_second']['median']:,.0f}"


def _megabytes(memory: int | None) -> str:
    return f"{memory / 1e6:,.0f} MB" if memory else "–"


def _data(record: Record) -> str:
    sizes = {work["inputs"]: work["data"] for work in record["works"]}
    return "\n".join(f"{inputs} inputs: {data}." for inputs, data in sizes.items())


def _commands(commands: Record) -> str:
    rows = [["whole command", "processes", "seconds [range]", "times `bnexp run`"]]
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
    return f"{about}\n\n{_table(rows)}"


def _grid(grid: Record) -> str:
    return (
        f"`bnexp run grid`, all {grid['trials']} trials, took {grid['seconds']:.0f} s, of which "
        f"{grid['share_besides_training']:.0%} of its {grid['workers']} workers' time went into anything but training "
        f"and evaluation; run again when all was trained, {grid['seconds_when_all_is_trained']:.1f} s."
    )


def _table(rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def replaced(readme: str, text: str) -> str:
    """`readme` with `text` between the markers. Raises ValueError where they are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    options = parser.parse_args()
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("speed-*.json"))]
    old = options.readme.read_text()
    try:
        new = replaced(old, render(results))
    except ValueError as error:
        sys.exit(str(error))
    if options.check and new != old:
        sys.exit("README.md does not say what benchmarks/results does: run python benchmarks/table.py")
    if not options.check:
        options.readme.write_text(new)


if __name__ == "__main__":
    main()
