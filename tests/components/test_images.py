"""Image files in folders of classes, in folders of splits and in tables of paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfrun import host_memory
from tfrun.components.datasets import image_pixels
from tfrun.components.datasets.image_pixels import PixelFormat, decode
from tfrun.components.datasets.images import images
from tfrun.config.column_kinds import ImageKind
from tfrun.data.arrays import StoredArray
from tfrun.data.store import Stores
from tfrun.data.table import Table, TrainedColumns
from tfrun.data.table_checks import check_table
from tfrun.errors import DataError, ResourceError

RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def save(path: Path, pixels: np.ndarray = RAMP, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def grey(value: int) -> np.ndarray:
    return np.full((4, 4), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder with five images of each of two classes; the value of each is that of its name."""
    for k in range(5):
        save(tmp_path / "pets" / "cat" / f"{k}.png", grey(k))
        save(tmp_path / "pets" / "Dog" / f"{k}.png", grey(10 + k))
    return tmp_path / "pets"


def read(path: Path, **options: Any) -> Table:
    return check_table(images(str(path), size=(4, 4), **{"channels": 1, **options}), "images")


def values(table: Table) -> list[int]:
    """Returns the first pixel of each image."""
    return np.asarray(table.columns["image"])[:, 0, 0, 0].tolist()


def test_each_folder_is_a_class(folder: Path) -> None:
    save(folder / "cat" / "more" / "5.PNG", grey(5))
    table = read(folder)
    assert table.columns["image"].shape == (11, 4, 4, 1) and table.columns["image"].dtype == np.uint8
    assert values(table) == [10, 11, 12, 13, 14, 0, 1, 2, 3, 4, 5]
    assert table.target.tolist() == ["Dog"] * 5 + ["cat"] * 6
    assert (table.task, table.target_name, table.given) == ("classification", "class", None)
    assert table.kinds == {"image": ImageKind(scale="unit")}
    assert table.find(5)[0] == str(folder / "cat" / "0.png")


def test_folders_of_splits_are_respected(folder: Path) -> None:
    for name, value in (("train", 0), ("test", 100), ("validation", 200)):
        for label in ("a", "b"):
            for k in range(5):
                save(folder.parent / "split" / name / label / f"{k}.png", grey(value + k))
    table = read(folder.parent / "split")
    assert table.given is not None
    assert {name: [values(table)[row] for row in rows[:2]] for name, rows in table.given.items()} == {
        "val": [200, 201],
        "test": [100, 101],
    }
    assert len(table.target) == 30 and values(table)[0] == 0
    (folder.parent / "split" / "val").mkdir()
    with pytest.raises(DataError, match=r"two folders of one split\. Received: .*val and .*validation"):
        read(folder.parent / "split")


def test_classes_may_be_called_like_splits(folder: Path) -> None:
    save(folder / "train" / "0.png", grey(9))
    assert sorted(set(read(folder).target.tolist())) == ["Dog", "cat", "train"]


def test_hidden_files_are_skipped_and_others_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(folder / "cat" / ".hidden.png")
    save(folder / ".cache" / "0.png")
    (folder / "cat" / "notes.txt").write_text("text")
    (folder / "README").write_text("text")
    assert len(read(folder).target) == 10
    assert "2 files are left out as no image of a class: README" in caplog.text


@pytest.mark.parametrize(
    ("format", "mode"), [("jpg", "RGB"), ("png", "RGB"), ("gif", "P"), ("bmp", "L"), ("webp", "RGB")]
)
def test_formats_and_modes(tmp_path: Path, format: str, mode: str) -> None:
    path = tmp_path / f"one.{format}"
    Image.fromarray(np.full((6, 5, 3), 200, np.uint8)).convert(mode).save(path)
    pixels = decode(path, PixelFormat(4, 3, channels=3, resize="stretch"))
    assert pixels.shape == (4, 3, 3) and np.abs(pixels.astype(int) - 200).max() <= (10 if mode == "P" else 3)


def test_the_first_picture_of_a_moving_one_counts(tmp_path: Path) -> None:
    frames = [Image.fromarray(grey(value)) for value in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "moving.gif", PixelFormat(4, 4, channels=1, resize="stretch")).max() == 0


def test_images_of_16_bits_and_transparent_ones(tmp_path: Path) -> None:
    deep = save(tmp_path / "deep.png", np.full((4, 4), 32768, np.uint16))
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[:2, :, 3] = 255
    transparent = save(tmp_path / "clear.png", clear)
    one = PixelFormat(4, 4, channels=1, resize="stretch")
    assert set(decode(deep, one).ravel().tolist()) == {128}
    assert decode(transparent, one)[:, 0, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_data_say(tmp_path: Path, orientation: int) -> None:
    # what each orientation does to the stored pixels, from the EXIF standard's table of the 0th row and column
    upright = {
        1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1], 5: RAMP.swapaxes(0, 1),
        6: np.rot90(RAMP, -1), 7: RAMP[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(RAMP),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "photo.png", RAMP, exif=exif)
    np.testing.assert_array_equal(decode(path, PixelFormat(4, 4, channels=3, resize="stretch")), upright)


def test_sizes_are_stretched_cropped_or_padded(tmp_path: Path) -> None:
    wide = np.repeat(np.array([[0, 100, 200, 250]], np.uint8), 2, axis=0)  # 2 x 4
    path = save(tmp_path / "wide.png", wide)

    def resized(resize: str) -> list[list[int]]:
        return decode(path, PixelFormat(2, 2, channels=1, resize=resize))[..., 0].tolist()

    assert resized("crop") == [[100, 200]] * 2
    padded = decode(path, PixelFormat(4, 4, channels=1, resize="pad"))[..., 0]
    np.testing.assert_array_equal(padded, np.pad(wide, [(1, 1), (0, 0)]))
    # halved by a triangle with the weights 1, 3, 3, 1: (0·3 + 100·3 + 200)/7 = 71 and (100 + 200·3 + 250·3)/7 = 207
    assert resized("stretch") == [[71, 207]] * 2


def test_a_table_has_paths_and_targets(folder: Path) -> None:
    lines = [f"{label}/{k}.png,{k + shift / 10}" for label, shift in (("cat", 0), ("Dog", 5)) for k in range(5)]
    table_csv = folder / "labels.csv"
    table_csv.write_text("\n".join(["file,price", *lines]) + "\n")
    table = read(table_csv, image="file", target="price")
    assert values(table) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert table.task == "regression" and table.target[5] == 0.5 and table.target_name == "price"
    assert table.find(2)[0] == f"{table_csv}:4"
    elsewhere = folder.parent / "labels.csv"
    table_csv.rename(elsewhere)
    assert values(read(elsewhere, image="file", target="price", folder=str(folder))) == values(table)
    elsewhere.write_text("\n".join(["file,price", *lines, "cat/9.png,1"]) + "\n")
    with pytest.raises(DataError, match=r"labels\.csv:12, .*cat/9\.png: no such file"):
        read(elsewhere, image="file", target="price", folder=str(folder))
    with pytest.raises(DataError, match=r"data\.image: must name the column of paths"):
        read(elsewhere)
    with pytest.raises(DataError, match=r"data\.target: must name the column"):
        read(elsewhere, image="file")


def test_images_without_classes_are_read_for_predictions(folder: Path) -> None:
    trained = TrainedColumns((), (), (("Dog", "cat"),), arrays=("image",))
    flat = folder / "cat"
    assert values(read(flat, rows_only=True, trained_columns=trained)) == [0, 1, 2, 3, 4]
    assert values(read(folder, rows_only=True, trained_columns=trained)) == [10, 11, 12, 13, 14, 0, 1, 2, 3, 4]
    paths = folder / "new.csv"
    paths.write_text("file\ncat/3.png\n")
    assert values(read(paths, image="file", rows_only=True, trained_columns=trained)) == [3]
    assert read(folder, trained_columns=trained).target.tolist() == ["Dog"] * 5 + ["cat"] * 5


def broken(folder: Path, name: str, content: bytes) -> None:
    (folder / "cat" / name).write_bytes(content)


def test_broken_files_are_named(folder: Path) -> None:
    whole = save(
        folder.parent / "noise.jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    ).read_bytes()
    for content, message in [
        (b"", "isn't an image of the formats JPEG, PNG"),
        (b"no image", "isn't an image of the formats JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "isn't an image of the formats JPEG, PNG"),
        (whole[: len(whole) // 2], "can't be read"),
    ]:
        broken(folder, "broken.jpg", content)
        with pytest.raises(DataError, match=rf"{folder}/cat/broken\.jpg: {message}"):
            read(folder)


def test_a_small_file_of_many_pixels_is_refused(folder: Path) -> None:
    for side, received in ((12_000, r"\. Received: 12000 x 12000"), (20_000, "$")):
        Image.new("1", (side, side)).save(folder / "cat" / "bomb.png")
        with pytest.raises(DataError, match=rf"bomb\.png: more than 134,217,728 pixels{received}"):
            read(folder)


def test_folders_that_hold_too_little_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"the folder of a class has no images\. Received: .*empty"):
        read(folder)
    with pytest.raises(DataError, match=r"no file of this folder is an image"):
        read(folder / "empty", rows_only=True)
    (folder / "empty").rmdir()
    with pytest.raises(DataError, match=r"has no folders of classes\. Received: 5 files"):
        read(folder / "cat")
    (folder / "Dog").rename(folder.parent / "Dog")
    with pytest.raises(DataError, match=r"two or more classes is needed\. Received: \['cat'\]"):
        read(folder)
    save(folder / "one" / "0.png")
    with pytest.raises(DataError, match=r"has 6 images; at least 10 are needed"):
        read(folder)


def test_images_must_fit_into_the_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "free_bytes", lambda: 100.0)
    with pytest.raises(ResourceError, match=r"data\.size: 10 images of \(4, 4, 1\) need"):
        read(folder)


def test_more_images_than_fit_are_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 images of 16 bytes, and as many floats, are 800 bytes."""
    in_memory = read(folder)
    stores = Stores(folder.parent / "stores")
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "900")
    assert isinstance(read(folder, stores=stores).columns["image"], np.ndarray)
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "700")
    stored = read(folder, stores=stores)
    assert isinstance(stored.columns["image"], StoredArray)
    np.testing.assert_array_equal(stored.columns["image"][:], in_memory.columns["image"])
    decoded: list[Path] = []

    def decode_again(path: Path, pixel_format: PixelFormat) -> np.ndarray:
        decoded.append(path)
        return np.zeros(pixel_format.shape, np.uint8)

    monkeypatch.setattr(image_pixels, "decode", decode_again)
    assert values(read(folder, stores=stores)) == values(in_memory) and decoded == []
    save(folder / "cat" / "0.png", grey(99))
    read(folder, stores=stores)
    assert len(decoded) == 10
    read(folder, stores=stores, channels=3)
    assert len(decoded) == 20


def test_what_a_broken_image_leaves_of_a_store_is_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    broken(folder, "x.png", b"no image")
    with pytest.raises(DataError, match=r"x\.png: isn't an image"):
        read(folder, stores=Stores(folder.parent / "stores"))
    assert [path.suffix for path in (folder.parent / "stores").iterdir()] == [".lock"]
