"""The table of docs/reliability.md, made from what benchmarks/faults.py stored and from nothing else.

python benchmarks/faults_table.py            # writes it between the markers
python benchmarks/faults_table.py --check    # exits 1 where the page says something else
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.pages import ROOT, Part, table

STORED = ROOT / "benchmarks" / "results" / "faults.json"
PART = Part("docs/reliability.md", "faults", "faults_table.py")
Record = dict[str, Any]


def render(record: Record) -> str:
    """What was done, how often, and what was lost, as Markdown."""
    rows = [
        ["what was done", "rounds", "faults", "cells", "with one result", "bitwise equal", "resumed", "without end"]
    ]
    everything: list[Record] = []
    for kind, rounds in record["kinds"].items():
        rows.append(_row(kind, rounds, record["cells"]))
        everything += rounds
    rows.append(_row("**all**", everything, record["cells"]))
    killed = sum(len(rounds) for kind, rounds in record["kinds"].items() if kind.startswith("SIGKILL"))
    complaints = sum(bool(one["complaints"]) for one in everything)
    said = f"**In {complaints} rounds a run complained or hung.**" if complaints else "No run complained or hung."
    commit = (record["commit"] or "unknown")[:10] + ("+" if str(record["commit"]).endswith("+") else "")
    return "\n\n".join(
        [
            table(rows, "---:"),
            f"{said} Each round trains {record['cells']} cells, {record['undisturbed_seconds']:.0f} s where nobody "
            f"disturbs it. {record['device_name']}, {record['cores']} cores, {record['date']}, commit {commit}, "
            f"Python {record['versions']['python']}, torch {record['versions']['torch']}, SQLite "
            f"{record['versions']['sqlite']}; `python benchmarks/faults.py --rounds {killed}`.",
        ]
    )


def _row(kind: str, rounds: list[Record], cells: int) -> list[str]:
    sums = [sum(one[name] for one in rounds) for name in ("faults", "cells", "equal", "resumed", "zombies")]
    faults, single, equal, resumed, zombies = (f"{number:,}" for number in sums)
    return [kind, str(len(rounds)), faults, f"{cells * len(rounds):,}", single, equal, resumed, zombies]


if __name__ == "__main__":
    PART.main(__doc__, lambda: render(json.loads(STORED.read_text())))
