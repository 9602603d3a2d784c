"""The tables of docs/judging.md, made from what benchmarks/judge.py stored and from nothing else.

python benchmarks/judge_table.py            # writes them between the markers
python benchmarks/judge_table.py --check    # exits 1 where the page says something else
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.judge import OUTPUT
from benchmarks.pages import Part, table

PART = Part("docs/judging.md", "simulation", "judge_table.py")
Record = dict[str, Any]


def render(record: Record) -> str:
    """The tables and what they say, as Markdown."""
    normal = next(one for one in record["power"] if one["noise"] == "normal")
    parts = [
        _errors([one for one in record["errors"] if one["promised"]]),
        "Not promised, and so not to be hidden:",
        _errors([one for one in record["errors"] if not one["promised"]]),
        "Intervals (95%), all that so many seeds have said:",
        _intervals(record["intervals"]),
        _sentence(normal),
        _power(normal),
        f"Simulated on {record['date']} by `python benchmarks/judge.py`, bnexp {record['versions']['bnexp']}; the "
        "record is `benchmarks/results/judge.json`.",
    ]
    return "\n\n".join(parts)


def _errors(found: list[Record]) -> str:
    rows = [["truth at the limit", "claims together", "tables", "false claims", "tables with one", "covered at 10"]]
    for one in found:
        error = math.sqrt(one["false_tables"] * (1 - one["false_tables"]) / one["tables"])
        rows.append(
            [
                one["world"],
                str(one["claims"]),
                f"{one['tables']:,}",
                f"{one['false_claims']:.1%}",
                f"{one['false_tables']:.1%} ± {error:.1%}",
                f"{one['coverage_at_first_look']:.1%}",
            ]
        )
    return table(rows)


def _intervals(found: list[Record]) -> str:
    seeds = sorted({one["seeds"] for one in found})
    rows = [["differences", *(f"{n} seeds: covered" for n in seeds), *(f"{n}: half-width in sd" for n in seeds)]]
    for noise in dict.fromkeys(one["noise"] for one in found):
        own = {one["seeds"]: one for one in found if one["noise"] == noise}
        name = noise if own[seeds[0]]["symmetric"] else f"{noise} (not promised)"
        covered = [f"{own[n]['coverage']:.1%}" for n in seeds]
        rows.append([name, *covered, *(f"{own[n]['half_width']:.2f}" for n in seeds)])
    return table(rows)


def _sentence(power: Record) -> str:
    at = power["distances"].index(1.5)
    alone, six, twelve = (power["by_family"][family][at][0] for family in ("1", "6", "12"))
    return (
        f"At n = 10 an effect of 1.5 standard deviations beyond the limit is found in {alone:.0%} of tables where its "
        f"claim is judged alone, in {six:.0%} among six claims and in {twelve:.0%} among twelve of which it is the "
        "only one with an effect. Found by the looks at 10 / 20 / 40 seeds, by the distance beyond the limit:"
    )


def _power(power: Record) -> str:
    rows = [["distance in sd", *(f"{family} judged together" for family in power["by_family"])]]
    for at, distance in enumerate(power["distances"]):
        cells = [" / ".join(f"{share:.0%}" for share in found[at]) for found in power["by_family"].values()]
        rows.append([f"{distance:g}", *cells])
    return table(rows)


if __name__ == "__main__":
    PART.main(__doc__, lambda: render(json.loads(OUTPUT.read_text())))
