"""The claims that ship, in worlds where it is known what they should answer."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml

from bnexp.claims.data import Data, no_probes
from bnexp.claims.findings import Finding
from bnexp.claims.model import Claim
from bnexp.claims.parse import parse_claims
from bnexp.claims.verdicts import judge
from bnexp.config import TrialConfig
from bnexp.experiments import load
from tests.tables import curves_of, reaching, row, table

WRITTEN = yaml.safe_load((Path(__file__).parents[1] / "experiments.yaml").read_text())
World = Callable[[TrialConfig], tuple[float | None, int]]
"""A trial's accuracy, none where it diverges, and the step at which it has reached it."""


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Claim]:
    """As shipped; how rates are tuned does not matter to how claims are judged."""
    for experiment in WRITTEN["experiments"].values():
        experiment.pop("tune", None)
    path = tmp_path_factory.mktemp("shipped") / "experiments.yaml"
    path.write_text(yaml.safe_dump(WRITTEN))
    return parse_claims(load(path))


TESTED = [name for name, claim in WRITTEN["claims"].items() if claim.get("experiment") == "grid"]


def _grid() -> list[TrialConfig]:
    factors = WRITTEN["experiments"]["grid"]["factors"]
    cells = (dict(zip(factors, levels, strict=True)) for levels in product(*factors.values()))
    return [TrialConfig.model_validate(cell | {"seed": seed}) for cell in cells for seed in range(10)]


GRID = _grid()


def noise(config: TrialConfig) -> float:
    """Half a point or less, by seed and arm."""
    return ((7 * config.seed + 3 * (config.norm.name == "batch")) % 11 - 5) / 1000


def helps(config: TrialConfig) -> tuple[float | None, int]:
    """BN makes everything better, at any rate and init scale; Dropout only harms."""
    best = config.lr_multiplier == 5
    if config.norm.name == "batch":
        return 0.9 + 0.03 * best - 0.02 * (config.dropout > 0) + noise(config), 50
    if config.lr_multiplier == 30:
        return None, 0
    base = (0.5 if config.nonlinearity == "sigmoid" else 0.8) + 0.03 * best - 0.2 * (config.init_scale != 1)
    return base - 0.02 * (config.dropout > 0) + noise(config), 300


def harms(config: TrialConfig) -> tuple[float | None, int]:
    """The same of no BN; and with BN Dropout gains five points."""
    norms = {"norm": "none" if config.norm.name == "batch" else "batch"}
    swapped = TrialConfig.model_validate(config.model_dump() | norms)
    test, step = helps(swapped)
    gain = 0.07 if config.norm.name == "batch" and config.dropout else 0
    return None if test is None else test + gain, step


def alike(config: TrialConfig) -> tuple[float | None, int]:
    """Neither arm is better: it is a matter of the seed. Dropout gains one point, the margin, give or take."""
    lucky = (config.seed % 2 == 0) == (config.norm.name == "batch")
    gain = (0.01 + (0.004 if config.seed % 2 else -0.004)) * (config.dropout > 0)
    spread = 0.1 * (config.init_scale != 1) * (1 + lucky)
    best = 0.03 * (config.lr_multiplier == 5)
    return 0.8 + 0.02 * lucky + gain + best - spread, 100 if lucky else 200


def results(world: World) -> Data:
    """The shipped grid's results in a world."""
    ended = {config: world(config) for config in GRID}
    rows = {config: row(config, test) for config, (test, _) in ended.items()}
    curves = {
        rows[config]["trial_key"]: [] if test is None else reaching(step, test)
        for config, (test, step) in ended.items()
    }
    return Data("grid", table(rows.values()), curves_of(curves), 1.0, no_probes)


def test_the_worlds_are_about_every_claim_of_the_grid_and_every_designed_experiment_has_one(
    claims: dict[str, Claim],
) -> None:
    assert len(TESTED) == 6
    assert {claim.experiment for claim in claims.values()} - {None} == set(WRITTEN["experiments"])
    assert all(claim.needs for claim in claims.values() if claim.experiment is None)
    assert {claim.looks for claim in claims.values() if claim.experiment} == {(10, 20, 40)}


Found = dict[World, dict[str, Finding]]


@pytest.fixture(scope="module")
def found(claims: dict[str, Claim]) -> Found:
    """What the shipped claims' findings are in each world."""
    return {
        world: {finding.name: finding for finding in judge(claims, results(world))} for world in (helps, harms, alike)
    }


@pytest.mark.parametrize("name", TESTED)
def test_a_shipped_claim_is_supported_refuted_and_left_open_by_the_worlds_that_should(
    name: str, claims: dict[str, Claim], found: Found
) -> None:
    better, worse, open_ = (found[world][name] for world in (helps, harms, alike))
    assert better.answer == "supported", better
    assert worse.answer == ("refuted" if claims[name].refuted_if else "inconclusive"), worse
    assert open_.answer == "inconclusive" and "Left open" not in open_.sentence, open_
    for finding in (better, worse, open_):
        assert finding.n == 10 and finding.p is not None and finding.p_adjusted is not None
        assert finding.p <= finding.p_adjusted <= min(1, 6 * finding.p) and finding.family == 6
        assert finding.rows and all(row.treatment and row.control for row in finding.rows)
    assert better.sentence == claims[name].supported != ""


@pytest.mark.parametrize("name", TESTED)
def test_a_shipped_claim_is_not_tested_by_a_grid_that_is_unfinished_or_empty(
    name: str, claims: dict[str, Claim]
) -> None:
    complete = results(helps)
    missing = complete.trials | {"status": np.where(complete.trials["seed"] == 9, "running", complete.trials["status"])}
    one = {"c": claims[name]}
    for trials in (missing, {key: values[:0] for key, values in complete.trials.items()}):
        [finding] = judge(one, Data("grid", trials, complete.curves, 1.0, no_probes))
        assert finding.answer == "not tested" and finding.p is None
    [finding] = judge(one, Data("other", complete.trials, complete.curves, 1.0, no_probes))
    assert finding.answer == "not tested"


def test_shipped_claims_that_need_more_are_not_tested_and_say_what(claims: dict[str, Claim], found: Found) -> None:
    for name, claim in claims.items():
        finding = found[helps][name]
        if claim.experiment is None:
            assert (finding.answer, finding.sentence) == ("not tested", claim.needs)
        elif name not in TESTED:
            assert finding.answer == "not tested" and f"bnexp run {claim.experiment}" in finding.sentence
