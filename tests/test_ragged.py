"""Pictures of different sizes in one flat array."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bnexp.data.dataset import Dataset
from bnexp.data.ragged import Ragged

SHAPES = [(4, 6), (5, 3), (1, 9), (7, 7)]


@pytest.fixture
def pictures() -> list[npt.NDArray[np.uint8]]:
    """Without zeros, so that a zero is none of their pixels."""
    rng = np.random.default_rng(0)
    return [rng.integers(1, 256, (*shape, 3), np.uint8) for shape in SHAPES]


def test_pictures_stand_in_the_corner_of_a_canvas_as_large_as_the_largest(
    pictures: list[npt.NDArray[np.uint8]],
) -> None:
    ragged = Ragged.packed(pictures)
    assert (len(ragged), ragged.channels, ragged.sizes.dtype) == (4, 3, np.int32)
    index = np.array([2, 0, 0, 1])
    canvas, sizes = ragged.canvas(index)
    assert canvas.shape == (4, 5, 9, 3) and canvas.dtype == np.uint8
    assert sizes.tolist() == [list(SHAPES[number]) for number in index] and sizes.dtype == np.int32
    for place, number in zip(canvas, index, strict=True):
        height, width = SHAPES[number]
        assert np.array_equal(place[:height, :width], pictures[number])
        assert np.count_nonzero(place) == pictures[number].size, "zeros elsewhere"


def test_a_selection_of_a_selection_is_read_as_the_pictures_themselves(
    pictures: list[npt.NDArray[np.uint8]],
) -> None:
    chosen = Ragged.packed(pictures)[np.array([3, 1, 0])][np.array([2, 0])]
    assert len(chosen) == 2
    for number, picture in enumerate((pictures[0], pictures[3])):
        assert np.array_equal(chosen.canvas(np.array([number]))[0][0], picture)


def test_none_is_an_empty_canvas(pictures: list[npt.NDArray[np.uint8]]) -> None:
    none = np.empty(0, np.int64)
    for ragged in (Ragged.packed(pictures), Ragged.packed([]), Ragged.packed(pictures)[none]):
        canvas, sizes = ragged.canvas(none)
        assert canvas.shape == (0, 0, 0, 3) and sizes.shape == (0, 2)


def test_a_selection_reads_nothing_of_a_mapped_file(tmp_path: Path) -> None:
    """The file is a terabyte of nothing, of which a picture at the end is read."""
    path, size = tmp_path / "pixels", 1 << 40
    with path.open("wb") as file:
        file.seek(size - 12)
        file.write(bytes(range(12)))
    pixels = np.memmap(path, np.uint8, "r")
    sizes = np.array([[500_000, 600_000], [2, 2]], np.int32)
    ragged = Ragged(pixels, sizes, np.array([0, size - 12]))
    canvas, _ = ragged[np.array([0, 1])].canvas(np.array([1]))
    assert canvas.ravel().tolist() == list(range(12))


def test_a_dataset_of_them_is_cut_as_one_of_an_array_is(pictures: list[npt.NDArray[np.uint8]]) -> None:
    labels = np.arange(30) % 10
    ragged = Ragged.packed(pictures)[np.arange(30) % 4]
    kinds = [(ragged, ragged[np.arange(5)])]
    kinds += [(np.zeros((30, *shape), np.uint8), np.zeros((5, *shape), np.uint8)) for shape in ((2, 2), (2, 2, 3))]
    cuts = [Dataset("x", 10, 255.0, images, labels, test, labels[:5]).split(3) for images, test in kinds]
    for train, validation in cuts:
        assert np.array_equal(train, cuts[0][0]) and np.array_equal(validation, cuts[0][1])
    train, validation = cuts[0]
    assert sorted([*train, *validation]) == list(range(30))
    assert len(ragged[train]) == 25 and len(ragged[validation]) == 5
