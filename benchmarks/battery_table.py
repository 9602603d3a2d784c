"""The table of docs/battery.md, made from what benchmarks/battery.py stored and from nothing else.

python benchmarks/battery_table.py            # writes it between the markers
python benchmarks/battery_table.py --check    # exits 1 where the page says something else
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.battery import STORED, disagreeing, shown
from benchmarks.pages import Part, table
from benchmarks.rounds import summary

PART = Part("docs/battery.md", "battery-speed", "battery_table.py")
AIM = 5
"""Times the plain loop, in all."""
OWN_AIMS = {"weight-standardization": 4}

Record = dict[str, Any]


def render(record: Record | None) -> str:
    """What was measured, as Markdown."""
    if record is None:
        return "Nothing has been measured yet."
    arms = list(record["normalizers"][0]["seconds"])
    heads = ["normalizer", *("bnexp, s" if arm == "fused" else f"{arm}, s" for arm in arms), "times bnexp"]
    wrong = disagreeing(record["normalizers"])
    rows = [heads, *(_row(one, arms, one["norm"] in wrong) for one in record["normalizers"])]
    rows.append(["**all**", *[""] * len(arms), f"**{shown(record['all'])}**"])
    return f"{table(rows, '---:')}\n\n{_conditions(record)}"


def _row(one: Record, arms: list[str], wrong: bool) -> list[str]:
    if wrong:
        return [one["norm"], *["–"] * len(arms), "disagrees"]
    return [one["norm"], *(f"{summary(one['seconds'][arm])['median']:.2f}" for arm in arms), shown(one["times"])]


def _conditions(record: Record) -> str:
    commit = (record["commit"] or "unknown")[:10] + ("+" if str(record["commit"]).endswith("+") else "")
    trials = sum(record["normalizers"][0]["trials"].values())
    own = ", ".join(f"{times} of {norm}" for norm, times in OWN_AIMS.items())
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in ("python", "torch"))
    return (
        f"Seconds of a round, in which {trials} trials of a normalizer take {record['steps']} training steps each, and "
        f"the faster plain loop's over bnexp's, medians [and ranges] of {record['rounds']} rounds in turn. The aim was "
        f"{AIM} times in all, {own}. {record['device_name']}, {record['cores']} cores, load {record['load_before']} "
        f"before it began; {record['date']}, commit {commit}, {versions}; `python benchmarks/battery.py`."
    )


def stored() -> Record | None:
    """What was measured last; None where nothing was."""
    found: Record | None = json.loads(STORED.read_text()) if STORED.is_file() else None
    return found


if __name__ == "__main__":
    PART.main(__doc__, lambda: render(stored()))
