"""Random numbers: each a hash of role, seed, layer, step and index, alike in any company, and clean."""

import hashlib
import math
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from bnexp import random

SEEDS = [0, 1, 2, 1001, 2**62]
COUNT = 6000  # one dropout layer of section 4.1's network: 60 examples, 100 units


def uniforms(step: int, seeds: list[int] = SEEDS, layer: str = "hidden 0", count: int = COUNT) -> Tensor:
    """Dropout's uniforms at a step, float64 [S, count]."""
    keys = random.step_keys(random.keys("dropout", seeds, layer), torch.tensor(step))
    return random.uniform(keys, random.counters(count), torch.float64)


def words(keys: Tensor, counters: Tensor) -> Tensor:
    """The generator's words as numbers from 0."""
    return random.words(keys, counters).long() & random.MASK


def z(first: Tensor, second: Tensor) -> float:
    """The correlation of two samples in its standard errors."""
    return float(np.corrcoef(first.flatten(), second.flatten())[0, 1]) * math.sqrt(first.numel())


def assert_uncorrelated(scores: list[float]) -> None:
    """No score is out of proportion to their number, and together they are spread as standard normals."""
    assert max(map(abs, scores)) < stats.norm.isf(5e-5 / len(scores))
    assert stats.kstest(scores, "norm").pvalue > 1e-4


@pytest.mark.parametrize("bins", [2, 10, 64, 256])
def test_uniforms_fill_their_range_evenly(bins: int) -> None:
    """Chi-square of many steps and seeds; the p values are themselves uniform: not too even either."""
    samples = [row for step in range(1, 21) for row in uniforms(step).numpy()]
    p = [stats.chisquare(np.histogram(row, bins, (0, 1))[0]).pvalue for row in samples]
    assert min(p) > 1e-4 / len(p)
    if bins > 10:
        assert stats.kstest(p, "uniform").pvalue > 1e-4
    assert min(row.min() for row in samples) >= 0 and max(row.max() for row in samples) < 1


def test_uniforms_are_multiples_of_2_to_minus_24_in_either_precision() -> None:
    keys = random.keys("dropout", SEEDS, "hidden 0")
    single, double = (random.uniform(keys, random.counters(COUNT), dtype) for dtype in (torch.float32, torch.float64))
    assert torch.equal(single.double(), double)
    assert torch.equal((double * 2**24).round(), double * 2**24)


def test_pairs_fill_the_square_evenly() -> None:
    """Neighbours in one stream, and equal places of successive steps, in 16 x 16 cells."""
    rows = [uniforms(step, count=60_000)[0].numpy() for step in range(1, 6)]
    pairs = [(row[::2], row[1::2]) for row in rows] + list(pairwise(rows))
    for x, y in pairs:
        cells = np.histogram2d(x, y, 16, ((0, 1), (0, 1)))[0]
        assert stats.chisquare(cells.ravel()).pvalue > 1e-4


def test_seeds_steps_and_layers_are_independent() -> None:
    by_step = [uniforms(step) for step in range(1, 21)]
    between_seeds = [z(u[a], u[b]) for u in by_step for a, b in combinations(range(len(SEEDS)), 2)]
    between_steps = [z(a, b) for a, b in combinations(by_step, 2)]
    other = [uniforms(step, layer="hidden 1") for step in range(1, 21)]
    between_layers = [z(a, b) for a in by_step[:10] for b in other[:10]]
    for scores in (between_seeds, between_steps, between_layers):
        assert_uncorrelated(scores)


def test_neighbouring_counters_are_independent() -> None:
    scores = []
    for step in range(1, 21):
        u = uniforms(step)
        scores += [z(u[:, lag:], u[:, :-lag]) for lag in (1, 2, 3, 10, 59, 60, 100)]
    assert_uncorrelated(scores)


def test_steps_do_not_overlap_shifted() -> None:
    """Step s at index i + d and step s + e at index i: neither correlated, nor the same words moved along."""
    by_step = [uniforms(step) for step in range(1, 41)]
    scores = []
    for lag in (1, 2):
        for first, second in zip(by_step, by_step[lag:], strict=False):
            scores += [z(first[:, d:], second[:, :-d]) for d in (1, 2, 3, 100)]
            scores += [z(first[:, :-d], second[:, d:]) for d in (1, 2, 3, 100)]
    assert_uncorrelated(scores)
    base, counters = random.keys("dropout", [0], "hidden 0"), random.counters(COUNT)
    words = [random.words(random.step_keys(base, torch.tensor(step)), counters)[0] for step in range(1, 41)]
    shared = [len(np.intersect1d(a, b)) for a, b in combinations(words, 2)]
    assert sum(shared) < stats.poisson.isf(1e-4, len(shared) * COUNT**2 / 2**32)
    assert max(shared) <= 3


def test_one_unit_over_many_steps_is_a_fair_coin() -> None:
    """Each unit drops out binomially over the steps, and serially independently."""
    u = torch.stack([uniforms(step, [3], count=500)[0] for step in range(1, 2001)])
    for p in (0.1, 0.5, 0.9):
        dropped = (u < p).double()
        for axis in (0, 1):
            trials = u.shape[axis]
            chi_square = float(((dropped.sum(axis) - trials * p) ** 2 / (trials * p * (1 - p))).sum())
            assert 1e-4 < stats.chi2.cdf(chi_square, u.shape[1 - axis]) < 1 - 1e-4
    assert_uncorrelated([z(u[lag:], u[:-lag]) for lag in (1, 2, 3, 4, 8, 16, 17, 64, 256, 1024)])


def test_every_bit_is_fair_and_no_bit_follows_a_bit_of_the_next_step() -> None:
    base, counters, places = random.keys("dropout", [5], "hidden 0"), random.counters(COUNT), torch.arange(32)
    signs = []
    for step in range(1, 22):
        words = random.words(random.step_keys(base, torch.tensor(step)), counters)[0]
        signs.append(((words[:, None] >> places) & 1).double() * 2 - 1)
    fair = [score for bits in signs for score in (bits.sum(0) / COUNT**0.5).tolist()]
    assert max(map(abs, fair)) < stats.norm.isf(5e-5 / len(fair))
    crossed = torch.stack([a.T @ b / COUNT**0.5 for a, b in pairwise(signs)])
    assert float(crossed.abs().max()) < stats.norm.isf(5e-5 / crossed.numel())


def test_words_stay_within_32_bits_and_are_distinct_under_one_key() -> None:
    """Also for the largest keys, counters and steps."""
    largest = torch.full((2, 1, 1), random.MASK, dtype=torch.int64)
    for keys in (largest, random.keys("dropout", SEEDS, "x"), random.step_keys(largest, torch.tensor(10**9))):
        assert int(keys.min()) >= 0 and int(keys.max()) <= random.MASK
        assert random.words(keys, random.counters(100_000)).dtype == torch.int32
        assert all(len(row.unique()) == 100_000 for row in words(keys, random.counters(100_000)))


def test_words_leave_their_arguments_alone() -> None:
    keys, counters = random.keys("init", SEEDS, "x"), random.counters(10)
    before = keys.clone(), counters.clone()
    random.words(keys, counters)
    random.step_keys(keys, torch.tensor(3))
    assert torch.equal(keys, before[0]) and torch.equal(counters, before[1])


@pytest.mark.parametrize("make", ["words", "normal", "permutation"])
def test_numbers_do_not_depend_on_how_many_seeds_are_asked_at_once(make: str) -> None:
    def numbers(seeds: list[int]) -> Tensor:
        keys = random.keys("init", seeds, "hidden 0")
        if make == "words":
            return random.words(random.step_keys(keys, torch.tensor(7)), random.counters(1001))
        return random.normal(keys, 1001) if make == "normal" else random.permutation(keys, 1001)

    together = numbers(SEEDS)
    for row, seed in zip(together, SEEDS, strict=True):
        assert torch.equal(row, numbers([seed])[0])
    assert torch.equal(numbers(SEEDS[::-1]), together.flip(0))


def test_words_and_uniforms_do_not_depend_on_how_many_are_asked() -> None:
    keys = random.keys("dropout", SEEDS, "hidden 0")
    few, many = (random.words(keys, random.counters(count)) for count in (13, 1000))
    assert torch.equal(few, many[:, :13])


def test_keys_tell_roles_seeds_and_parts_apart() -> None:
    """Also where parts run together as text would be equal."""
    calls: list[tuple[str, int, *tuple[int | str, ...]]] = [
        ("init", 1),
        ("order", 1),
        ("init", 11),
        ("init", 1, "hidden 1"),
        ("init", 1, "hidden", 1),
        ("init", 1, "hidden 11"),
        ("init", 1, 1),
        ("init", 1, 1, 1),
        ("init", 1, 11),
        ("init", 11, 1),
        ("init", 2**62, 1),
        ("init", 2**63 - 1, 1),
    ]
    keys = {random.key(*call) for call in calls}
    assert len(keys) == len(calls)
    assert all(0 <= word <= random.MASK for key in keys for word in key)
    stacked = random.keys("init", [1, 11], 1)
    assert stacked[:, :, 0].T.tolist() == [list(random.key("init", seed, 1)) for seed in (1, 11)]


@pytest.mark.parametrize("count", [1, 2, 7, 18, 359])
def test_permutation_is_a_permutation(count: int) -> None:
    found = random.permutation(random.keys("order", SEEDS, 0), count)
    assert found.shape == (len(SEEDS), count)
    assert torch.equal(found.sort(1).values, torch.arange(count).expand(len(SEEDS), -1))


def test_permutation_puts_every_item_in_every_place_equally_often() -> None:
    """Chi-square of items by places (permutation matrices sum with a factor), and of the first two items."""
    items, seeds = 12, 12_000
    found = random.permutation(random.keys("order", list(range(seeds)), 0), items)
    table = torch.bincount((torch.arange(items) * items + found).flatten(), minlength=items**2).double()
    chi_square = float(((table - seeds / items) ** 2 / (seeds / items)).sum()) * (items - 1) / items
    assert 1e-4 < stats.chi2.cdf(chi_square, (items - 1) ** 2) < 1 - 1e-4
    pairs = torch.unique(found[:, :2], dim=0, return_counts=True)[1]
    assert len(pairs) == items * (items - 1)
    assert stats.chisquare(pairs.numpy()).pvalue > 1e-4


def test_permutations_of_all_orders_are_equally_likely() -> None:
    found = random.permutation(random.keys("order", list(range(12_000)), "epoch"), 4)
    counts = torch.unique(found, dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


@pytest.mark.parametrize("count", [6400, 10_001])
def test_normal_is_standard_normal(count: int) -> None:
    """Moments within 4.5 standard errors and Kolmogorov-Smirnov; an odd count leaves nothing out."""
    draws = random.normal(random.keys("init", list(range(20)), "hidden 0"), count)
    assert draws.shape == (20, count) and draws.dtype == torch.float64
    every = draws.flatten().numpy()
    n = len(every)
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((every**power).mean() - mean) < 4.5 * (variance / n) ** 0.5
    assert stats.kstest(every, "norm").pvalue > 1e-4
    assert min(stats.kstest(row.numpy(), "norm").pvalue for row in draws) > 1e-4 / 20
    assert 4 < np.abs(every).max() < 6.8
    half = (count + 1) // 2
    paired = [z(row[: count - half], row[half:]) for row in draws] + [z(row[1:], row[:-1]) for row in draws]
    squares = [z(row[: count - half] ** 2, row[half:] ** 2) for row in draws]
    assert_uncorrelated([*paired, *squares])


def test_the_stream_is_the_one_that_stored_results_came_from() -> None:
    """Golden values: whoever changes them renames what every trial means, and must raise revisions."""
    assert random.key("init", 0, "hidden 0") == (3802894534, 1280068901)
    assert random.key("order", 2**63 - 1, "population") == (791577002, 3460350291)
    keys = random.keys("dropout", [0, 2**63 - 1], "hidden 0")
    assert keys.flatten().tolist() == [3841294040, 1805586319, 3708227043, 2619585788]
    assert random.counters(4).tolist() == [0, 506952113, 1013904226, 1520856339]
    assert words(keys, random.counters(4)).tolist() == [
        [237068438, 931035992, 3725074633, 2266338545],
        [1201886200, 2808923871, 963670940, 3279512534],
    ]
    advanced = random.step_keys(keys, torch.tensor(1000))
    assert advanced.flatten().tolist() == [3760006200, 2045219983, 3893335859, 2841832988]
    assert words(advanced, random.counters(3)).tolist() == [
        [269712265, 1895344527, 963028040],
        [2470666260, 2503233041, 1660513002],
    ]
    many = words(random.step_keys(keys, torch.tensor(12345)), random.counters(10_000)).numpy()
    digest = hashlib.sha256(many.astype("<u4").tobytes()).hexdigest()
    assert digest == "4beabe02e6e396ba56047ded52ea243c1128aa8c6141c30c70746b4731265026"
    assert random.permutation(random.keys("order", [0], 0), 10).tolist() == [[2, 3, 9, 1, 6, 4, 5, 0, 8, 7]]
    normal = random.normal(random.keys("init", [0], "output"), 5)[0].tolist()
    expected = [
        1.0347866409746456,
        0.6425520239731862,
        -0.04717563797084822,
        0.48264642395522844,
        1.4005384265464411,
    ]
    assert normal == pytest.approx(expected, rel=1e-14)
