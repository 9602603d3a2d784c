"""Folders of pictures: which are found, how one is decoded, and the dataset that is made of them."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnexp.config import TrialConfig
from bnexp.data.dataset import keyed_order, source, sources
from bnexp.data.imagefolder.index import INDEX, LABELS, PIXELS, SIZES
from bnexp.data.imagefolder.layout import find
from bnexp.data.imagefolder.pictures import read_picture
from bnexp.data.imagefolder.prepared import ImageFolder
from bnexp.data.ragged import Ragged
from bnexp.errors import DatasetError
from tests.attacks import invoke
from tests.pictures import write_folder, write_picture

SIZE = 8


# What is found in a folder.


@pytest.mark.parametrize("test", ["val", "validation", "test"])
def test_pictures_are_found_by_set_class_and_name(test: str, tmp_path: Path) -> None:
    for name in ("train/b/2.jpg", "train/b/10.JPG", "train/a/x.png", f"{test}/b/y.webp", "train/b/.hidden.jpg"):
        write_picture(tmp_path / name, 3, 3)
    (tmp_path / "train" / "b" / "readme.txt").write_text("none")
    found = find(tmp_path)
    assert found.classes == ("a", "b") and found.test_folder == test and found.train == 3
    assert found.paths == ["train/a/x.png", "train/b/10.JPG", "train/b/2.jpg", f"{test}/b/y.webp"]
    assert found.labels.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("inner", ["", "train"])
def test_of_a_folder_without_a_test_set_a_keyed_sixth_becomes_it(inner: str, tmp_path: Path) -> None:
    names = [f"{name}/{number:02}.ppm" for name in ("a", "b") for number in range(10)]
    for name in names:
        write_picture(tmp_path / inner / name, 1, 1)
    found = find(tmp_path)
    held_out = sorted(keyed_order(20, "imagefolder test")[:3].tolist())
    expected = [names[number] for number in range(20) if number not in held_out] + [names[n] for n in held_out]
    assert found.paths == [str(Path(inner) / name) for name in expected]
    assert (found.train, found.test_folder) == (17, None)
    assert held_out == [3, 7, 15], "the cut that stored results came from"


def test_the_digest_is_of_names_sets_and_sizes(tmp_path: Path) -> None:
    write_folder(tmp_path / "a")
    before = find(tmp_path / "a").digest
    assert find(shutil.copytree(tmp_path / "a", tmp_path / "b")).digest == before
    with (tmp_path / "b" / "val" / "class1" / "000.png").open("ab") as file:
        file.write(b"x")
    (tmp_path / "a" / "train" / "class0" / "000.png").rename(tmp_path / "a" / "train" / "class0" / "00.png")
    assert len({before, find(tmp_path / "a").digest, find(tmp_path / "b").digest}) == 3


def test_folders_that_are_no_dataset_are_refused(tmp_path: Path) -> None:
    def refuse(said: str) -> None:
        with pytest.raises(DatasetError, match=said) as caught:
            find(tmp_path / "x")
        assert str(tmp_path / "x") in str(caught.value)

    refuse("cannot be read")
    write_picture(tmp_path / "x" / "a" / "1.png")
    refuse("1 class folders")
    (tmp_path / "x" / "b").mkdir()
    refuse(r"b: has no pictures \(their names end in .bmp")
    write_picture(tmp_path / "x" / "b" / "1.png")
    refuse("too few pictures for a training and a test set")
    write_folder(tmp_path / "x")
    write_picture(tmp_path / "x" / "val" / "other" / "1.png")
    refuse("is a class that the training pictures do not have")


@pytest.mark.parametrize("place", ["train/a\udcff", "train/a"])
def test_names_that_cannot_be_written_down_are_refused_at_once(place: str, tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "val/b/1.png", f"{place}/\udcff.png"):
        write_picture(tmp_path / name)
    ended = invoke("data", "prepare", tmp_path, "--data-dir", tmp_path, "--name", "x")
    assert ended.code == 1 and "name is not UTF-8; rename it" in ended.err


def test_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "x.tiff")
    with pytest.raises(DatasetError, match=r"x\.tiff: holds floating-point numbers"):
        read_picture(tmp_path / "x.tiff", tmp_path, 8)


def test_a_class_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "x")
    (tmp_path / "x" / "train" / "class9").symlink_to(tmp_path / "x" / "train" / "class0")
    assert len(find(tmp_path / "x").classes) == 4, "one within it is not"
    write_picture(tmp_path / "secret" / "1.png")
    (tmp_path / "x" / "train" / "class8").symlink_to(tmp_path / "secret")
    with pytest.raises(DatasetError, match="class8: is a link that leads out of"):
        find(tmp_path / "x")


# One picture.


def read(path: Path, size: int) -> np.ndarray:
    return read_picture(path, path.parent.resolve(), size)


def test_a_picture_of_the_wanted_size_is_kept_as_it_is(tmp_path: Path) -> None:
    for name in ("x.png", "x.bmp", "x.tiff", "x.ppm"):
        path = write_picture(tmp_path / name, 8, 12)
        assert np.array_equal(read(path, 8), np.asarray(Image.open(path)))


@pytest.mark.parametrize(
    ("stored", "kept"),
    [((20, 30), (8, 12)), ((30, 20), (12, 8)), ((5, 5), (8, 8)), ((10, 13), (8, 10)), ((10, 90), (8, 16)),
     ((1, 1), (8, 8)), ((90, 10), (16, 8)), ((2000, 3000), (8, 12))],
)  # fmt: skip
def test_the_shorter_side_gets_the_size_and_the_longer_at_most_twice_that(
    stored: tuple[int, int], kept: tuple[int, int], tmp_path: Path
) -> None:
    assert read(write_picture(tmp_path / "x.png", *stored), 8).shape == (*kept, 3)
    assert read(write_picture(tmp_path / "x.jpg", *stored), 8).shape == (*kept, 3)


def test_of_a_long_picture_the_middle_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((8, 48, 3), np.uint8)
    pixels[:, 16:32] = np.arange(16)[:, None]
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert np.array_equal(read(tmp_path / "x.png", 8), pixels[:, 16:32])


def test_a_large_jpeg_is_decoded_small_and_looks_as_if_it_were_not(tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(small).resize((800, 800), Image.Resampling.BICUBIC)
    image.save(tmp_path / "x.jpg", quality=95)
    image.save(tmp_path / "x.png")
    jpeg, png = (read(tmp_path / name, 50).astype(int) for name in ("x.jpg", "x.png"))
    assert np.abs(jpeg - png).max() <= 8


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    """All eight orientations that a camera may write down."""
    upright = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    stored = [upright, upright[:, ::-1], upright[::-1, ::-1], upright[::-1]]
    stored += [turned.transpose(1, 0, 2) for turned in (upright, upright[:, ::-1], upright[::-1, ::-1], upright[::-1])]
    for orientation, pixels in zip(range(1, 9), stored, strict=True):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "x.png", exif=exif)
        assert np.array_equal(read(tmp_path / "x.png", 8), upright), orientation


def test_grey_pictures_palettes_and_transparency_become_red_green_and_blue(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    kinds = {
        "L": Image.fromarray(grey),
        "wide": Image.fromarray(grey.astype(np.uint16) << 8 | 7),
        "palette": Image.fromarray(grey).convert("P"),
        "LA": Image.fromarray(grey).convert("LA"),
        "RGBA": Image.fromarray(grey).convert("RGBA"),
    }
    for name, image in kinds.items():
        image.save(tmp_path / f"{name}.png")
        assert np.array_equal(read(tmp_path / f"{name}.png", 8), np.stack([grey] * 3, axis=2)), name
    Image.fromarray(np.stack([grey] * 4, axis=2), "CMYK").save(tmp_path / "x.jpg")
    assert read(tmp_path / "x.jpg", 8).shape == (8, 8, 3)


def test_without_pillow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "x")
    monkeypatch.setitem(sys.modules, "PIL", None)
    ended = invoke("data", "prepare", tmp_path / "x", "--data-dir", tmp_path)
    assert ended.code == 2 and "pip install 'bnexp[images]'" in ended.err


# The dataset.


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures") / "tiny")


@pytest.fixture(scope="module")
def prepared(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder under which imagefolder/tiny is."""
    data_dir = tmp_path_factory.mktemp("data")
    arguments = ("--size", str(SIZE), "--workers", "1", "--data-dir", data_dir)
    ended = invoke("data", "prepare", pictures, *arguments)
    assert ended.code == 0, ended.err
    assert "imagefolder/tiny: 18 pictures of 3 classes, 12 for training and 6 for testing" in ended.out
    assert "dataset: imagefolder/tiny" in ended.out and "sixth" not in ended.out
    assert "imagefolder/tiny: 18 pictures" in ended.err
    return data_dir


@pytest.fixture
def copied(prepared: Path, tmp_path: Path) -> Path:
    """One that may be damaged; the folder of the dataset itself."""
    return shutil.copytree(prepared / "imagefolder" / "tiny", tmp_path / "imagefolder" / "tiny")


def test_the_dataset_has_every_picture_with_its_label(pictures: Path, prepared: Path) -> None:
    data = source("imagefolder/tiny", prepared).read()
    assert (data.name, data.classes, data.scale) == ("imagefolder/tiny", 3, 255.0)
    assert data.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and data.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    listing = find(pictures)
    for images, paths in ((data.images, listing.paths[:12]), (data.test_images, listing.paths[12:])):
        assert isinstance(images, Ragged) and len(images) == len(paths) and images.channels == 3
        for number, path in enumerate(paths):
            canvas, sizes = images.canvas(np.array([number]))
            expected = read_picture(listing.root / path, listing.root, SIZE)
            assert np.array_equal(canvas[0], expected) and sizes.tolist() == [list(expected.shape[:2])]
    train, validation = data.split(0)
    assert (len(train), len(validation)) == (8, 4)


def test_what_is_in_the_folder_is_plain_arrays_and_an_index_of_them(prepared: Path) -> None:
    folder = prepared / "imagefolder" / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == [INDEX, LABELS, PIXELS, SIZES]
    index = json.loads((folder / INDEX).read_text())
    sizes = np.fromfile(folder / SIZES, "<i4").reshape(18, 2)
    pixels = (folder / PIXELS).read_bytes()
    assert len(pixels) == int(sizes.prod(axis=1).sum()) * 3 and (sizes.min(axis=1) == SIZE).all()
    assert np.fromfile(folder / LABELS, "<i8").tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0, 0, 1, 1, 2, 2]
    assert [piece["sha256"] for piece in index["pieces"]] == [hashlib.sha256(pixels).hexdigest()]
    assert index["classes"] == ["class0", "class1", "class2"] and (index["train"], index["test"]) == (12, 6)


def test_the_fingerprint_is_of_the_content_not_of_its_name_or_place(
    prepared: Path, pictures: Path, copied: Path
) -> None:
    before = source("imagefolder/tiny", prepared).fingerprint()
    copied.rename(copied.parent / "other.name_2")
    assert source("imagefolder/other.name_2", copied.parent.parent).fingerprint() == before
    again = copied.parent.parent
    for number, arguments in enumerate((["--size", "9"], ["--size", "8"])):
        changed = shutil.copytree(pictures, again / f"p{number}")
        if number:
            write_picture(changed / "val" / "class2" / "000.png", 8, 8, 77)
        assert invoke("data", "prepare", changed, "--workers", "1", "--data-dir", again, *arguments).code == 0
    others = [source(f"imagefolder/p{number}", again).fingerprint() for number in range(2)]
    assert len({before, *others}) == 3


def test_it_is_listed_checked_and_named_in_configurations(prepared: Path) -> None:
    assert [made.name for made in sources(prepared)][-1] == "imagefolder/tiny"
    listed = invoke("data", "list", "--data-dir", prepared).out
    assert "18 pictures of 3 classes, 8 pixels or more" in listed and str(prepared / "imagefolder" / "tiny") in listed
    assert "1 pieces have the checksums" in invoke("data", "check", "imagefolder/tiny", "--data-dir", prepared).out
    found = source("imagefolder/tiny", prepared)
    assert isinstance(found, ImageFolder) and (found.classes, found.margin) == (3, 0.5)
    assert TrialConfig(dataset="imagefolder/tiny").dataset == "imagefolder/tiny"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a/../b",
        ".hidden",
        "a..b",
        "a.",
        "a\n",
        "a b",
        "é",
        "x" * 100,
        "a\\b",
        "tiny/",
        "%2e",
    ],
)
def test_a_name_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such dataset"):
        TrialConfig(dataset=f"imagefolder/{name}")
    write_folder(tmp_path / "x")
    ended = invoke("data", "prepare", tmp_path / "x", "--data-dir", tmp_path, f"--name={name}")
    assert ended.code == 2 and "cannot be a dataset's name" in ended.err
    assert invoke("data", "check", f"imagefolder/{name}", "--data-dir", tmp_path).code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_unknown_dataset_is_told_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"known: .*imagefolder/NAME, mnist"):
        TrialConfig(dataset="imagefolder")
    ended = invoke("data", "check", "mnits")
    assert ended.code == 2 and "did you mean 'mnist'" in ended.err


def test_other_datasets_are_checked_by_reading_them() -> None:
    assert "1,437 training and 360 test examples" in invoke("data", "check", "digits").out


def test_a_dataset_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    found = source("imagefolder/none", tmp_path)
    for use in (found.read, found.fingerprint, lambda: found.classes):
        with pytest.raises(DatasetError, match=r"not found .*bnexp data prepare FOLDER --name NAME"):
            use()
    assert found.where() is None


def test_where_the_result_goes_must_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "x", 1, 1)
    monkeypatch.delenv("BNEXP_DATA", raising=False)
    assert "--data-dir: say where" in invoke("data", "prepare", tmp_path / "x").err
    (tmp_path / "file").touch()
    monkeypatch.setenv("BNEXP_DATA", str(tmp_path / "file"))
    assert "file is no folder" in invoke("data", "prepare", tmp_path / "x").err
    inside = invoke("data", "prepare", tmp_path / "x", "--data-dir", tmp_path / "x" / "train")
    assert inside.code == 2 and "is in the folder of the pictures" in inside.err
    monkeypatch.setenv("BNEXP_DATA", str(tmp_path / "not" / "yet"))
    assert invoke("data", "prepare", tmp_path / "x", "--size", "8").code == 0
    assert source("imagefolder/x").where() == tmp_path / "not" / "yet" / "imagefolder" / "x"


def test_of_a_folder_without_a_test_set_it_is_said(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", 6, 0)
    ended = invoke("data", "prepare", tmp_path / "x", "--data-dir", tmp_path, "--size", "8", "--workers", "1")
    assert "15 for training and 3 for testing" in ended.out and "a sixth of its pictures" in ended.out


# Damage to what was prepared.


def test_changed_pixels_are_found_by_a_check(copied: Path) -> None:
    content = bytearray((copied / PIXELS).read_bytes())
    content[1000] ^= 1
    (copied / PIXELS).write_bytes(content)
    ended = invoke("data", "check", "imagefolder/tiny", "--data-dir", copied.parent.parent)
    assert ended.code == 1 and str(copied / PIXELS) in ended.err and "do not have their checksum" in ended.err


def test_an_experiment_must_say_which_size_it_wants(prepared: Path, tmp_path: Path) -> None:
    text = "experiments: {e: {dataset: imagefolder/tiny, steps: 1, batch_size: 2, seeds: 1}}"
    (tmp_path / "experiments.yaml").write_text(text)
    given = ("e", "--file", tmp_path / "experiments.yaml", "--data-dir", prepared, "--db", tmp_path / "x.db")
    refused = invoke("run", *given)
    assert refused.code == 2 and "set the size that the network sees" in refused.err
    assert not (tmp_path / "x.db").exists()
    assert invoke("plan", *given, "--set", "image_size=6").code == 0


@pytest.mark.parametrize("name", [PIXELS, SIZES, LABELS, INDEX])
@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "gone", "pipe"])
def test_a_file_of_another_length_is_an_error_that_names_it(name: str, damage: str, copied: Path) -> None:
    path = copied / name
    content = path.read_bytes()
    path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    elif damage != "gone":
        path.write_bytes({"cut": content[:-1], "longer": content + b"x", "empty": b""}[damage])
    found = source("imagefolder/tiny", copied.parent.parent)
    for use in (found.read, found.fingerprint):
        with pytest.raises(DatasetError) as caught:
            use()
        assert str(path if (name, damage) not in ((INDEX, "gone"), (INDEX, "pipe")) else copied) in str(caught.value)


@pytest.mark.parametrize("name", [SIZES, LABELS])
def test_changed_sizes_and_labels_are_found_at_once(name: str, copied: Path) -> None:
    content = bytearray((copied / name).read_bytes())
    content[8] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(DatasetError, match="its checksum is not the index's"):
        source("imagefolder/tiny", copied.parent.parent).fingerprint()


LIES: dict[str, tuple[str, object, str]] = {
    "longer sizes": (SIZES, [[8, 15]] * 18, "not as large as the pieces"),
    "a ribbon": (SIZES, [[8, 17]] * 18, "a shorter side of 8 pixels"),
    "sizes": (SIZES, [[-8, -8]] + [[8, 8]] * 17, "a shorter side of 8 pixels"),
    "huge sizes": (SIZES, [[2**31 - 1, 2**31 - 1]] * 18, "a shorter side of 8 pixels"),
    "turned sizes": (SIZES, "negative", "a shorter side of 8 pixels"),
    "labels": (LABELS, [3] * 18, "labels must be 0 to 2"),
    "negative labels": (LABELS, [-1] * 18, "labels must be 0 to 2"),
}


@pytest.mark.parametrize("lie", LIES)
def test_arrays_that_lie_with_sound_checksums_are_an_error(lie: str, copied: Path) -> None:
    name, values, said = LIES[lie]
    if values == "negative":
        values = -np.fromfile(copied / SIZES, "<i4")
    content = np.array(values, "<i4" if name == SIZES else "<i8").tobytes()
    (copied / name).write_bytes(content)
    index = json.loads((copied / INDEX).read_text())
    index[f"{name.partition('.')[0]}_sha256"] = hashlib.sha256(content).hexdigest()
    (copied / INDEX).write_text(json.dumps(index))
    for use in ("read", "fingerprint"):
        with pytest.raises(DatasetError, match=said):
            getattr(source("imagefolder/tiny", copied.parent.parent), use)()


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"train": 0}, {"train": 2**62}, {"test": 5}, {"classes": ["a"]}, {"more": 1}, {"pieces": []},
     {"pieces": [{"pictures": 18, "bytes": -1, "sha256": "0" * 64}]}, {"sizes_sha256": "x"}, {"train": "12"}],
    ids=str,
)  # fmt: skip
def test_an_index_that_lies_is_an_error(change: dict[str, object], copied: Path) -> None:
    index = json.loads((copied / INDEX).read_text())
    (copied / INDEX).write_text(json.dumps(index | change))
    with pytest.raises(DatasetError) as caught:
        source("imagefolder/tiny", copied.parent.parent).fingerprint()
    assert str(copied) in str(caught.value)
    assert invoke("data", "list", "--data-dir", copied.parent.parent).code == 0


def test_an_index_that_is_no_json_or_too_deep_is_an_error(copied: Path) -> None:
    for content in (b"\xff", b"[" * 100_000, b'{"format": NaN}', b"null"):
        (copied / INDEX).write_bytes(content)
        with pytest.raises(DatasetError, match="is damaged"):
            source("imagefolder/tiny", copied.parent.parent).read()


def test_nothing_of_the_pixels_is_read_for_the_fingerprint(copied: Path) -> None:
    """A terabyte of pixels, a hole in the file, is none too many."""
    side = 1 << 16
    pieces = [{"pictures": 18, "bytes": 18 * side * side * 3, "sha256": "0" * 64}]
    os.truncate(copied / PIXELS, pieces[0]["bytes"])  # type: ignore[arg-type]
    sizes = np.full((18, 2), side, "<i4").tobytes()
    (copied / SIZES).write_bytes(sizes)
    index = json.loads((copied / INDEX).read_text())
    index |= {"pieces": pieces, "size": side, "sizes_sha256": hashlib.sha256(sizes).hexdigest()}
    (copied / INDEX).write_text(json.dumps(index))
    found = source("imagefolder/tiny", copied.parent.parent)
    assert len(found.fingerprint()) == 64
    images = found.read().images
    assert isinstance(images, Ragged) and len(images) == 12
