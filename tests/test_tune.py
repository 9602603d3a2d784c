"""The tune stage: its design, the choice, and runs that are interrupted, fail, or have company."""

import math
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.artifacts import folder_for
from bnexp.claims.tuning import choose, unfinished
from bnexp.config import TrialConfig
from bnexp.db.expanding import expands_alike
from bnexp.db.origins import origins
from bnexp.db.results import Results
from bnexp.db.store import Store
from bnexp.design import Experiment, Trial
from bnexp.engine.cohort import group
from bnexp.enrolling import enroll
from bnexp.errors import ConfigurationError
from bnexp.executors import Event, Idle, Told
from bnexp.experiments import load
from bnexp.identity import trial_key, trial_keys
from bnexp.provenance import this_worker
from bnexp.records import Checkpoint, Choice, Columns, Final, Outcome, Tally
from bnexp.stages import Course, Wish
from tests.conftest import Bnexp, enroll_impossible
from tests.test_db import STARTED
from tests.test_experiments import marked
from tests.test_run import rows, start, wait_until_training
from tests.test_runner import GONE

TUNED = """
defaults:
  model: {name: mlp, hidden: [8]}
  steps: 40
  eval_every: 20
  nonlinearity: identity
experiments:
  tuned:
    about: Three variants, of which one borrows its rate
    factors: {dropout: [0, 0.2]}
    variants:
      none: {norm: none}
      BN: {norm: batch}
      BN-x5: {norm: batch, lr_multiplier: 5}
    seeds: 2
    tune:
      factor: optimizer.lr
      levels: [0.5, 0.02, 1e30]
      seeds: [1001, 1002]
      as: {BN-x5: none}
  plain:
    seeds: 2
claims:
  better:
    question: Is BN better, each at its best rate?
    section: abstract
    quote: a quote
    experiment: tuned
    arms: {treatment: {norm: batch}, control: {norm: none}}
    where: {lr_multiplier: 1}
    estimator: {name: difference, of: scored_accuracy, at: {dropout: 0}}
    supported_if: {low: {at_least: 0}}
    refuted_if: {high: {at_most: 0}}
    supported: It is better.
    refuted: It is not better.
"""
ARMS = [f"{variant}, dropout {dropout}" for variant in ("BN", "none") for dropout in ("0", "0.2")]
Read = Callable[[str], Experiment]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The experiment e of a file of this text."""

    def read(text: str) -> Experiment:
        (tmp_path / "e.yaml").write_text(text)
        return load(tmp_path / "e.yaml").experiments["e"]

    return read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experiments.yaml").write_text(TUNED)
    return tmp_path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, bnexp: Bnexp) -> Path:
    """A folder in which `tuned` has been run; tests read it only."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "experiments.yaml").write_text(TUNED)
    ended = bnexp("run", "tuned", "--workers", "1", cwd=folder)
    assert ended.code == 0, ended.err
    (folder / "err").write_text(ended.err)
    return folder


# The design

TUNE = "tune: {factor: lr_multiplier, levels: [3, 0.3], seeds: [1001, 1002]}"
RATED = f"experiments: {{e: {{factors: {{dropout: [0, 0.2]}}, include: [{{init_scale: 3}}], seeds: 2, {TUNE}}}}}"


def rates(trials: Sequence[Trial]) -> list[tuple[str, float, int]]:
    return [(trial.arm, trial.config.lr_multiplier, trial.config.seed) for trial in trials]


def test_each_arm_is_tuned_on_every_level_and_seed_of_the_stage(read: Read) -> None:
    experiment = read(RATED)
    arms = ["dropout 0", "dropout 0.2", "dropout 0, init_scale 3"]
    expected = [(arm, level, seed) for arm in arms for level in (0.3, 3.0) for seed in (1001, 1002)]
    assert rates(experiment.tuning_trials()) == expected
    assert [trial.level for trial in experiment.tuning_trials()[:3]] == [0.3, 0.3, 3.0]
    levels = {"dropout 0": 3.0, "dropout 0.2": 0.3, "dropout 0, init_scale 3": 3}
    assert rates(experiment.expand(levels)) == [(arm, levels[arm], seed) for arm in arms for seed in (0, 1)]
    assert len(experiment.expand()) == 6
    assert read("experiments: {e: {seeds: 1}}").tuning_trials() == []


def test_a_fixed_value_of_the_tuned_field_is_replaced(read: Read) -> None:
    plain, fixed = read(RATED), read(RATED.replace("seeds: 2", "seeds: 2, lr_multiplier: 7"))
    assert plain.expand() == fixed.expand() and plain.tuning_trials() == fixed.tuning_trials()
    text = RATED.replace("factor: lr_multiplier", "factor: schedule.decay").replace("[3, 0.3]", "[0.9, 0.5]")
    experiment = read(text.replace("seeds: 2", "seeds: 2, schedule: {name: exponential, every: 10}"))
    decays = {getattr(trial.config.schedule, "decay", None) for trial in experiment.expand({"dropout 0": 0.9})}
    assert decays == {0.9, 0.5}, "a field that the base lacks can be tuned"


def test_a_borrower_takes_the_level_of_the_variant_at_its_own_factor_levels(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(TUNED)
    experiment = load(tmp_path / "e.yaml").experiments["tuned"]
    assert sorted({trial.arm for trial in experiment.tuning_trials()}) == ARMS
    levels = {"none, dropout 0": 0.5, "none, dropout 0.2": 0.02, "BN, dropout 0": 1e30, "BN, dropout 0.2": 1e30}
    found = {trial.arm: (trial.config.optimizer.lr, trial.config.lr_multiplier) for trial in experiment.expand(levels)}
    assert found == {
        "none, dropout 0": (0.5, 1),
        "none, dropout 0.2": (0.02, 1),
        "BN, dropout 0": (1e30, 1),
        "BN, dropout 0.2": (1e30, 1),
        "BN-x5, dropout 0": (0.5, 5),
        "BN-x5, dropout 0.2": (0.02, 5),
    }


def test_an_arm_has_the_same_name_however_the_file_writes_it(read: Read) -> None:
    one = read("experiments: {e: {factors: {norm: [batch], init_scale: [1.0], model.hidden: [2x8]}, seeds: 1}}")
    other = read(
        "experiments: {e: {factors: {model: [{hidden: [8, 8]}], init_scale: [1], norm: [{name: batch}]}, seeds: 1}}"
    )
    [name] = {trial.arm for experiment in (one, other) for trial in experiment.expand()}
    assert name == "init_scale 1, model.hidden [8, 8], norm batch"
    assert [trial.arm for trial in read("experiments: {e: {seeds: 1}}").expand()] == [""]


def test_an_included_point_of_the_grid_is_no_second_arm(read: Read) -> None:
    experiment = read(RATED.replace("init_scale: 3", "dropout: 0.2, init_scale: 1"))
    assert [arm.name for arm in experiment.arms()] == ["dropout 0", "dropout 0.2"]


def test_set_of_the_tuned_field_drops_the_stage_and_says_so(read: Read) -> None:
    changed = read(RATED).override(["lr_multiplier=2"])
    assert changed.tune is None and changed.tuning_trials() == []
    assert {rate for _, rate, _ in rates(changed.expand())} == {2.0}
    assert "lr_multiplier=2 replaces the tune stage" in changed.notes[0]
    kept = read(RATED).override(["dropout=0.1"])
    assert kept.tune and kept.notes == (
        "dropout=0.1 replaces the factor's levels [0, 0.2]; claims that compare them will not be tested",
    )
    assert len({trial.arm for trial in kept.tuning_trials()}) == 2


def test_seeds_of_the_command_line_may_not_be_tuning_seeds(read: Read) -> None:
    with pytest.raises(ConfigurationError, match=r"^--seeds 7,1002: seed 1002 is both"):
        read(RATED).override([], "7,1002")
    assert read(RATED).override(["lr_multiplier=2"], "7,1002").seeds == [7, 1002]


E = "experiments: {e: {seeds: 2, factors: {dropout: [0, 0.2]}, variants: {a: {}, b: {norm: batch}, c: {}}, %s}}"
FULL = "factor: lr_multiplier, levels: [1, 3], seeds: [1001]"
WRONG = [
    (E % "»tune: 3", "must be a mapping"),
    (E % f"tune: {{{FULL}, »grid: 3}}", "unknown key 'grid'", "known: as, by, factor, levels, seeds"),
    (E % "»tune: {levels: [1, 3], seeds: [1001]}", "tune needs `factor`"),
    (E % "»tune: {factor: lr_multiplier, seeds: [1001]}", "tune needs `levels`"),
    (E % "»tune: {factor: lr_multiplier, levels: [1, 3]}", "tune needs `seeds`"),
    *(
        (E % f"tune: {{»factor: {name}, levels: [1, 3], seeds: [1001]}}", f"cannot tune {shown}", "optimizer.lr")
        for name, shown in {"steps": "'steps'", "seed": "'seed'", "lr": "'lr'", "3": "3", "norm": "'norm'"}.items()
    ),
    (E % "tune: {»factor: dropout, levels: [0, 0.1], seeds: [1001]}", "dropout is tuned, so it cannot be a factor too"),
    (
        "experiments: {e: {factors: {optimizer: [lr: 1]}, tune: {»factor: optimizer.lr, levels: [1, 2], seeds: [9]}}}",
        "optimizer.lr is tuned, so it cannot be a factor too (optimizer)",
    ),
    (E.replace("c: {}", "c: {»lr_multiplier: 2}") % f"tune: {{{FULL}}}", "so a variant cannot give it"),
    (E % f"include: [{{»lr_multiplier: 2}}], tune: {{{FULL}}}", "so include cannot give it"),
    (E % f"exclude: [{{»lr_multiplier: 2}}], tune: {{{FULL}}}", "so exclude cannot give it"),
    (E % "tune: {factor: lr_multiplier, »levels: 3, seeds: [1001]}", "levels must be a list"),
    (E % "tune: {factor: lr_multiplier, »levels: [3], seeds: [1001]}", "at least two levels"),
    (E % "tune: {factor: lr_multiplier, levels: [1, 3, »1.0], seeds: [1001]}", "the level 1.0 twice"),
    (E % "tune: {factor: lr_multiplier, levels: [1, »high], seeds: [1001]}", "must be a number, not 'high'"),
    (E % "tune: {factor: lr_multiplier, levels: [1, »true], seeds: [1001]}", "must be a number, not True"),
    (E % "tune: {factor: lr_multiplier, levels: [1, »0], seeds: [1001]}", "lr_multiplier: 0 ", "greater than 0"),
    (E % "tune: {factor: lr_multiplier, levels: [1, 3], »seeds: 3}", "a list of seeds of its own", "not 3"),
    (E % "tune: {factor: lr_multiplier, levels: [1, 3], »seeds: []}", "seeds must be"),
    (E % "tune: {factor: lr_multiplier, levels: [1, 3], »seeds: [5, 1]}", "seed 1 is both a seed of the experiment"),
    (E % f"tune: {{{FULL}, »by: test_accuracy}}", "cannot tune by 'test_accuracy'", "known: validation_accuracy"),
    (E % f"tune: {{{FULL}, as: {{»d: a}}}}", "unknown key 'd'", "known: a, b, c"),
    (E % f"tune: {{{FULL}, as: {{»a: d}}}}", "no variant 'd'", "known: a, b, c"),
    (E % f"tune: {{{FULL}, as: {{»a: 3}}}}", "no variant 3"),
    (E % f"tune: {{{FULL}, as: {{»a: b, b: c}}}}", "'a' cannot take the level of 'b', which has none of its own"),
    (E % f"tune: {{{FULL}, as: {{»a: a}}}}", "'a' cannot take the level of 'a'"),
    (
        E % f"exclude: [{{norm: batch, dropout: 0.2}}], tune: {{{FULL}, as: {{»a: b}}}}",
        "the arm 'a, dropout 0.2' would take the level of the variant 'b'",
        "excluded",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fragments"), [(text, fragments) for text, *fragments in WRONG])
def test_a_wrong_tune_stage_is_refused_with_its_place(
    read: Read, tmp_path: Path, text: str, fragments: list[str]
) -> None:
    text, place = marked(text)
    with pytest.raises(ConfigurationError) as caught:
        read(text).tuning_trials()
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'e.yaml'}:{place}: "), message
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def test_tuning_trials_count_before_they_are_expanded(read: Read) -> None:
    levels, seeds = (", ".join(map(str, range(5, 2005))) for _ in range(2))
    text = f"experiments: {{e: {{seeds: 2, tune: {{factor: lr_multiplier, levels: [{levels}], seeds: [{seeds}]}}}}}}"
    with pytest.raises(ConfigurationError, match="would have 8,000,004 trials; at most 5,000,000"):
        read(text.replace("e: {seeds: 2,", "e: {seeds: 2, factors: {dropout: [0, 0.1]},")).expand()


def test_two_arms_of_one_name_are_refused(read: Read) -> None:
    text = "experiments: {e: {variants: {dropout 0: {steps: 3}}, include: [{dropout: 0}], seeds: 1}}"
    with pytest.raises(ConfigurationError, match="two arms of 'e' are called 'dropout 0'; rename a variant"):
        read(text).expand()


def test_keys_of_many_seeds_are_those_of_each() -> None:
    config = TrialConfig(dropout=0.25, seed=3)
    seeds = [0, 7, 2**63 - 1]
    assert list(trial_keys(config, "data", seeds)) == [
        trial_key(config.model_copy(update={"seed": seed}), "data") for seed in seeds
    ]


def test_the_identity_is_that_of_the_declaration(tmp_path: Path) -> None:
    """Another set of levels, seeds or borrowers is another instance; what is chosen later is not part of it."""
    texts = [
        TUNED,
        TUNED.replace("1e30]", "1e31]"),
        TUNED.replace("[1001, 1002]", "[1001, 1003]"),
        TUNED.replace("as: {BN-x5: none}", "as: {BN-x5: BN}"),
        TUNED.replace("seeds: 2", "seeds: 3", 1),
    ]
    hashes = []
    for text in texts:
        (tmp_path / "e.yaml").write_text(text)
        hashes.append(Wish.of(load(tmp_path / "e.yaml").experiments["tuned"], "", None).instance.expansion)
    assert len(set(hashes)) == len(texts)
    (tmp_path / "e.yaml").write_text(TUNED.replace("[0.5, 0.02, 1e30]", "[1e30, 0.02, 0.5]"))
    assert Wish.of(load(tmp_path / "e.yaml").experiments["tuned"], "", None).instance.expansion == hashes[0]


# The choice


def table(*trials: tuple[str, float, str, float]) -> Columns:
    """Of (arm, lr_multiplier, status, validation accuracy), of ten classes."""
    arm, level, status, accuracy = zip(*trials, strict=True)
    return {
        "arm": np.array(arm, dtype=object),
        "lr_multiplier": np.array(level),
        "status": np.array(status, dtype=object),
        "validation_accuracy": np.array(accuracy),
        "classes": np.full(len(trials), 10, dtype=object),
    }


def ended(arm: str, **levels: Sequence[float]) -> list[tuple[str, float, str, float]]:
    return [(arm, float(level[1:]), "finished", value) for level, values in levels.items() for value in values]


def test_each_arm_takes_the_level_of_the_highest_mean() -> None:
    trials = table(*ended("b", _1=[0.5, 0.7], _2=[0.9, 0.4], _3=[0.1, 0.99]), *ended("a", _1=[0.1, 0.1], _3=[0.2, 0.1]))
    assert choose(trials, "lr_multiplier") == [
        Choice("a", "lr_multiplier", 3.0, pytest.approx(0.15), True),
        Choice("b", "lr_multiplier", 2.0, pytest.approx(0.65), False),
    ]


def test_of_equal_levels_the_smaller_is_chosen() -> None:
    trials = table(*ended("a", _4=[0.3, 0.1], _2=[0.2, 0.2], _8=[0.0, 0.0], _1=[0.1, 0.2]))
    [choice] = choose(trials, "lr_multiplier")
    assert (choice.level, choice.at_edge) == (2.0, False)


def test_means_that_differ_by_rounding_are_equal() -> None:
    smaller, larger = [0.1, 0.1, 0.5], [0.1, 0.2, 0.4]
    assert math.fsum(smaller) / 3 < math.fsum(larger) / 3
    [choice] = choose(table(*ended("a", _1=smaller, _2=larger)), "lr_multiplier")
    assert choice.level == 1.0


def test_what_diverged_or_is_not_finite_scores_chance() -> None:
    lost = [("a", 2.0, "diverged", 0.9), ("a", 2.0, "finished", math.nan)]
    [choice] = choose(table(*lost, *ended("a", _1=[0.09, 0.09])), "lr_multiplier")
    assert (choice.level, choice.score) == (2.0, pytest.approx(0.1))
    [choice] = choose(table(*lost, *ended("a", _1=[0.11, 0.11])), "lr_multiplier")
    assert choice.level == 1.0
    [choice] = choose(table(("a", 2.0, "diverged", math.nan), ("a", 1.0, "diverged", math.nan)), "lr_multiplier")
    assert (choice.level, choice.at_edge) == (1.0, True)


def test_what_has_not_ended_or_has_failed_is_counted() -> None:
    trials = table(*(("a", 1.0, status, 0.5) for status in ("finished", "diverged", "failed", "pending", "running")))
    assert unfinished(trials) == 3


# Runs

CHOICES = "select arm, level, score, at_edge from tuning_choices order by arm"
SCORES = """
    select arm, lr, avg(case when status = 'diverged' then 1.0 / classes else validation_accuracy end) as score
    from experiment_results where experiment = 'tuned' and stage = 'tune' group by arm, lr order by arm, score desc, lr
"""


def test_the_levels_chosen_are_those_that_sql_finds(ran: Path) -> None:
    best: dict[str, tuple[float, float]] = {}
    for arm, level, score in rows(ran, SCORES):
        best.setdefault(arm, (level, score))
    found = {arm: (level, score) for arm, level, score, _ in rows(ran, CHOICES)}
    assert sorted(best) == ARMS and found == {
        arm: (level, pytest.approx(score)) for arm, (level, score) in best.items()
    }
    assert {(level in (0.02, 1e30), edge) for _, level, _, edge in rows(ran, CHOICES)} <= {(True, 1), (False, 0)}
    assert 1e30 not in {level for level, _ in best.values()}
    confirmed = "select distinct arm, lr, lr_multiplier from experiment_results where stage = 'confirm'"
    lender = {arm: arm.replace("BN-x5", "none") for arm, *_ in rows(ran, confirmed)}
    assert len(lender) == 6
    assert {arm: lr for arm, lr, _ in rows(ran, confirmed)} == {arm: best[of][0] for arm, of in lender.items()}


def test_each_stage_has_its_seeds_and_the_choice_stands_before_the_second(ran: Path) -> None:
    count = "select stage, count(*), count(distinct seed), min(seed) from experiment_results group by 1 order by 1"
    assert rows(ran, count) == [("confirm", 12, 2, 0), ("tune", 24, 2, 1001)]
    times = "select min(started_at), max(ended_at) from attempts join experiment_trials using (trial_id) where stage = "
    [(_, tuned)] = rows(ran, times + "'tune'")
    [(confirming, _)] = rows(ran, times + "'confirm'")
    [(first, last)] = rows(ran, "select min(chosen_at), max(chosen_at) from choices")
    assert tuned <= first <= last <= confirming
    err = (ran / "err").read_text()
    assert err.index("tuned: tuning: 24 trials to train") < err.index("chose the level of optimizer.lr for 4 arms")
    assert err.index("chose the level") < err.index("tuned: 12 trials to train")
    assert rows(ran, "select n, verdict = 'not tested' from claim_verdicts") == [(2, 0)]


def test_again_does_nothing(ran: Path, bnexp: Bnexp) -> None:
    before = rows(ran, "select count(*) from attempts") + rows(ran, CHOICES)
    again = bnexp("run", "tuned", cwd=ran)
    assert again.code == 0 and again.err == "tuned: nothing is missing\n"
    assert rows(ran, "select count(*) from attempts") + rows(ran, CHOICES) == before


def test_plan_and_status_show_both_stages(ran: Path, bnexp: Bnexp, folder: Path) -> None:
    fresh = bnexp("plan", "tuned", cwd=folder).out
    for line in (
        "6 arms; optimizer.lr is chosen from 0.02, 0.5, 1e+30 by validation_accuracy on 2",
        "24 trials to tune: 24 pending",
        "12 trials to confirm when the levels are chosen",
        "left to train: 36 trials in 4 cohorts, 1,440 trial-steps",
    ):
        assert line in fresh
    assert fresh.count("to be chosen") == 6 and fresh.count("as none, dropout") == 2
    done = bnexp("plan", "tuned", cwd=ran).out
    assert "12 trials to confirm: 12 finished" in done and "left" not in done and "to be chosen" not in done
    edges = [edge for _, _, _, edge in rows(ran, CHOICES)]
    borrowed = rows(ran, "select sum(at_edge) from choices where arm like 'none%'")[0][0]
    assert done.count("at the edge") == sum(edges) + borrowed
    stored = Results(str(ran / "bnexp.db"))
    assert expands_alike(stored, load(ran / "experiments.yaml").experiments["tuned"], stored.latest()) is True
    assert str(origins(stored, 1)[0]).startswith("36 trials on cpu")
    status = " ".join(bnexp("status", cwd=ran, columns=120).out.split())
    [finished, diverged] = [
        dict(rows(ran, "select status, count(*) from trials group by 1"))[s] for s in ("finished", "diverged")
    ]
    counts = f"{finished} finished, {diverged} diverged; 24 of these to tune"
    assert f"tuned {counts} 2" in status and finished + diverged == 36
    assert counts in bnexp("report", "tuned", cwd=ran).out


def test_a_run_says_what_its_trials_were_trained_without(folder: Path) -> None:
    assert go(folder, "tuned")[0] == 0
    text = TUNED.replace("eval_every: 20", "eval_every: 10\n  keep: [weights]\n  probes: [moments, percentiles]")
    (folder / "experiments.yaml").write_text(text)
    without = "without the probes moments, percentiles; use another --db to measure them"
    other = "with eval_every 20, not 10; use another --db for curves of these steps"
    unkept = "without keeping their weights; use another --db to train them again"
    said = [(24, other), (12, without), (12, unkept), (12, other)]
    assert go(folder, "tuned") == (0, [f"tuned: {count} trials trained before {lack}" for count, lack in said])


class Instantly:
    """An executor whose trials end at once: the better, the nearer their rate is to 0.5; some fail."""

    def __init__(self, failing: Callable[[TrialConfig], bool] = lambda config: False) -> None:
        self.failing, self.events = failing, list[Event]([Idle(0, capacity=1000)])

    def has_room(self) -> bool:
        return True

    def submit(
        self,
        worker: int,
        trials: Sequence[TrialConfig],
        checkpoint: Checkpoint | None = None,
        fingerprint: str | None = None,
    ) -> None:
        from bnexp.executors import Failed

        if any(map(self.failing, trials)):
            self.events += [Failed(0, "no memory"), Idle(0, capacity=1000)]
            return
        told = [Told(0, Outcome(slot, "finished", (), final(config))) for slot, config in enumerate(trials)]
        self.events += [Told(0, STARTED), *told, Idle(0, capacity=1000)]

    def poll(self, seconds: float) -> list[Event]:
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        pass


def final(config: TrialConfig) -> Final:
    accuracy = 0.9 - 0.1 * min(1.0, abs(config.optimizer.lr - 0.5))
    return Final(0.1, accuracy, 0.1, accuracy, 0.1, accuracy)


class Notes:
    """A watch that writes down what it is told."""

    def __init__(self, stop_at: str = "") -> None:
        self.lines: list[str] = []
        self.stop_at = stop_at

    def say(self, line: str) -> None:
        self.lines.append(line)
        if self.stop_at and self.stop_at in line:
            raise KeyboardInterrupt

    def begin(self, tally: Tally, tuning: int) -> None:
        self.say(f"{tuning} of {tally.total} tune")

    def show(self, tally: Tally) -> None:
        pass

    def end(self, tally: Tally) -> None:
        self.say(f"{tally.ended} ended")


def wishes(folder: Path, *names: str, **changes: Any) -> list[Wish]:
    file = load(folder / "experiments.yaml")
    return [Wish.of(replace(file.experiments[name], **changes), "", None) for name in names]


def go(folder: Path, *names: str, stop_at: str = "", retry: bool = False, **executor: Any) -> tuple[int, list[str]]:
    store, notes = Store(str(folder / "bnexp.db")), Notes(stop_at)
    try:
        kept = folder_for(store.database)
        course = Course(store, wishes(folder, *names), lambda: Instantly(**executor), kept, notes)
        return course.go({}, retry), notes.lines
    except KeyboardInterrupt:
        return -1, notes.lines
    finally:
        store.close()


def test_what_a_run_that_is_gone_had_begun_learns_new_wishes(folder: Path) -> None:
    """It has not been trained, so nothing was trained without them."""
    store = Store(str(folder / "bnexp.db"))
    [plain] = wishes(folder, "plain")
    number = store.register(plain.instance)
    store.plan(number, group)
    assert store.take([number], replace(this_worker(), name=GONE)) is not None
    store.close()
    text = (folder / "experiments.yaml").read_text().replace("  eval_every: 20", "  eval_every: 10")
    (folder / "experiments.yaml").write_text(text)
    assert go(folder, "plain")[1] == ["0 of 2 tune", "2 ended"]
    with sqlite3.connect(folder / "bnexp.db") as connection:
        assert connection.execute("select distinct eval_every from trials").fetchall() == [(10,)]


def test_the_trials_of_experiments_without_a_stage_train_in_the_first_pass(folder: Path) -> None:
    failed, lines = go(folder, "tuned", "plain")
    assert failed == 0 and lines == [
        "24 of 26 tune",
        "26 ended",
        "tuned: chose the level of optimizer.lr for 4 arms",
        "0 of 12 tune",
        "12 ended",
    ]
    assert {row[1] for row in rows(folder, CHOICES)} == {0.5}
    assert go(folder, "tuned", "plain") == (0, [])


@pytest.mark.parametrize("stop_at", ["24 ended", "chose", "0 of 12"])
def test_a_run_that_stopped_between_the_stages_goes_on(folder: Path, stop_at: str) -> None:
    assert go(folder, "tuned", stop_at=stop_at)[0] == -1
    failed, lines = go(folder, "tuned")
    assert failed == 0 and "0 of 12 tune" in lines and "24 of 24 tune" not in lines
    assert rows(folder, "select status, count(*) from trials group by 1") == [("finished", 36)]
    assert rows(folder, "select count(*) from choices") == [(4,)]


def test_an_instance_between_its_stages_is_reported_as_not_tested(folder: Path, bnexp: Bnexp) -> None:
    go(folder, "tuned", stop_at="24 ended")
    report = bnexp("report", "--format", "json", cwd=folder)
    assert report.code == 0 and '"not tested"' in report.out


def test_a_choice_that_stands_is_kept(folder: Path) -> None:
    """As another process may have made it a moment before."""
    store = Store(str(folder / "bnexp.db"))
    [number] = enroll(store, [wish.instance for wish in wishes(folder, "tuned")], {})
    theirs = [Choice(arm, "optimizer.lr", 0.02, 0.5, True) for arm in ARMS]
    assert store.choose(number, theirs) == theirs
    assert store.choose(number, [replace(choice, level=0.5) for choice in theirs]) == theirs
    store.close()
    assert Results(str(folder / "bnexp.db")).choices(number) == theirs
    assert go(folder, "tuned")[0] == 0
    assert rows(folder, "select distinct lr from experiment_results where stage = 'confirm'") == [(0.02,)]


def test_no_level_is_chosen_where_a_tuning_trial_failed_and_the_others_go_on(folder: Path) -> None:
    def harsh(config: TrialConfig) -> bool:
        return config.seed > 1000 and config.norm.name == "batch"

    failed, lines = go(folder, "tuned", "plain", failing=harsh)
    assert failed == 12 and "0 of 12 tune" not in lines
    assert lines[-1] == ("tuned: 12 tuning trials failed, so no level of optimizer.lr is chosen and no trial confirms")
    assert rows(
        folder, "select experiment, stage, count(*) from experiment_results where status = 'finished' group by 1, 2"
    ) == [
        ("plain", "confirm", 2),
        ("tuned", "tune", 12),
    ]
    assert go(folder, "tuned", failing=harsh)[0] == 12, "it stays so"
    failed, lines = go(folder, "tuned", retry=True)
    assert failed == 0 and lines[0] == "12 of 12 tune" and lines[-1] == "12 ended"


def test_a_failed_tuning_trial_ends_the_command_with_an_error(folder: Path, bnexp: Bnexp) -> None:
    enroll_impossible(folder, "tuned", "plain")
    ended = bnexp("run", "tuned", "plain", "--workers", "1", cwd=folder)
    assert ended.code == 1
    assert "tuned: 24 tuning trials failed, so no level of optimizer.lr is chosen" in " ".join(ended.err.split())
    assert rows(folder, "select count(*) from choices") == [(0,)]


@pytest.mark.slow
def test_two_runs_at_once_agree(folder: Path, ran: Path) -> None:
    processes = [start(folder, "tuned", "--workers", "1") for _ in range(2)]
    for process in processes:
        assert process.wait(timeout=120) == 0, (folder / "messages").read_text()
    assert rows(folder, "select count(*), count(distinct trial_id) from attempts") == [(36, 36)]
    result = "select trial_key, stage, arm, lr, status, test_accuracy from experiment_results order by 1, 2, 3"
    for query in (CHOICES, result):
        assert rows(folder, query) == rows(ran, query)


def test_an_interrupted_run_says_how_to_go_on(folder: Path, bnexp: Bnexp) -> None:
    arguments = ["tuned", "--workers", "1", "--set", "steps=3000"]
    process: subprocess.Popen[str] = start(folder, *arguments)
    wait_until_training(folder)
    process.send_signal(2)
    assert process.wait(timeout=10) == 130
    message = " ".join((folder / "messages").read_text().split())
    assert f"`bnexp run {' '.join(arguments)}` again trains the" in message and "chosen levels" in message


@pytest.mark.slow
def test_set_says_what_it_takes_away(folder: Path, bnexp: Bnexp) -> None:
    for command in ("plan", "run"):
        ended = bnexp(command, "tuned", "--set", "dropout=0.1", "--set", "optimizer.lr=0.1", cwd=folder)
        assert (
            "tuned: dropout=0.1 replaces the factor's levels [0, 0.2]; claims that compare them will not be tested\n"
            "tuned: optimizer.lr=0.1 replaces the tune stage; every arm has this value\n"
        ) in ended.err
    assert rows(folder, "select distinct stage, lr, dropout from experiment_results") == [("confirm", 0.1, 0.1)]
    with sqlite3.connect(folder / "bnexp.db") as connection:
        assert connection.execute("select count(*) from choices").fetchall() == [(0,)]
