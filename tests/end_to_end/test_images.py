"""A folder of images is trained on, evaluated, predicted and exported by the command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

from tfrun import cli

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

DIGITS = load_digits()
COUNT = 160
FAST = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=1", "logger=null"]
MODEL = ["model=cnn", "model.filters=[4]", "loss=sparse_categorical_crossentropy", "metric=accuracy"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with scikit-learn's digits, a folder for each."""
    root = tmp_path_factory.mktemp("images")
    for k in range(COUNT):
        path = root / "digits" / str(DIGITS.target[k]) / f"{k:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((DIGITS.images[k] * 15).astype(np.uint8)).save(path)
    return root / "digits"


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    data = ["data=images", f"data.path={photos}", "data.size=[8,8]", "data.channels=1"]
    augment = "data.augment=[{name: random_crop, padding: 1},{name: cutmix}]"
    assert cli.main([*data, *MODEL, *FAST, augment, f"output_root={photos.parent}"]) == 0
    (folder,) = photos.parent.glob("outputs/*/*")
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_images_without_classes_are_predicted(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    files = sorted(photos.rglob("*.png"))[:20]
    for file in files:
        (flat / f"{file.parent.name}-{file.name}").write_bytes(file.read_bytes())
    table = tmp_path / "paths.csv"
    table.write_text("\n".join(["file", *map(str, files)]) + "\n")
    for words, out in (([f"data.path={flat}"], "flat.csv"), ([f"data.path={table}", "data.image=file"], "table.csv")):
        assert cli.main(["predict", str(run), *words, "keep=file", f"out={tmp_path / out}"]) == 0
    predicted, of_table = read(tmp_path / "flat.csv"), read(tmp_path / "table.csv")
    assert [row.pop("file") for row in predicted] == [f"{file.parent.name}-{file.name}" for file in files]
    assert [row.pop("file") for row in of_table] == list(map(str, files))
    assert [list(row.values()) for row in predicted] == [list(row.values()) for row in of_table]
    capsys.readouterr()
    assert cli.main(["predict", str(run), f"data.path={flat}", "keep=[fle]", f"out={tmp_path / 'no.csv'}"]) == 2
    assert "Received: 'fle'. Known: file. Did you mean 'file'?" in capsys.readouterr().err


def test_an_export_takes_pixels(run: Path, photos: Path, tmp_path: Path) -> None:
    """The bytes of the files, not what has been scaled or augmented."""
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    assert cli.main(["predict", str(run), f"data.path={photos}", f"out={tmp_path / 'out.csv'}"]) == 0
    (exported,) = run.rglob("saved_model.pb")
    files = sorted(photos.rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file), "float32")[..., None] for file in files])
    model = tf.saved_model.load(str(exported.parent))
    probabilities = model.serve({"image": pixels})
    expected = [[float(row[f"class={digit}"]) for digit in range(10)] for row in read(tmp_path / "out.csv")]
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_other_images_are_evaluated(run: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(run)]) == 0
    assert cli.main(["evaluate", str(run), f"data.path={photos}"]) == 0
    assert f"{COUNT} rows" in capsys.readouterr().out
