"""Datasets: what is in them, how they are cut, and what is said of a file that is not what it should be."""

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bnexp.config import TrialConfig
from bnexp.data.batches import to_device
from bnexp.data.dataset import SYSTEM_FOLDER, Dataset, search_folders, source, sources
from bnexp.data.digits import Digits
from bnexp.data.idx import FashionMnist, Idx, Mnist, read_idx
from bnexp.data.loading import data_key, load
from bnexp.errors import DatasetError

Bytes = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return Digits([]).read()


def multiset(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> list[bytes]:
    rows = np.column_stack([images.reshape(len(images), -1), labels]).astype(np.uint8)
    return sorted(bytes(row) for row in rows)


def test_digits_are_those_of_scikit_learn(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    images = np.concatenate([digits.images, digits.test_images])
    labels = np.concatenate([digits.labels, digits.test_labels])
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    assert multiset(images, labels) == multiset(theirs.images.astype(np.uint8), theirs.target)
    assert (digits.classes, digits.scale, images.max()) == (10, 16.0, 16)


def test_digits_have_1077_training_360_validation_and_360_test_examples(digits: Dataset) -> None:
    train, validation = digits.split(0)
    assert (len(train), len(validation), len(digits.test_images)) == (1077, 360, 360)


def test_digits_on_the_device_are_scaled_flat_and_cut_as_the_split_says(digits: Dataset) -> None:
    data = to_device(digits, 3, torch.float64, torch.device("cpu"))
    train, validation = digits.split(3)
    for part, order in ((data.train, train), (data.validation, validation)):
        assert torch.equal(part.x * 16, torch.tensor(digits.images[order]).double().flatten(1))
        assert part.y.tolist() == digits.labels[order].tolist()
    assert (data.shape, data.classes, len(data.test)) == ((8, 8, 1), 10, 360)
    assert float(data.train.x.min()) == 0 and float(data.train.x.max()) == 1
    assert all(len(part.y.unique()) == 10 for part in (data.train, data.validation, data.test))


def test_binary_images_are_1_above_half_of_the_largest_value(digits: Dataset) -> None:
    """Half itself, 8 of 16, is 0; the examples and their order stay."""
    plain, binary = (to_device(digits, 3, torch.float32, torch.device("cpu"), binarize) for binarize in (False, True))
    for grey, black in ((plain.train, binary.train), (plain.validation, binary.validation), (plain.test, binary.test)):
        assert torch.equal(black.x, (grey.x * 16 >= 9).float()) and torch.equal(black.y, grey.y)
        assert (grey.x == 0.5).any()


@pytest.mark.parametrize(
    "other",
    [
        {"split": 1},
        {"precision": "float64"},
        {"binarize": True},
        {"dataset": "mnist"},
        {"image_size": 16},
        {"augment": "crop"},
        {"crops": 10},
    ],
    ids=str,
)
def test_trials_share_loaded_data_only_where_their_data_are_the_same(other: dict[str, Any]) -> None:
    base = TrialConfig()
    assert data_key(base) == data_key(TrialConfig.model_validate({"seed": 3, "steps": 7, "norm": "batch"}))
    assert data_key(base) != data_key(TrialConfig.model_validate(other))
    assert data_key(TrialConfig(crops=10)) == data_key(TrialConfig.model_validate({"augment": "crop"}))


def test_what_is_loaded_is_what_the_configuration_says(digits: Dataset) -> None:
    config = TrialConfig.model_validate({"split": 3, "precision": "float64", "binarize": True})
    found = load(config, None, torch.device("cpu"))
    expected = to_device(digits, 3, torch.float64, torch.device("cpu"), binarize=True)
    assert found.train.x.dtype == torch.float64 and torch.equal(found.train.x, expected.train.x)
    assert torch.equal(found.test.y, expected.test.y)


def test_splits_are_disjoint_covering_and_different_by_number(digits: Dataset) -> None:
    cuts = [digits.split(number) for number in (0, 1, 2, 2**31 - 1)]
    for train, validation in cuts:
        assert sorted([*train, *validation]) == list(range(len(digits.images)))
    assert len({frozenset(validation.tolist()) for _, validation in cuts}) == len(cuts)
    first, second = (set(validation.tolist()) for _, validation in cuts[:2])
    assert 60 <= len(first & second) <= 120, "two random quarters of 1437 share about 90"


def test_the_cut_is_the_one_that_stored_results_came_from(digits: Dataset) -> None:
    """Golden hashes: of the order that every split is cut from, of the test set, and of the content."""

    def digest(array: npt.NDArray[np.generic]) -> str:
        return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

    train, validation = digits.split(0)
    order = np.concatenate([validation, train]).astype("<i4")
    assert digest(order) == "41595d8b66ec4f7aa137228d5c0209c448c1f9e702e38377c05e87b05839251b"
    assert digest(digits.test_images) == "c9c29853173e7c88706cbeadd51d1e659fb4dbca70b7e5099b10a20310bed1c2"
    assert Digits([]).fingerprint() == "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"


def test_validation_is_as_large_as_test_but_never_most_of_the_examples() -> None:
    def sizes(count: int, test: int) -> tuple[int, int]:
        images = np.zeros((count, 1, 1), np.uint8)
        labels = np.zeros(count, np.int64)
        train, validation = Dataset("x", 10, 255.0, images, labels, images[:test], labels[:test]).split(0)
        return len(train), len(validation)

    assert sizes(60_000, 10_000) == (50_000, 10_000)
    assert sizes(1000, 100) == (900, 100)
    assert sizes(400, 399) == (267, 133)
    assert sizes(100_000, 50_000) == (90_000, 10_000)


@pytest.mark.parametrize(
    "content", [b"not gzip", gzip.compress(b"1,2\n" * 1000, mtime=0)[:-9], b""], ids=["other", "cut", "empty"]
)
def test_damaged_digits_are_a_dataset_error(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_damage_is_named(content, tmp_path, monkeypatch)


def test_digits_damaged_inside_are_a_dataset_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed block whose type does not exist, which zlib itself refuses."""
    whole = gzip.compress(b"1,2\n" * 1000)
    assert_damage_is_named(whole[:10] + b"\xff" * 8 + whole[18:], tmp_path, monkeypatch)


def assert_damage_is_named(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "digits.csv.gz"
    path.write_bytes(content)
    monkeypatch.setattr(Digits, "where", lambda self: path)
    with pytest.raises(DatasetError, match=path.name):
        Digits([]).fingerprint()


def test_absent_digits_are_a_dataset_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Digits, "where", lambda self: None)
    with pytest.raises(DatasetError, match="digits: not found; pip install scikit-learn"):
        Digits([]).read()


def idx(array: Bytes) -> bytes:
    """`array` as an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small_set() -> dict[str, Bytes]:
    """40 and 20 images of 4 x 3 pixels, by file."""
    rng = np.random.default_rng(0)
    arrays = []
    for size in (40, 20):
        arrays += [rng.integers(0, 256, (size, 4, 3), np.uint8), np.arange(size, dtype=np.uint8) % 10]
    return dict(zip(Idx.files, arrays, strict=True))


@pytest.fixture(params=["", ".gz"], ids=["plain", "gz"])
def ending(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def folder(tmp_path: Path, ending: str) -> Path:
    """A folder `mnist` with four sound files, found under `tmp_path`."""
    for name, array in small_set().items():
        write(tmp_path / "mnist" / f"{name}{ending}", idx(array))
    return tmp_path / "mnist"


def test_idx_files_are_read_as_they_stand(folder: Path) -> None:
    found, expected = Mnist([folder.parent]), small_set()
    data = found.read()
    assert found.where() == folder
    assert (data.name, data.classes, data.scale) == ("mnist", 10, 255.0)
    parts: list[npt.NDArray[Any]] = [data.images, data.labels, data.test_images, data.test_labels]
    for part, name in zip(parts, Idx.files, strict=True):
        assert np.array_equal(part, expected[name])
    assert data.labels.dtype == np.int64 and data.images.dtype == np.uint8
    on_device = to_device(data, 0, torch.float32, torch.device("cpu"))
    assert (len(on_device.train), len(on_device.validation), len(on_device.test)) == (27, 13, 20)
    assert on_device.train.x.shape == (27, 12)


def test_the_fingerprint_is_of_the_content_not_of_its_packing(tmp_path: Path) -> None:
    """Plain and gzipped files have one fingerprint; another pixel, label or shape has another."""
    prints = []
    changed = dict(small_set())
    changed[Idx.files[0]] = changed[Idx.files[0]].copy()
    changed[Idx.files[0]][3, 2, 1] ^= 1
    turned = {name: array.reshape(len(array), *array.shape[:0:-1]) for name, array in small_set().items()}
    cases = [(small_set(), ""), (small_set(), ".gz"), (changed, ""), (turned, "")]
    for number, (arrays, ending) in enumerate(cases):
        for name, array in arrays.items():
            write(tmp_path / str(number) / "mnist" / f"{name}{ending}", idx(array))
        prints.append(Mnist([tmp_path / str(number)]).fingerprint())
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def cut(content: bytes) -> bytes:
    return content[:-1]


def too_long(content: bytes) -> bytes:
    return content + b"\0"


def header_only(content: bytes) -> bytes:
    return content[:6]


def empty(content: bytes) -> bytes:
    return b""


def not_idx(content: bytes) -> bytes:
    return b"\x89PNG" + content[4:]


def other_type(content: bytes) -> bytes:
    return b"\0\0\x0d" + content[3:]


def other_dimensions(content: bytes) -> bytes:
    return content[:3] + bytes([content[3] + 1]) + content[4:]


def huge(content: bytes) -> bytes:
    return content[:4] + b"\xff" * 4 * content[3]


def large(content: bytes) -> bytes:
    return content[:4] + struct.pack(">I", 1 << 29) + content[8:]


@pytest.mark.parametrize(
    "damage", [cut, too_long, header_only, empty, not_idx, other_type, other_dimensions, huge, large]
)
@pytest.mark.parametrize("name", [Idx.files[0], Idx.files[3]])
def test_a_file_that_is_not_as_announced_is_an_error_that_names_it(
    damage: Callable[[bytes], bytes], name: str, folder: Path, ending: str
) -> None:
    path = write(folder / f"{name}{ending}", damage(idx(small_set()[name])))
    with pytest.raises(DatasetError) as caught:
        Mnist([folder.parent]).read()
    assert str(path) in str(caught.value)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    content = idx(small_set()[Idx.files[1]])
    cases = {
        cut: "announces 40 bytes, and it has fewer",
        too_long: "announces 40 bytes, and it has more",
        not_idx: r"not an IDX file of 1 dimensions \(it begins 89504e47\)",
        huge: "announces 4,294,967,295 bytes",
    }
    for damage, message in cases.items():
        path = write(tmp_path / damage.__name__, damage(content))
        with pytest.raises(DatasetError, match=message):
            read_idx(path, 1)


def test_no_more_memory_is_taken_than_a_file_fills(folder: Path, ending: str) -> None:
    """A header that announces half a gigabyte over 40 bytes does not make the process so much larger."""
    import resource

    path = write(folder / f"{Idx.files[1]}{ending}", large(idx(small_set()[Idx.files[1]])))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DatasetError, match="fewer"):
        read_idx(path, 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("place", [0, 2, 12, -6, -1])
def test_damaged_gzip_is_an_error_that_names_the_file(place: int, tmp_path: Path) -> None:
    """In the magic, the method, the deflate stream, the checksum and the length."""
    path = write(tmp_path / "labels.gz", idx(small_set()[Idx.files[1]]))
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DatasetError) as caught:
        read_idx(path, 1)
    assert str(path) in str(caught.value)


def test_truncated_gzip_and_gzip_with_a_tail_are_errors(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.gz", idx(small_set()[Idx.files[1]]))
    whole = path.read_bytes()
    for content in (whole[:-9], whole[:-3], whole[:12], whole[:5], b"", whole + b"tail", whole + whole):
        path.write_bytes(content)
        with pytest.raises(DatasetError) as caught:
            read_idx(path, 1)
        assert str(path) in str(caught.value)


def test_plain_bytes_named_gz_and_a_folder_in_a_files_place_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(idx(small_set()[Idx.files[1]]))
    (tmp_path / "folder").mkdir()
    for odd in (path, tmp_path / "folder", tmp_path / "absent"):
        with pytest.raises(DatasetError) as caught:
            read_idx(odd, 1)
        assert str(odd) in str(caught.value)


@pytest.mark.parametrize("name", [Idx.files[1], Idx.files[3]])
@pytest.mark.parametrize("wrong", ["label 10", "label 255", "one more", "one less", "none"])
def test_labels_that_do_not_fit_are_an_error_that_names_the_place(
    wrong: str, name: str, folder: Path, ending: str
) -> None:
    labels = small_set()[name].copy()
    if wrong.startswith("label"):
        labels[7] = int(wrong.split()[1])
    lengths = {"one more": np.append(labels, labels[:1]), "one less": labels[1:], "none": labels[:0]}
    write(folder / f"{name}{ending}", idx(lengths.get(wrong, labels)))
    with pytest.raises(DatasetError) as caught:
        Mnist([folder.parent]).read()
    assert str(folder) in str(caught.value)


def test_empty_sets_and_images_of_two_shapes_are_errors(folder: Path, ending: str) -> None:
    for name in Idx.files[2:]:
        write(folder / f"{name}{ending}", idx(small_set()[name][:0]))
    with pytest.raises(DatasetError, match="announces 0 bytes"):
        Mnist([folder.parent]).read()
    for name in Idx.files[2:]:
        array = small_set()[name]
        write(folder / f"{name}{ending}", idx(array[:, :2] if array.ndim == 3 else array))
    with pytest.raises(DatasetError, match="images are"):
        Mnist([folder.parent]).read()


def test_the_first_folder_with_all_four_files_is_taken(folder: Path, tmp_path: Path, ending: str) -> None:
    (tmp_path / "partial" / "mnist").mkdir(parents=True)
    write(tmp_path / "partial" / "mnist" / f"{Idx.files[0]}{ending}", b"damaged")
    places = [tmp_path / "absent", tmp_path / "partial", folder.parent]
    assert Mnist(places).where() == folder
    assert Mnist(places[:2]).where() is None
    with pytest.raises(DatasetError) as caught:
        Mnist(places[:2]).read()
    assert all(str(place / "mnist") in str(caught.value) for place in places[:2])
    assert "--data-dir" in str(caught.value)
    assert f"{places[1] / 'mnist'}, which lacks {' and '.join(Idx.files[1:])})" in str(caught.value)


def test_folders_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNEXP_DATA", str(tmp_path / "env"))
    assert search_folders(tmp_path) == [tmp_path, tmp_path / "env", SYSTEM_FOLDER]
    monkeypatch.delenv("BNEXP_DATA")
    assert search_folders(None) == [SYSTEM_FOLDER]
    assert [made.name for made in sources(tmp_path)] == [
        "cifar10",
        "cifar100",
        "digits",
        "fashion-mnist",
        "mnist",
    ]


@pytest.mark.skipif(not (SYSTEM_FOLDER / "fashion-mnist").is_dir(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_the_real_one() -> None:
    found = source("fashion-mnist")
    assert isinstance(found, FashionMnist) and found.where() is not None
    data = found.read()
    assert data.images.shape == (60_000, 28, 28) and data.test_images.shape == (10_000, 28, 28)
    assert np.bincount(data.labels).tolist() == [6000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    assert (data.images.min(), data.images.max()) == (0, 255)
    assert tuple(map(len, data.split(0))) == (50_000, 10_000)
