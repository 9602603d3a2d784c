"""Ensembles of kept predictions, with answers known by hand: what they gain, and what is said where nothing can be
told."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from bnexp.claims.arms import Arm, NotEstimableError, Predicted
from bnexp.claims.data import Data
from bnexp.claims.ensembles import errors
from bnexp.claims.findings import Finding
from bnexp.claims.model import Claim
from bnexp.claims.verdicts import judge
from bnexp.config import TrialConfig
from bnexp.db.kept import Predictions
from bnexp.errors import MissingFileError
from tests.tables import CLAIM, Row, arm, data, measure, row

RIGHT, WRONG = [0.9, 0.1], [0.4, 0.6]
LABELS = np.zeros(3, dtype=np.int64)
ONE_WRONG = [[RIGHT, RIGHT, WRONG], [RIGHT, WRONG, RIGHT], [WRONG, RIGHT, RIGHT]]
"""Of three examples each member is right on two, not the same; their mean is right on all."""


def predictions(test: Sequence[object], labels: Sequence[int] = (0, 0, 0)) -> Predictions:
    nothing = np.empty((0, 2), dtype=np.float32)
    return Predictions(nothing, np.empty(0, np.int64), np.array(test, np.float32), np.array(labels, np.int64))


def predicting(known: Mapping[str, Predictions]) -> Predicted:
    """As read from the database, in the order of the keys, one when it is wanted."""

    def predicted(keys: Sequence[str]) -> Iterator[Predictions]:
        missing = [key for key in keys if key not in known]
        if missing:
            raise MissingFileError(f"trial {missing[0][:12]} has none")
        return (known[key] for key in keys)

    return predicted


def blocks(
    *ensembles: Sequence[object], validation: Sequence[float] = (0.5, 0.5, 0.5), factor: str = "member"
) -> tuple[list[Row], dict[str, Predictions]]:
    """The trials of one ensemble a seed and what they predict; a member without predictions has diverged."""
    rows, known = [], {}
    for seed, members in enumerate(ensembles):
        for number, test in enumerate(members):
            fields = {"member": number + 1, "seed": seed, "norm": "batch"}
            accuracy = None if test is None else 0.7
            rows.append(row(TrialConfig.model_validate(fields), accuracy, validation[number], classes=2))
            if factor == "variant":
                rows[-1]["variant"] = f"network {number}"
            if test is not None:
                known[rows[-1]["trial_key"]] = predictions(test)
    return rows, known


def ensembles(*members: Sequence[object], **how: object) -> Arm:
    rows, known = blocks(*members, **how)  # type: ignore[arg-type]
    return arm(rows[::-1], predicted=predicting(known))  # in whatever order the trials come


def test_the_error_of_the_mean_and_of_the_best_member() -> None:
    together, alone = errors(np.array(ONE_WRONG), LABELS, best=1)
    assert (together, alone) == pytest.approx((0, 100 / 3))
    twice = [ONE_WRONG[0], ONE_WRONG[0], ONE_WRONG[1]]
    assert errors(np.array(twice), LABELS, best=2) == pytest.approx((0, 100 / 3)), "0.9 + 0.4 + 0.4 is more than 1.3"
    assert errors(np.array([[WRONG, WRONG, RIGHT]] * 2), LABELS, best=0) == pytest.approx((200 / 3, 200 / 3))


def test_the_mean_is_of_probabilities_and_no_vote() -> None:
    """Two of three are wrong, but not as sure as the third is right."""
    sure, unsure = np.array([[0.95, 0.05]]), np.array([[0.45, 0.55]])
    assert errors([sure, unsure, unsure], LABELS[:1], best=1) == (0, 100)


@pytest.mark.parametrize(("rank", "top1", "top5"), [(1, 0, 0), (2, 100, 0), (5, 100, 0), (6, 100, 100)])
def test_among_the_five_likeliest(rank: int, top1: int, top5: int) -> None:
    likely = np.arange(10, 0, -1) / 55
    label = np.array([rank - 1])
    assert errors([likely[None]], label, 0, top=1) == (top1, top1)
    assert errors([likely[None]], label, 0, top=5) == (top5, top5)


def test_of_classes_equally_likely_the_first_counts_as_argmax_has_it() -> None:
    even = np.full((10, 10), 0.1)
    labels = np.arange(10)
    assert errors([even], labels, 0)[0] == 100 * float((even.argmax(1) != labels).mean()) == 90
    assert errors([even], labels, 0, top=5)[0] == 50


def test_the_gain_is_against_the_member_best_on_validation() -> None:
    estimate = measure("ensemble_gain", ensembles(ONE_WRONG), None)
    assert estimate.effect == pytest.approx([-100 / 3]) and estimate.unit == "points"
    perfect = [ONE_WRONG[0], [RIGHT] * 3, ONE_WRONG[2]]
    chosen = measure("ensemble_gain", ensembles(perfect, ONE_WRONG, validation=(0.5, 0.9, 0.5)), None)
    assert chosen.effect == pytest.approx([0, -100 / 3])
    assert chosen.alone is not None and list(chosen.alone) == [0, 0], "the ensembles' own errors"
    first = measure("ensemble_gain", ensembles(perfect, validation=(0.9, 0.9, 0.5)), None)
    assert first.effect == pytest.approx([-100 / 3]), "the first where equal"
    assert chosen.notes == [
        "mean top-1 error of the ensembles 0.00%, of their best members 16.67%",
    ]
    top5 = measure("ensemble_gain", ensembles(ONE_WRONG), None, measure="top5_error")
    assert list(top5.effect) == [0] and "top-5" in top5.notes[0]


def test_members_may_be_variants() -> None:
    trials = ensembles(ONE_WRONG, factor="variant")
    assert measure("ensemble_gain", trials, None, members="variant").effect == pytest.approx([-100 / 3])


def test_a_member_that_diverged_leaves_the_answer_to_the_others() -> None:
    """And is best only where none that ended is better than chance."""
    estimate = measure("ensemble_gain", ensembles([None, *ONE_WRONG[:2]], validation=(0.9, 0.8, 0.7)), None)
    together, _ = errors(np.array(ONE_WRONG[:2]), LABELS, best=0)
    assert estimate.effect == pytest.approx([together - 100 / 3])
    assert estimate.notes[1] == "1 of 3 members diverged, and count as chance"
    none_left = measure("ensemble_gain", ensembles([None, None, None], ONE_WRONG), None)
    assert none_left.effect == pytest.approx([0, -100 / 3])


def test_what_a_network_does_not_say_counts_as_chance_for_that_example() -> None:
    lost = [[RIGHT, [np.nan, np.nan], RIGHT], [RIGHT, WRONG, WRONG]]
    estimate = measure("ensemble_gain", ensembles(lost, validation=(0.5, 0.9)), None)
    assert estimate.effect == pytest.approx([-100 / 3]), "the second example is the other member's, and wrong"


def test_what_is_no_ensemble_is_not_estimated() -> None:
    rows, known = blocks(ONE_WRONG, ONE_WRONG)

    def refusal(rows: list[Row], **how: object) -> str:
        with pytest.raises(NotEstimableError) as refused:
            measure("ensemble_gain", arm(rows, predicted=predicting(known)), None, **how)
        return str(refused.value)

    assert "two levels of member" in refusal([one for one in rows if one["member"] == 1])
    assert "not every seed has every level of member" in refusal(rows[:-1])
    twice = [*rows, rows[0] | {"trial_key": "x", "dropout": 0.5}]
    assert "one trial a seed and level of member; narrow `where`" in refusal(twice)
    other = rows[0]["trial_key"]
    for changed in (predictions(ONE_WRONG[0], (0, 1, 0)), predictions(ONE_WRONG[0][:2], (0, 0))):
        known[other] = changed
        assert "tested on different examples" in refusal(rows)
    del known[other]
    assert refusal(rows) == f"trial {other[:12]} has none"


# Verdicts

BETTER, ALIKE = ONE_WRONG, [ONE_WRONG[0]] * 3
WORSE = [[RIGHT] * 3, [[0.01, 0.99]] * 3, ONE_WRONG[2]]
"""The member best on validation, the first, is right on all, and the others outvote it."""


def verdict(*members: Sequence[object], lose: int = 0) -> Finding:
    rows, known = blocks(*members, validation=(0.9, 0.5, 0.5))
    for key in list(known)[:lose]:
        del known[key]
    rest = {name: value for name, value in CLAIM.items() if name not in ("arms", "supported_if", "refuted_if")}
    claim = Claim.model_validate(
        rest
        | {
            "arms": {"treatment": {"norm": "batch"}},
            "estimator": {"name": "ensemble_gain", "measure": "top1_error"},
            "supported_if": {"high": {"at_most": 0}},
            "refuted_if": {"low": {"at_least": 0}},
        }
    )
    known_data: Data = data(rows, predicted=predicting(known))
    [finding] = judge({"c": claim}, known_data)
    return finding


def test_an_ensemble_is_supported_refuted_left_open_and_not_tested() -> None:
    supported, refuted = verdict(*[BETTER] * 10), verdict(*[WORSE] * 10)
    assert (supported.answer, supported.n, supported.unit) == ("supported", 10, "points")
    assert supported.effect is not None and supported.effect.point == pytest.approx(-100 / 3)
    assert supported.p is not None and supported.p <= 0.0025
    assert refuted.answer == "refuted" and refuted.effect is not None and refuted.effect.low > 0
    assert verdict(*[BETTER, WORSE] * 5).answer == "inconclusive"
    assert verdict(*[BETTER] * 7).answer == "inconclusive", "7 seeds are no look"
    gone = verdict(*[BETTER] * 10, lose=1)
    assert gone.answer == "not tested" and gone.sentence.startswith("Trial ") and gone.sentence.endswith(" has none.")
    assert gone.p is None and gone.numbers == []


def test_predictions_are_read_for_a_claim_that_wants_them_only() -> None:
    def never(keys: Sequence[str]) -> Iterator[Predictions]:
        raise AssertionError("nobody asked")

    rows, _ = blocks(*[BETTER] * 10)
    rate = CLAIM | {"arms": {"treatment": {"norm": "batch"}}, "estimator": {"name": "rate"}}
    rate |= {"supported_if": {"low": {"at_least": 0.6}}, "refuted_if": {"high": {"at_most": 0.4}}}
    one_member = [one for one in rows if one["member"] == 1]
    [finding] = judge({"c": Claim.model_validate(rate)}, data(one_member, predicted=never))
    assert finding.answer == "supported"
