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
    loops = list(record["all"])
    wrong = disagreeing(record["normalizers"])
    rows = [["normalizer", "bnexp, s", *(f"{loop} loop" if loop == "plain" else loop for loop in loops)]]
    rows += [_row(one, loops, one["norm"] in wrong) for one in record["normalizers"]]
    rows.append(["**all**", "", *(f"**{shown(record['all'][loop])}**" for loop in loops)])
    return f"{table(rows, '---:')}\n\n{_conditions(record)}"


def _row(one: Record, loops: list[str], wrong: bool) -> list[str]:
    if wrong:
        return [one["norm"], "–", *["disagrees"] * len(loops)]
    return [
        one["norm"],
        f"{summary(one['seconds']['fused'])['median']:.2f}",
        *(shown(one["times"][loop]) for loop in loops),
    ]


def _conditions(record: Record) -> str:
    commit = (record["commit"] or "unknown")[:10] + ("+" if str(record["commit"]).endswith("+") else "")
    trials = sum(record["normalizers"][0]["trials"].values())
    own = ", ".join(f"{times} of {norm}" for norm, times in OWN_AIMS.items())
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in ("python", "torch"))
    return (
        f"bnexp's seconds of a round, in which {trials} trials of a normalizer take {record['steps']} training steps "
        f"each, and how many times as long a plain loop took, in one process and in {record['processes']}: medians "
        f"[and ranges] of {record['rounds']} rounds in turn. The aim was {AIM} times the plain loop, {own}"
        f"{_missed(record)}. "
        f"{record['device_name']}, {record['cores']} cores, load {record['load_before']} before it began; "
        f"{record['date']}, commit {commit}, {versions}; `python benchmarks/battery.py`."
    )


def _missed(record: Record) -> str:
    """The normalizers whose median stayed below the aim."""
    slow = [
        one["norm"] for one in record["normalizers"] if one["times"]["plain"]["median"] < OWN_AIMS.get(one["norm"], AIM)
    ]
    return f"; not met by {', '.join(slow)}" if slow else ""


def stored() -> Record | None:
    """What was measured last; None where nothing was."""
    found: Record | None = json.loads(STORED.read_text()) if STORED.is_file() else None
    return found


if __name__ == "__main__":
    PART.main(__doc__, lambda: render(stored()))
