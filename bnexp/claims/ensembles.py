"""What ensembles gain over their best members (section 4.2.3): of kept predictions, one number a seed."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt

from bnexp.claims.arms import Arm, Estimate, NotEstimableError, scored
from bnexp.claims.model import Estimator
from bnexp.columns import levels
from bnexp.errors import MissingFileError

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.floating]

TOP = {"top1_error": 1, "top5_error": 5}
"""Among how many of the likeliest classes the label must be."""


def errors(members: Iterable[Probabilities], labels: Labels, best: int, top: int = 1) -> tuple[float, float]:
    """The test error, in percent, of the mean of the members' class probabilities [examples, classes], and that of the
    member number `best`. A label errs where it is not among the `top` likeliest classes (of those equally likely, the
    first). The members may come one by one: only one is looked at at a time."""
    together, alone = np.zeros(()), np.nan
    for number, probabilities in enumerate(members):
        together = together + probabilities.astype(np.float64)
        if number == best:
            alone = _error(probabilities, labels, top)
    return _error(together, labels, top), alone


def _error(probabilities: Probabilities, labels: Labels, top: int) -> float:
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = ((probabilities > own) | ((probabilities == own) & before)).sum(axis=1)
    return 100 * float((rank >= top).mean())


def ensemble_gain(treatment: Arm, control: None, how: Estimator, margin: float) -> Estimate:
    """On each seed, the test error of the mean of the members' class probabilities, minus that of the member with the
    highest validation accuracy (the first where equal), in points: negative where the ensemble is better. The trials
    of a seed that differ in the factor `members` are its ensemble's.

    A member that diverged counts as chance: it calls every class equally likely, which leaves the answer to the
    others. So does a finished one for an example of which its network says nothing finite."""
    seeds, place = _blocks(treatment, how.members)
    validation = scored(treatment.trials)
    keys, finished = treatment.trials["trial_key"], treatment.trials["status"] == "finished"
    found = []
    for members in place:
        best = int(np.argmax(validation[members]))
        told = [str(keys[member]) for member in members if finished[member]]
        try:
            found.append(_of_block(treatment, told, finished[members], best, TOP[how.measure]))
        except MissingFileError as gone:
            raise NotEstimableError(str(gone)) from gone
    ensemble, alone = np.array(found).reshape(len(seeds), 2).T
    measure = how.measure.replace("top", "top-").replace("_", " ")
    notes = [f"mean {measure} of the ensembles {ensemble.mean():.2f}%, of their best members {alone.mean():.2f}%"]
    diverged = int((~finished).sum())
    if diverged:
        notes.append(f"{diverged} of {finished.size} members diverged, and count as chance")
    gain = ensemble - alone
    return Estimate(gain, np.empty(0), gain, how.unit, notes, alone=ensemble)


def _blocks(arm: Arm, factor: str) -> tuple[Labels, npt.NDArray[np.intp]]:
    """The seeds, and the places of each one's members among the trials: [seeds, members], in order."""
    members = levels(arm.trials, factor)
    if len(members) < 2:
        raise NotEstimableError(f"an ensemble needs two levels of {factor} or more")
    seeds, row = np.unique(arm.trials["seed"], return_inverse=True)
    column = np.array([list(members).index(level) for level in arm.trials[factor]])
    place = np.full((len(seeds), len(members)), -1, dtype=np.intp)
    place[row, column] = np.arange(len(row))
    if len(row) > place.size or len(set(zip(row.tolist(), column.tolist(), strict=True))) < len(row):
        raise NotEstimableError(f"an ensemble needs one trial a seed and level of {factor}; narrow `where`")
    if (place < 0).any():
        raise NotEstimableError(f"not every seed has every level of {factor}")
    return seeds, place


def _of_block(arm: Arm, keys: list[str], finished: npt.NDArray[np.bool_], best: int, top: int) -> tuple[float, float]:
    """As `errors`, of a seed's members, of which those `finished` have `keys`."""
    told = arm.predicted(keys)
    first = next(told, None)
    if first is None:  # all diverged: the ensemble is as good as any of them
        chance_error = 100 * (1 - min(1.0, top / float(arm.trials["classes"][0])))
        return chance_error, chance_error
    labels, chance = first.test_labels, np.full_like(first.test, 1 / first.test.shape[1])
    every = chain([first], told)

    def members() -> Iterator[Probabilities]:
        for ended in finished:
            if not ended:
                yield chance
                continue
            one = next(every)
            if not np.array_equal(one.test_labels, labels) or one.test.shape != chance.shape:
                raise NotEstimableError("the members of an ensemble were tested on different examples")
            yield np.where(np.isfinite(one.test).all(axis=1, keepdims=True), one.test, chance)

    return errors(members(), labels, best, top)
