"""Dataset files that are damaged, or attacks: a dataset error each, at once, and without the memory they ask for."""

import gzip
import os
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.data.cifar import Cifar100
from bnexp.data.dataset import source
from bnexp.data.digits import Digits
from bnexp.data.idx import Mnist, read_idx
from bnexp.data.ragged import Ragged
from bnexp.errors import BnexpError, DatasetError
from tests.attacks import QUICK, idx, invoke, strange, write_mnist
from tests.conftest import TINY
from tests.pictures import write_folder

BAD_IDX: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not an IDX file"),
    "wrong magic": (b"\0\0\x09\x01" + idx(40)[4:], "not an IDX file of 1 dimensions"),
    "other dimensions": (idx(40, 1), "not an IDX file of 1 dimensions"),
    "half a header": (idx(40)[:6], "cannot be read"),
    "cut": (idx(40)[:-1], "announces 40 bytes, and it has fewer"),
    "longer": (idx(40) + b"\0", "announces 40 bytes, and it has more"),
    "4 GB announced": (idx(2**32 - 1, content=bytes(9)), "announces 4,294,967,295 bytes, and it has fewer"),
    "none": (idx(0), "announces 0 bytes"),
    "labels out of range": (idx(40, content=bytes(39) + b"\x0a"), "labels must be 0 to 9, not 10"),
    "fewer labels": (idx(39), "40 train images but 39 labels"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", BAD_IDX)
def test_damaged_labels_are_a_dataset_error(what: str, packed: bool, tmp_path: Path) -> None:
    content, said = BAD_IDX[what]
    path = write_mnist(tmp_path) / "train-labels-idx1-ubyte"
    path.unlink()
    path.with_name(path.name + ".gz" * packed).write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DatasetError, match=said):
        Mnist([tmp_path]).read()


def test_sizes_that_no_memory_has_are_a_dataset_error(tmp_path: Path) -> None:
    path = tmp_path / "images"
    for sizes in ((2**32 - 1, 0, 2**32 - 1), (2**32 - 1, 2**32 - 1, 2**32 - 1), (2**16, 2**16, 2), (0, 0, 0)):
        path.write_bytes(idx(*sizes, content=b""))
        with pytest.raises(DatasetError, match="announces"):
            read_idx(path, 3)


def peak(work: Callable[[], object]) -> int:
    """The most memory that it has at once, of what Python knows."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "labels.gz"
    bomb.write_bytes(gzip.compress(idx(40) + bytes(1 << 28), 1))
    with pytest.raises(DatasetError, match="it has more"):
        assert peak(lambda: read_idx(bomb, 1)) < 0
    bomb.write_bytes(gzip.compress(idx(2**32 - 1, content=bytes(100))))

    def read() -> None:
        with pytest.raises(DatasetError, match="it has fewer"):
            read_idx(bomb, 1)

    assert peak(read) < 20_000_000, "nothing is set aside for what a header announces"


def test_what_follows_a_gzip_file_is_not_read_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    for tail in (bytes(30 << 20), gzip.compress(b"x"), b"x"):
        path.write_bytes(gzip.compress(idx(40)) + tail)
        began = time.monotonic()
        with pytest.raises(DatasetError, match="something follows its end"):
            read_idx(path, 1)
        assert time.monotonic() - began < 2


def test_a_gzip_file_that_ends_early_or_lies_is_a_dataset_error(tmp_path: Path) -> None:
    path, whole = tmp_path / "labels.gz", gzip.compress(idx(40))
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(DatasetError, match=r"cannot be read|not an IDX file"):
            read_idx(path, 1)
    path.write_bytes(whole[:-8] + bytes(8))
    with pytest.raises(DatasetError, match="incorrect data check"):
        read_idx(path, 1)


def test_a_dataset_file_that_is_no_file_is_a_dataset_error(tmp_path: Path) -> None:
    for path in strange(tmp_path).values():
        with pytest.raises(DatasetError):
            read_idx(path, 1)
    folder = write_mnist(tmp_path)
    (folder / "train-labels-idx1-ubyte").unlink()
    os.mkfifo(folder / "train-labels-idx1-ubyte")
    with pytest.raises(DatasetError, match="not found"):
        Mnist([tmp_path]).read()


@QUICK
@given(st.data())
def test_any_damage_to_a_dataset_is_an_error_or_other_data(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = write_mnist(tmp_path_factory.mktemp("damaged"), 12)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    packed = data.draw(st.booleans())
    content = bytearray(gzip.compress(path.read_bytes()) if packed else path.read_bytes())
    path.unlink()
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)):
        content[at] = byte
    path.with_name(path.name + ".gz" * packed).write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = Mnist([folder.parent]).read()
    except BnexpError:
        return
    assert found.labels.max() < 10 and len(found.images) == len(found.labels)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset that was prepared from pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    arguments = ("--name", "x", "--size", "8", "--workers", "1", "--data-dir", tmp_path_factory.mktemp("prepared"))
    assert invoke("data", "prepare", write_folder(folder, 3, 1, 2), *arguments).code == 0
    return Path(arguments[-1]) / "imagefolder" / "x"


@QUICK
@given(st.data())
def test_any_damage_to_prepared_pictures_is_an_error_or_other_data(
    prepared: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("damaged") / "imagefolder" / "x"))
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)):
        content[at] = byte
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2, 0]))])
    found = source("imagefolder/x", folder.parent.parent)
    try:
        read = found.read()
    except BnexpError:
        return
    assert isinstance(read.images, Ragged) and isinstance(read.test_images, Ragged)
    for images, labels in ((read.images, read.labels), (read.test_images, read.test_labels)):
        canvas, sizes = images.canvas(np.arange(len(images)))
        assert len(canvas) == len(labels) and sizes.min() == 8 and labels.max() < read.classes
    invoke("data", "check", "imagefolder/x", "--data-dir", folder.parent.parent)


@QUICK
@given(st.binary(max_size=200), st.integers(0, 4), st.integers(-2, 2))
def test_any_damage_to_cifar_is_an_error_or_other_data(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, records: int, more: int
) -> None:
    folder = tmp_path_factory.mktemp("cifar") / "cifar100"
    folder.mkdir()
    size = max(0, 3074 * records + more)
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes((start + bytes(size))[:size])
    try:
        found = Cifar100([folder.parent]).read()
    except BnexpError:
        return
    assert found.labels.max() < 100 and len(found.images) == len(found.labels) == records


@pytest.mark.parametrize(
    "line", [b"a," * 64 + b"1", b"1," * 64 + b"10", b"1,2", b"-1," * 64 + b"1", b"\xff" * 9, b"1e9," * 64 + b"1"]
)
def test_digits_that_are_no_images_are_a_dataset_error(
    line: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress((line + b"\n") * 1797))
    monkeypatch.setattr(Digits, "where", lambda self: path)
    with pytest.raises(DatasetError, match="is damaged"):
        Digits([]).read()


def test_a_run_on_damaged_data_fails_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write_mnist(tmp_path) / "train-labels-idx1-ubyte").write_bytes(idx(40)[:-1])
    (tmp_path / "experiments.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    for command in ("run", "plan"):
        ended = invoke(command, "tiny", "--set", "dataset=mnist", "--data-dir", ".")
        assert ended.code == 1 and "announces 40 bytes, and it has fewer" in ended.err
    assert not (tmp_path / "bnexp.db").exists()
