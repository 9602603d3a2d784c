"""Preparing a folder of pictures: the same bytes whatever the number of processes and however often it is killed, and
what is said of pictures that are damaged or attacks."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnexp.data.dataset import source
from bnexp.data.imagefolder import pieces
from bnexp.data.imagefolder.index import INDEX, PIXELS, SIZES, Index
from bnexp.data.imagefolder.journal import JOURNAL
from bnexp.data.imagefolder.layout import find
from bnexp.data.imagefolder.preparing import prepare
from bnexp.errors import DatasetError, UsageError
from tests.attacks import invoke, strange
from tests.conftest import environment
from tests.pictures import write_folder, write_picture

PER_PIECE = 4
TOLD: list[tuple[int, int, int]] = []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 pictures: four pieces and a half."""
    return write_folder(tmp_path_factory.mktemp("pictures") / "tiny")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST_PICTURES", PER_PIECE)


def make(folder: Path, target: Path, workers: int = 1, size: int = 8, skip_damaged: bool = False) -> Index:
    """Prepare `folder`; what is told of it is in TOLD."""
    TOLD.clear()
    return prepare(find(folder), target, size, workers, skip_damaged, lambda *told: TOLD.append(told))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an undisturbed preparation by one process."""
    target = tmp_path_factory.mktemp("whole") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "MOST_PICTURES", PER_PIECE)
        make(pictures, target)
    return contents(target)


def test_the_result_does_not_depend_on_the_number_of_processes(
    pictures: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    made = make(pictures, tmp_path / "tiny", workers=3)
    assert contents(tmp_path / "tiny") == whole
    assert [piece.pictures for piece in made.pieces] == [4, 4, 4, 4, 2]
    assert TOLD[0] == (0, 18, 0) and TOLD[-1] == (18, 18, 0)


class LostError(Exception):
    """What ends a preparation in a test."""


@pytest.fixture
def begun(pictures: Path, tmp_path: Path) -> Path:
    """A preparation that ended in its fourth piece, with three in the journal."""

    def tell(done: int, total: int, left_out: int) -> None:
        if done > 12:
            raise LostError

    with pytest.raises(LostError):
        prepare(find(pictures), tmp_path / "tiny", 8, 1, False, tell)
    assert not (tmp_path / "tiny" / INDEX).exists()
    assert len((tmp_path / "tiny" / JOURNAL).read_bytes().splitlines()) == 4, "the plan and three pieces"
    return tmp_path / "tiny"


def test_it_goes_on_behind_the_last_whole_piece(pictures: Path, whole: dict[str, bytes], begun: Path) -> None:
    make(pictures, begun, workers=2)
    assert TOLD[0] == (12, 18, 0) and contents(begun) == whole


def cut(path: Path, count: int) -> None:
    os.truncate(path, path.stat().st_size - count)


STATES: dict[str, tuple[Callable[[Path], object], int]] = {
    "a line that is half written": (lambda folder: cut(folder / JOURNAL, 1), 8),
    "a line of zeros": (lambda folder: append(folder / JOURNAL, bytes(50) + b"\n"), 12),
    "a line of another piece": (lambda folder: repeat_last_piece(folder), 12),
    "no whole line": (lambda folder: os.truncate(folder / JOURNAL, 5), 0),
    "an empty journal": (lambda folder: os.truncate(folder / JOURNAL, 0), 0),
    "pixels that the journal does not have": (lambda folder: append(folder / PIXELS, b"x" * 99), 12),
    "pixels that are not there after all": (lambda folder: cut(folder / PIXELS, whole_tail(folder)), 8),
    "no pixels": (lambda folder: (folder / PIXELS).unlink(), 0),
}


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def repeat_last_piece(folder: Path) -> None:
    append(folder / JOURNAL, (folder / JOURNAL).read_bytes().splitlines(keepends=True)[-1])
    append(folder / PIXELS, bytes(100_000))


def whole_tail(folder: Path) -> int:
    """So many bytes that the third piece lacks one."""
    lines = (folder / JOURNAL).read_text().splitlines()[1:]
    lengths = [int(line.partition('"bytes": ')[2].partition(",")[0]) for line in lines]
    return (folder / PIXELS).stat().st_size - sum(lengths) + 1


@pytest.mark.parametrize("state", STATES)
def test_whatever_a_crash_leaves_the_bytes_are_the_same(
    state: str, pictures: Path, whole: dict[str, bytes], begun: Path
) -> None:
    damage, done = STATES[state]
    damage(begun)
    make(pictures, begun)
    assert TOLD[0] == (done, 18, 0) and contents(begun) == whole


def test_one_that_was_killed_when_all_but_the_journal_was_done_is_done(
    pictures: Path, whole: dict[str, bytes], begun: Path
) -> None:
    journal = (begun / JOURNAL).read_bytes()
    make(pictures, begun)
    (begun / JOURNAL).write_bytes(journal)
    make(pictures, begun)
    assert TOLD == [] and contents(begun) == whole


COMMAND = """
from bnexp.data.imagefolder import pieces
pieces.MOST_PICTURES = 4
from bnexp.cli import main
main()
"""


def command(pictures: Path, data_dir: Path, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    arguments = ["data", "prepare", str(pictures), "--size", "256", "--workers", "2", "--data-dir", str(data_dir)]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
    )


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
@pytest.mark.parametrize("most", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_again_and_again_it_ends_with_the_same_bytes_and_leaves_no_process(most: int, tmp_path: Path) -> None:
    """SIGKILL, to the one process only, when the journal has grown by one line or by four."""
    pictures = write_folder(tmp_path / "pictures", train=20, val=10, classes=2)
    make(pictures, tmp_path / "undisturbed", size=256)
    journal = tmp_path / "imagefolder" / "pictures" / JOURNAL

    def lines() -> int:
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    for kill in range(most):
        process, wanted = command(pictures, tmp_path), lines() + (1 if kill % 2 else 4)
        wait_for(lambda: lines() >= wanted or process.poll() is not None)  # noqa: B023
        assert kill > 2 or process.poll() is None, "it is killed before its end"
        workers = children(process.pid) if process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not any(alive(worker) for worker in workers))  # noqa: B023
    (journal.parent / f"{SIZES}.7.tmp").write_bytes(b"half")
    assert command(pictures, tmp_path).wait(60) == 0
    assert contents(journal.parent) == contents(tmp_path / "undisturbed")


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_ctrl_c_ends_it_in_one_line_that_says_how_to_go_on(tmp_path: Path) -> None:
    """To the whole group, as a terminal sends it: no process says more than that."""
    pictures = write_folder(tmp_path / "pictures", train=20, val=10, classes=2)
    process = command(pictures, tmp_path, subprocess.PIPE)
    journal = tmp_path / "imagefolder" / "pictures" / JOURNAL
    wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.decode().splitlines()[-1] == "Stopped; the same command again goes on." and b"Traceback" not in said


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_other_pictures_sizes_or_files_are_not_mixed(pictures: Path, begun: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", train=5)
    state = contents(begun)
    for folder, size, said in ((other, 8, "was begun from other pictures"), (pictures, 9, "was begun with --size 8")):
        with pytest.raises(UsageError, match=said) as caught:
            make(folder, begun, size=size)
        assert "delete it to begin anew, or give another --name" in str(caught.value)
        assert contents(begun) == state
    make(pictures, begun)
    for folder, size in ((other, 8), (pictures, 9)):
        with pytest.raises(UsageError, match="was prepared from other pictures, or other than with --size"):
            make(folder, begun, size=size)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="has files that bnexp did not make"):
        make(pictures, tmp_path / "foreign")


def test_another_pillow_does_not_go_on(pictures: Path, begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.__version__", "9.9")
    with pytest.raises(UsageError, match=r"was begun by Pillow .*, and this is Pillow 9\.9"):
        make(pictures, begun)


def test_two_at_once_are_told_of_each_other(pictures: Path, tmp_path: Path) -> None:
    said = []

    def tell(done: int, total: int, left_out: int) -> None:
        if not said:
            with pytest.raises(UsageError, match="another process is preparing it") as caught:
                prepare(find(pictures), tmp_path / "tiny", 8, 1, False, lambda *told: None)
            said.append(caught.value)

    prepare(find(pictures), tmp_path / "tiny", 8, 1, False, tell)
    assert said


# Damaged pictures, and attacks.


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG that announces so many pixels in red, green and blue."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def cut_jpeg(folder: Path) -> bytes:
    return write_picture(folder / "sound.jpg", 40, 40).read_bytes()[:700]


DAMAGED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda folder: b"", "cannot be decoded"),
    "text": (lambda folder: b"not a picture", "cannot be decoded"),
    "cut": (cut_jpeg, "cannot be decoded"),
    "no pixels": (lambda folder: png(10, 10), "cannot be decoded"),
    "bomb": (lambda folder: png(60_000, 60_000), "DecompressionBombError"),
    "half a bomb": (lambda folder: png(10_000, 10_000, bytes(30_001 * 100)), "DecompressionBombWarning"),
    "another format": (lambda folder: write_picture(folder / "x.pcx").read_bytes(), "cannot be decoded"),
    "postscript": (lambda folder: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be decoded"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_picture_is_named_or_left_out(what: str, tmp_path: Path) -> None:
    content, said = DAMAGED[what]
    folder = write_folder(tmp_path / "x")
    (folder / "train" / "class1" / "001x.jpg").write_bytes(content(tmp_path))
    with pytest.raises(DatasetError, match=said) as caught:
        make(folder, tmp_path / "made")
    assert str(folder / "train" / "class1" / "001x.jpg") in str(caught.value)
    assert str(caught.value).endswith("--skip-damaged leaves such pictures out")
    made = make(folder, tmp_path / "made", skip_damaged=True)
    assert (made.left_out, made.train, made.test, TOLD[-1]) == (1, 12, 6, (19, 19, 1))


def test_what_is_left_out_takes_no_other_with_it(tmp_path: Path) -> None:
    """Damage in both sets, a piece that has nothing but damage, and a stop after it: the labels of the others stay."""
    folder = write_folder(tmp_path / "x", train=6, val=3, classes=2)
    listing = find(folder)
    bad = {0, 4, 5, 6, 7, 13}
    for number in bad:
        (listing.root / listing.paths[number]).write_bytes(b"damage")

    def tell(done: int, total: int, left_out: int) -> None:
        if done > 8:
            raise LostError

    with pytest.raises(LostError):
        prepare(find(folder), tmp_path / "imagefolder" / "x", 8, 2, True, tell)
    with pytest.raises(DatasetError, match="cannot be decoded"):
        make(folder, tmp_path / "imagefolder" / "x")
    made = make(folder, tmp_path / "imagefolder" / "x", skip_damaged=True)
    assert TOLD[0] == (8, 18, 5) and TOLD[-1] == (18, 18, 6)
    assert (made.left_out, made.train, made.test) == (6, 7, 5)
    data = source("imagefolder/x", tmp_path).read()
    kept = [number for number in range(18) if number not in bad]
    assert [*data.labels, *data.test_labels] == listing.labels[kept].tolist()
    assert np.count_nonzero(data.images.canvas(np.array([0]))[0]) > 100  # type: ignore[union-attr]
    ended = invoke("data", "prepare", folder, "--data-dir", tmp_path, "--size", "8")
    assert ended.code == 0 and "6 damaged pictures were left out" in ended.out


def test_where_nothing_is_left_of_a_set_it_is_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", train=2, val=1, classes=2)
    for path in folder.glob("val/*/*"):
        path.write_bytes(b"damage")
    with pytest.raises(DatasetError, match="too few pictures can be decoded"):
        make(folder, tmp_path / "made", skip_damaged=True)


def test_what_is_no_file_is_not_waited_for_and_a_link_out_is_not_followed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x")
    (tmp_path / "strange").mkdir()
    secret = write_picture(tmp_path / "secret.png")
    odd = strange(tmp_path / "strange")
    inner = folder / "train" / "class1"
    shutil.move(odd["pipe"], inner / "a.png")
    (inner / "b.png").symlink_to(secret)
    (inner / "c.png").symlink_to("/dev/zero")
    (inner / "d.png").mkdir()
    (inner / "e.png").symlink_to("e.png")
    (inner / "f.png").symlink_to("../class0/000.png")  # within the folder
    made = make(folder, tmp_path / "made", skip_damaged=True)
    assert (made.left_out, made.train) == (5, 13)
    for name in ("a", "b", "c", "d", "e"):
        with pytest.raises(DatasetError, match=rf"{name}\.png: (is a link that leads out|cannot be decoded)"):
            make(folder, tmp_path / f"made {name}")
        path = inner / f"{name}.png"
        path.rmdir() if name == "d" else path.unlink()
    assert make(folder, tmp_path / "all").train == 13


def test_a_process_that_a_picture_kills_is_an_error_that_names_it(tmp_path: Path, pictures: Path) -> None:
    def tell(done: int, total: int, left_out: int) -> None:
        for worker in children(os.getpid()):
            if b"spawn_main" in Path(f"/proc/{worker}/cmdline").read_bytes():
                os.kill(worker, signal.SIGKILL)

    with pytest.raises(DatasetError, match=r"class\d/00\d\.(png|JPEG): the process that decoded this picture"):
        prepare(find(pictures), tmp_path / "tiny", 8, 1, False, lambda d, t, o: tell(d, t, o) if d else None)
    make(pictures, tmp_path / "tiny")


def test_names_that_would_command_a_terminal_are_written_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x")
    (folder / "train" / "class1" / "\x1b]0;title\x07.png").write_bytes(b"")
    ended = invoke("data", "prepare", folder, "--data-dir", tmp_path, "--size", "8")
    assert ended.code == 1 and "\\x1b]0;title" in ended.err


def test_the_whole_command_with_a_wide_picture_of_16_bits(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x")
    Image.fromarray(np.full((9, 90), 40_000, np.uint16)).save(folder / "train" / "class0" / "a.png")
    assert invoke("data", "prepare", folder, "--data-dir", tmp_path, "--size", "8", "--workers", "2").code == 0
    images = source("imagefolder/x", tmp_path).read().images
    canvas, sizes = images.canvas(np.array([4]))  # type: ignore[union-attr]
    assert sizes.tolist() == [[8, 16]] and (canvas == 40_000 >> 8).all()
