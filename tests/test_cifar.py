"""CIFAR's binary version, in small files of the true format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bnexp.data.cifar import Cifar, Cifar10, Cifar100, read_records
from bnexp.data.dataset import source
from bnexp.errors import DatasetError
from tests.attacks import strange

Bytes = npt.NDArray[np.uint8]
KINDS = [Cifar10, Cifar100]


def write(folder: Path, kind: type[Cifar]) -> dict[str, tuple[Bytes, Bytes]]:
    """Sound files of 3 to 8 images; the images [N, 32, 32, 3] and labels in each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, written = np.random.default_rng(0), {}
    for count, name in enumerate(kind.files, 3):
        images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
        labels = rng.integers(0, kind.classes, count, np.uint8)
        content = b""
        for image, label in zip(images, labels, strict=True):
            content += b"\xff" * (kind.labels - 1) + bytes([label])  # of a coarse label, nothing is asked
            content += b"".join(image[:, :, colour].tobytes() for colour in range(3))
        (folder / name).write_bytes(content)
        written[name] = images, labels
    return written


@pytest.mark.parametrize("unpacked", [False, True], ids=["own name", "as unpacked"])
@pytest.mark.parametrize("kind", KINDS)
def test_records_are_read_as_images_and_fine_labels(kind: type[Cifar], unpacked: bool, tmp_path: Path) -> None:
    folder = tmp_path / (kind.unpacked if unpacked else kind.name)
    written = write(folder, kind)
    found = source(kind.name, tmp_path)
    assert isinstance(found, kind) and found.where() == folder
    data = found.read()
    assert isinstance(data.images, np.ndarray) and data.images.flags.c_contiguous
    assert (data.name, data.classes, data.scale) == (kind.name, kind.classes, 255.0)
    train = [written[name] for name in kind.files[:-1]]
    assert np.array_equal(data.images, np.concatenate([images for images, _ in train]))
    assert np.array_equal(data.labels, np.concatenate([labels for _, labels in train]))
    assert np.array_equal(data.test_images, written[kind.files[-1]][0])
    assert np.array_equal(data.test_labels, written[kind.files[-1]][1])
    assert data.labels.dtype == data.test_labels.dtype == np.int64 and data.images.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS)
def test_the_fingerprint_is_of_what_is_used(kind: type[Cifar], tmp_path: Path) -> None:
    """Another pixel or label of any file changes it; another coarse label does not, nor another folder's name."""
    write(tmp_path / kind.name, kind)
    before = kind([tmp_path]).fingerprint()
    write(tmp_path / "other" / kind.unpacked, kind)
    assert kind([tmp_path / "other"]).fingerprint() == before
    for name in kind.files:
        path = tmp_path / kind.name / name
        sound = path.read_bytes()
        for place in range(kind.labels + 1):
            content = bytearray(sound)
            content[place] = 1 if content[place] != 1 else 2
            path.write_bytes(content)
            assert (kind([tmp_path]).fingerprint() == before) == (place < kind.labels - 1), (name, place)
        path.write_bytes(sound)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda content: content[:-1], "are not records of"),
    "longer": (lambda content: content + b"\0", "are not records of"),
    "empty": (lambda content: b"", "its 0 bytes are not records of"),
    "label": (lambda content: b"\x64\x64" + content[2:], "labels must be 0 to"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_that_names_the_file(kind: type[Cifar], damage: str, tmp_path: Path) -> None:
    change, said = DAMAGE[damage]
    for name in kind.files[-2:]:
        write(tmp_path / kind.name, kind)
        path = tmp_path / kind.name / name
        path.write_bytes(change(path.read_bytes()))
        for use in (kind([tmp_path]).read, kind([tmp_path]).fingerprint):
            with pytest.raises(DatasetError, match=said) as caught:
                use()
            assert str(path) in str(caught.value)


def test_what_is_no_file_or_endless_is_an_error(tmp_path: Path) -> None:
    for path in strange(tmp_path).values():
        with pytest.raises(DatasetError):
            read_records(path, 1)
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(3073 << 30)
    with pytest.raises(DatasetError, match="are not records"):
        read_records(huge, 1)


def test_a_folder_that_lacks_a_file_is_not_it_and_both_names_are_looked_for(tmp_path: Path) -> None:
    write(tmp_path / "cifar10", Cifar10)
    (tmp_path / "cifar10" / "data_batch_3.bin").unlink()
    with pytest.raises(DatasetError, match="not found") as caught:
        Cifar10([tmp_path]).read()
    for said in (tmp_path / "cifar10", tmp_path / "cifar-10-batches-bin", "cifar-10-binary.tar.gz", "--data-dir"):
        assert str(said) in str(caught.value)
