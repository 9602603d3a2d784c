"""From pictures to inputs: boxes, crops and augmentation."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.nn.functional import grid_sample

from bnexp import random
from bnexp.data.augmentation import Augmentation, crop_boxes
from bnexp.data.boxes import Canvases, sample
from bnexp.data.crops import boxes, single
from bnexp.data.distortion import GREY, distort
from bnexp.data.pictures import Pictures, View, fixed
from bnexp.data.ragged import Ragged
from bnexp.options import CropAugmentOptions

CPU = torch.device("cpu")
SIZES = [(9, 14), (20, 7), (12, 12), (5, 5), (12, 30)]


def pixels(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def ragged() -> Ragged:
    return Ragged.packed([pixels(*size, 3, seed=place) for place, size in enumerate(SIZES)])


def canvases() -> Canvases:
    return Pictures(ragged(), np.arange(len(SIZES))).read(torch.arange(len(SIZES)))


def by_torch(picture_HWC: Tensor, box: list[float], mirrored: bool, size: tuple[int, int]) -> Tensor:
    """What torch's grid_sample makes of one box of a picture, in float64."""
    (top, left, tall, wide), (rows, columns) = box, size
    height, width, _ = picture_HWC.shape
    down = top + (torch.arange(rows).double() + 0.5) * tall / rows
    along = left + (torch.arange(columns).double() + 0.5) * wide / columns
    along = along.flip(0) if mirrored else along
    grid = torch.stack(
        [(2 * along / width - 1).expand(rows, -1), (2 * down / height - 1)[:, None].expand(-1, columns)], dim=2
    )
    picture = picture_HWC.double().permute(2, 0, 1)[None]
    [found] = grid_sample(picture, grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    return found.permute(1, 2, 0)


@pytest.mark.parametrize("size", [(8, 8), (5, 11), (1, 1), (40, 33)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_are_what_torch_samples(size: tuple[int, int], mirrored: bool) -> None:
    """Boxes at any place, of any size, of pictures of different sizes, whose neighbours on the canvas are not seen."""
    pictures, rng = canvases(), np.random.default_rng(1)
    room = pictures.sizes.numpy()
    low, high = (np.sort(rng.random((2, *room.shape)), axis=0) * room).astype(float)
    asked = torch.tensor(np.concatenate([low, high - low], axis=1))
    found = sample(pictures, asked, torch.full((len(SIZES),), mirrored), size, torch.float64)
    for place, (height, width) in enumerate(SIZES):
        expected = by_torch(pictures.pixels[place, :height, :width], asked[place].tolist(), mirrored, size)
        torch.testing.assert_close(found[place], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_box_of_the_size_that_is_seen_is_cut_out_to_the_bit(dtype: torch.dtype) -> None:
    pictures = fixed(torch.from_numpy(pixels(3, 31, 29, 3)))
    asked = torch.tensor([[0, 0, 17, 13], [14, 16, 17, 13], [5, 9, 17, 13]], dtype=torch.float64)
    plain = sample(pictures, asked, None, (17, 13), dtype)
    turned = sample(pictures, asked, torch.tensor([True, False, True]), (17, 13), dtype)
    for place, (top, left) in enumerate([(0, 0), (14, 16), (5, 9)]):
        cut = pictures.pixels[place, top : top + 17, left : left + 13].to(dtype)
        assert torch.equal(plain[place], cut)
        assert torch.equal(turned[place], cut.flip(1) if place != 1 else cut)


def test_what_is_sampled_does_not_depend_on_its_company() -> None:
    """Nor on how large the canvas is."""
    pictures = canvases()
    asked = crop_boxes(pictures.sizes, torch.rand(4, len(SIZES), dtype=torch.float64), 0.3)
    together = sample(pictures, asked, None, (6, 6), torch.float32)
    source = Pictures(ragged(), np.arange(len(SIZES)))
    for place in range(len(SIZES)):
        lone = source.read(torch.tensor([place]))
        assert lone.pixels.shape[1:3] == SIZES[place]
        assert torch.equal(sample(lone, asked[[place]], None, (6, 6), torch.float32)[0], together[place])


def test_a_small_picture_beside_one_that_has_the_size_is_resampled() -> None:
    source = Pictures(Ragged.packed([pixels(6, 6, 3), pixels(4, 5, 3)]), np.arange(2))
    view = View((6, 6), 255.0, False, torch.float32)
    large, small = view.single(source.read(torch.arange(2)))
    assert torch.equal(large, torch.from_numpy(pixels(6, 6, 3)).flatten() / 255)
    assert torch.equal(small, view.single(source.read(torch.tensor([1])))[0])


@pytest.mark.parametrize(
    ("picture", "size", "box"),
    [
        ((256, 256), (224, 224), (16, 16, 224, 224)),
        ((300, 256), (224, 224), (38, 16, 224, 224)),
        ((256, 500), (224, 224), (16, 138, 224, 224)),
        ((512, 600), (224, 224), (32, 76, 448, 448)),
        ((224, 224), (224, 224), (0, 0, 224, 224)),
        ((28, 28), (28, 28), (0, 0, 28, 28)),
        ((32, 32), (28, 28), (2, 2, 28, 28)),
        ((8, 6), (8, 6), (0, 0, 8, 6)),
    ],
)
def test_the_single_crop_is_central(picture: tuple[int, int], size: tuple[int, int], box: tuple[int, ...]) -> None:
    [found] = single(torch.tensor([picture], dtype=torch.float64), size).tolist()
    assert found == list(box)


def cut(count: int, picture: tuple[int, int], size: int) -> list[tuple[tuple[float, ...], bool]]:
    found = boxes(count, torch.tensor([picture], dtype=torch.float64), (size, size))
    return [(tuple(box[0].tolist()), mirrored is not None and bool(mirrored[0])) for box, mirrored in found]


def test_ten_crops_are_corners_and_centre_and_mirrored() -> None:
    found = cut(10, (256, 300), 224)
    corners = [(0, 0), (0, 76), (32, 0), (32, 76), (16, 38)]
    assert sorted(found) == sorted(((*map(float, at), 224.0, 224.0), turned) for at in corners for turned in (0, 1))
    assert len(set(cut(10, (28, 28), 28))) == 10, "of a picture that is small already, too"


def test_144_crops_are_those_of_googlenet() -> None:
    """On a wide picture whose shorter side is 256: scale 1 by hand. All lie in the picture, and at every scale three
    squares, left, centre and right, are seen whole."""
    found = cut(144, (256, 400), 224)
    assert len(found) == 144
    assert sum(turned for _, turned in found) == 72
    assert len(set(found)) == 2 * (4 * 3 * 5 + 3), "a whole square is the same at every scale"
    first = {box for box, _ in found if box[2] == 224}
    by_hand = {(t, left + at, 224, 224) for left in (0, 72, 144) for t in (0, 32) for at in (0, 32)}
    assert first == by_hand | {(16, left + 16, 224, 224) for left in (0, 72, 144)}
    assert {box for box, _ in found if box[2] == 256} == {(0, left, 256, 256) for left in (0, 72, 144)}
    sides = sorted({box[2] for box, _ in found})
    assert sides == pytest.approx([256 * 224 / scale for scale in (352, 320, 288, 256)] + [256])
    for (top, left, tall, wide), _ in found:
        assert top >= 0 and left >= 0 and top + tall <= 256 and left + wide <= 400
    turned = cut(144, (400, 256), 224)
    assert {(left, top, wide, tall) for (top, left, tall, wide), _ in found} == {box for box, _ in turned}


def draws(count: int, streams: int = 1) -> Tensor:
    view = View((28, 28), 255.0, False, torch.float32)
    return Augmentation(CropAugmentOptions(), view, list(range(streams)), CPU).draws(count, torch.tensor(3))


@pytest.mark.parametrize("least", [0.08, 0.5])
@pytest.mark.parametrize("picture", [(28, 28), (100, 133), (90, 70)])
def test_crops_are_uniform_in_area_and_as_far_as_they_fit_in_aspect(picture: tuple[int, int], least: float) -> None:
    count = 20_000
    sizes = torch.tensor([picture], dtype=torch.float64).expand(count, 2)
    top, left, tall, wide = crop_boxes(sizes, draws(count)[:4], least).T.numpy()
    height, width = picture
    assert min(top.min(), left.min()) >= 0
    assert (top + tall).max() <= height + 1e-9 and (left + wide).max() <= width + 1e-9
    area = (tall * wide / (height * width) - least) / (1 - least)
    assert kstest(area, "uniform").pvalue > 1e-3
    aspect = wide / tall
    assert aspect.min() >= 0.75 - 1e-9 and aspect.max() <= 4 / 3 + 1e-9
    # Up to this area any aspect fits.
    free = tall * wide <= 0.75 * min(height, width) ** 2
    if free.sum() > 1000:
        assert kstest(np.log(aspect[free]) / np.log(4 / 3) / 2 + 0.5, "uniform").pvalue > 1e-3
    room = height - tall > 1
    assert kstest((top / np.maximum(height - tall, 1e-9))[room], "uniform").pvalue > 1e-3


def test_of_an_oblong_picture_the_largest_crops_are_of_the_nearest_aspect() -> None:
    asked = torch.tensor([[1.0], [0.5], [0.5], [0.5]], dtype=torch.float64)
    [[top, left, tall, wide]] = crop_boxes(torch.tensor([[30.0, 100.0]], dtype=torch.float64), asked, 0.08).tolist()
    assert (top, left, tall, wide) == pytest.approx((0, 30, 30, 40))


def test_draws_are_uniform_independent_and_keyed_by_seed_step_and_place() -> None:
    numbers = draws(10_000)
    assert all(kstest(row, "uniform").pvalue > 1e-3 for row in numbers)
    assert float((torch.corrcoef(numbers) - torch.eye(8)).abs().max()) < 0.05
    assert float((numbers[4] < 0.3).double().mean()) == pytest.approx(0.3, abs=0.02)
    several = draws(300, streams=3)
    assert torch.equal(several[:, :100], draws(100)), "stream 0 alone"
    assert torch.equal(several[:, :40], draws(40)), "a smaller batch"
    assert not torch.equal(several[:, :100], several[:, 100:200])


def test_distortion_multiplies_brightness_contrast_and_colour() -> None:
    """One at a time against its definition, all of them to what they leave alone, and within [0, 1]."""
    x = torch.rand(4, 5, 6, 3, dtype=torch.float64) / 2 + 0.25
    one = torch.ones(4, dtype=torch.float64)
    half = one / 2
    torch.testing.assert_close(distort(x, torch.stack([half, one, one])), x / 2)
    mean = x.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(distort(x, torch.stack([one, half, one])), (x + mean) / 2)
    grey = (x * torch.tensor(GREY, dtype=torch.float64)).sum(3, keepdim=True)
    torch.testing.assert_close(distort(x, torch.stack([one, one, half])), (x + grey) / 2)
    torch.testing.assert_close(distort(x, torch.stack([one, one, 0 * one])), grey.expand_as(x))
    strong = distort(x, torch.stack([1.9 * one, 1.9 * one, 1.9 * one]))
    assert float(strong.min()) >= 0 and float(strong.max()) == 1
    plain = x[..., :1]
    torch.testing.assert_close(distort(plain, torch.stack([one, one, half])), plain)


def test_an_augmentation_that_does_nothing_leaves_pictures_as_they_are() -> None:
    options = CropAugmentOptions(area=1.0, flip=0.0, photometric=0.0)
    pictures = fixed(torch.from_numpy(pixels(6, 28, 28, 1)))
    view = View((28, 28), 255.0, False, torch.float32)
    found = Augmentation(options, view, [5, 6], CPU)(pictures, torch.tensor(1))
    assert torch.equal(found, view.single(pictures).view(2, 3, 784))


def test_augmentation_flips_its_share_and_obeys_binarize() -> None:
    ramp = torch.arange(28, dtype=torch.uint8).expand(1000, 28, 28)[..., None]
    view = View((28, 28), 27.0, False, torch.float32)
    found = Augmentation(CropAugmentOptions(flip=0.3), view, [1], CPU)(fixed(ramp), torch.tensor(1)).view(-1, 28, 28)
    assert float((found[:, 0, 0] > found[:, 0, -1]).double().mean()) == pytest.approx(0.3, abs=0.05)
    binary = View((28, 28), 27.0, True, torch.float32)
    black = Augmentation(CropAugmentOptions(), binary, [1], CPU)(fixed(ramp), torch.tensor(1))
    assert set(black.unique().tolist()) == {0.0, 1.0}


def test_an_example_is_augmented_alike_in_any_company() -> None:
    """Streams alone and together, bit for bit, and otherwise at another step and under another seed."""
    pictures = fixed(torch.from_numpy(pixels(3 * 7, 13, 11, 3)))
    view, options = View((9, 9), 255.0, False, torch.float32), CropAugmentOptions()
    seeds, step = [3, 2**40, 8], torch.tensor(17)
    together = Augmentation(options, view, seeds, CPU)(pictures, step)
    for place, seed in enumerate(seeds):
        own = fixed(pictures.pixels[7 * place : 7 * place + 7])
        assert torch.equal(Augmentation(options, view, [seed], CPU)(own, step)[0], together[place])
        assert not torch.equal(Augmentation(options, view, [seed], CPU)(own, step + 1)[0], together[place])
        assert not torch.equal(Augmentation(options, view, [seed + 1], CPU)(own, step)[0], together[place])
    assert random.keys("augment", seeds).shape == (2, 3, 1)
