"""What ImageNet needs, end to end: a thousand classes of pictures through preparing, training at 224 pixels and 144
crops."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnexp.db.results import Results
from tests.conftest import environment

CLASSES, TESTED = 1000, 4
EXPERIMENT = """
experiments:
  form:
    about: The experiment on ImageNet, a narrow network for two steps
    dataset: imagefolder/synthetic
    image_size: 224
    crops: 144
    model: {name: bn-inception, width: 0.0625, modules: [3a, 4e]}
    norm: {name: batch, per_activation: 1}
    nonlinearity: relu
    batch_size: 16
    steps: 2
    eval_every: 2
    precision: bfloat16
    augment: {name: crop}
    keep: [weights, predictions]
    seeds: 1
"""


def write_classes(folder: Path) -> None:
    """One training picture of each class, all sizes from portrait to landscape, and a few test pictures."""
    draws = np.random.default_rng(0)
    for number in range(CLASSES):
        places = ["train"] + ["val"] * (number < TESTED)
        for place in places:
            height, width = draws.integers(230, 300, 2)
            coarse = draws.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            path = folder / place / f"n{number:08}" / "0.jpg"
            path.parent.mkdir(parents=True)
            Image.fromarray(coarse).resize((int(width), int(height))).save(path)


@pytest.mark.slow
def test_a_thousand_classes_at_224_pixels_go_from_a_folder_to_144_crops(tmp_path: Path) -> None:
    write_classes(tmp_path / "pictures")
    (tmp_path / "experiments.yaml").write_text(EXPERIMENT)

    def bnexp(*arguments: str) -> str:
        command = [sys.executable, "-m", "bnexp", *arguments]
        given = environment() | {"BNEXP_DATA": str(tmp_path), "BNEXP_CONVOLUTION": "loop"}
        ended = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=500)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    bnexp("data", "prepare", "pictures", "--name", "synthetic")
    bnexp("run", "form", "--workers", "1")
    query = "select trial_key, status, classes, crops, test_accuracy, test_top5_accuracy, augment from trial_results"
    [trial] = json.loads(bnexp("query", query, "--format", "json"))
    assert (trial["status"], trial["classes"], trial["crops"], trial["augment"]) == ("finished", 1000, 144, "crop")
    assert 0 <= trial["test_accuracy"] <= trial["test_top5_accuracy"] <= 1
    results = Results(str(tmp_path / "bnexp.db"))
    [predictions] = results.predictions([trial["trial_key"]])
    results.close()
    assert predictions.test.shape == (TESTED, CLASSES)
    np.testing.assert_allclose(predictions.test.sum(1), 1, rtol=1e-3)
    right = predictions.test.argmax(1) == predictions.test_labels
    assert right.mean() == trial["test_accuracy"]
