"""Whether claims are judged right: simulated tables with a known truth, judged by bnexp, whose advice is then followed.

Who is told to run more seeds does so, up to the last look; a verdict counts as false if it was printed at any look. The
intervals' coverage, their width, and what effects are found, come from the same functions at each number of seeds.

    python benchmarks/judge.py               # 15 minutes of one core; then python benchmarks/judge_table.py
    python benchmarks/judge.py --quick       # much fewer tables, in 30 seconds
"""

import argparse
import math
import multiprocessing
import re
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.machine import ROOT, describe, write
from benchmarks.worlds import LOOKS, MOST, NOISE, PROMISED, REPORTED, SYMMETRIC, Random, World, differences
from bnexp.claims.findings import Answer
from bnexp.claims.looks import SPENT
from bnexp.claims.statistics import sign_flip
from bnexp.claims.verdicts import judge

OUTPUT = ROOT / "benchmarks" / "results" / "judge.json"
FAMILIES = {1: 1000, 6: 150, 12: 100}
"""Claims judged together, and in how many tables."""
OTHERS = 400
"""Tables of each other world."""
DRAWS = {10: 8000, 20: 800, 40: 800}
"""Samples whose interval is computed, by seeds."""
POWER_DRAWS = 800
DISTANCES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
"""Beyond the limit, in standard deviations."""
Record = dict[str, Any]


def follow(world: World, random: Random) -> tuple[dict[str, set[Answer]], dict[str, bool]]:
    """Judge a table, and do what is advised as long as it is to run more seeds. By claim: every answer that was
    printed, and whether the first interval has the limit in it."""
    sample, n = world.draw(random), LOOKS[0]
    answers: dict[str, set[Answer]] = {name: set() for name in world.claims}
    covered: dict[str, bool] = {}
    while n:
        findings = judge(world.claims, sample(n))
        advised = [re.search(r"--seeds (\d+)", finding.advice) for finding in findings]
        for finding in findings:
            answers[finding.name].add(finding.answer)
            if finding.numbers and finding.name not in covered:
                first = finding.numbers[0]
                limit = _limit(first.unit, finding.claim.supported_if)
                covered[finding.name] = first.effect.low <= limit + 1e-9 and limit - 1e-9 <= first.effect.high
        n = max((int(found[1]) for found in advised if found), default=0)
    return answers, covered


def _limit(unit: str, rule: Any) -> float:
    limit = float(rule.low.at_least)
    return math.log2(limit) if unit == "log2" else limit


def errors(world: World, tables: int, seed: int, promised: bool) -> Record:
    """How often verdicts are false, by claim and by table."""
    random = np.random.default_rng(seed)
    claims, wrong, families, covered = 0, 0, 0, 0
    for _ in range(tables):
        answers, inside = follow(world, random)
        false = [bool(found - {"inconclusive", world.right}) for found in answers.values()]
        claims, wrong, families = claims + len(false), wrong + sum(false), families + any(false)
        covered += sum(inside.values())
    return {
        "world": world.name,
        "claims": len(world.claims),
        "tables": tables,
        "promised": promised,
        "false_claims": wrong / claims,
        "false_tables": families / tables,
        "coverage_at_first_look": covered / claims,
    }


def intervals(noise: str, n: int, draws: int, seed: int) -> Record:
    """Coverage of the 95% intervals of n seeds, and half their width in standard deviations."""
    random = np.random.default_rng(seed)
    scale = _deviation(noise)
    found = [sign_flip(NOISE[noise](random, (n,))).interval() for _ in range(draws)]
    halves = [(interval.high - interval.low) / 2 / scale for interval in found]
    return {
        "noise": noise,
        "seeds": n,
        "draws": draws,
        "symmetric": noise in SYMMETRIC,
        "coverage": float(np.mean([interval.low - 1e-9 <= 0 <= interval.high + 1e-9 for interval in found])),
        "half_width": float(np.mean(halves)),
    }


def _deviation(noise: str) -> float:
    """The standard deviation of a seed's difference."""
    return math.sqrt(2 * 360 * 0.97 * 0.03) / 360 * 100 if noise == "lattice" else 1.0


def power(noise: str, draws: int, seed: int) -> Record:
    """The share of claims found by each look, by their distance from the limit, among families in which no other claim
    is found."""
    random, scale = np.random.default_rng(seed), _deviation(noise)
    found = np.zeros((len(FAMILIES), len(DISTANCES), len(LOOKS)))
    for _ in range(draws):
        differences = NOISE[noise](random, (MOST,))
        tests = [sign_flip(differences[:n]) for n in LOOKS]
        for at, distance in enumerate(DISTANCES):
            p = 2 * np.array([test.p_greater(-distance * scale) for test in tests])
            for row, family in enumerate(FAMILIES):
                found[row, at] += np.maximum.accumulate(p * family <= SPENT)
    return {
        "noise": noise,
        "draws": draws,
        "looks": LOOKS,
        "distances": DISTANCES,
        "by_family": {str(family): (found[row] / draws).tolist() for row, family in enumerate(FAMILIES)},
    }


@cache
def jobs(share: float) -> list[tuple[str, Callable[[], Record]]]:
    """All the work, by the list that its record belongs to."""
    found: list[tuple[str, Callable[[], Record]]] = []

    def some(count: int) -> int:
        return max(2, round(count * share))

    for noise in SYMMETRIC:
        for family, tables in FAMILIES.items():
            found.append(("errors", partial(errors, differences(noise, family), some(tables), family, True)))
    for number, world in enumerate((*PROMISED, differences("skewed", 1), *REPORTED)):
        promised = number < len(PROMISED)
        found.append(("errors", partial(errors, world, some(OTHERS), 100 + number, promised)))
    for noise in NOISE:
        for n, draws in DRAWS.items():
            found.append(("intervals", partial(intervals, noise, n, some(draws), n)))
    found += [("power", partial(power, noise, some(POWER_DRAWS), 7)) for noise in ("normal", "lattice")]
    return found


def _run(number: int, share: float) -> tuple[str, Record]:
    name, job = jobs(share)[number]
    return name, job()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the tables")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    share = 0.02 if options.quick else 1.0
    record: Record = {**describe(), "quick": options.quick, "errors": [], "intervals": [], "power": []}
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:
        for name, one in pool.imap(partial(_run, share=share), range(len(jobs(share)))):
            record[name].append(one)
            print(name, {key: value for key, value in one.items() if key != "by_family"}, flush=True)
    record["seconds"] = round(time.perf_counter() - began, 1)
    write(options.output, record)


if __name__ == "__main__":
    main()
