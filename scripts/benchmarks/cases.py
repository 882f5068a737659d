"""The cases: a model on a data set with a batch size. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Case:
    """A model on a data set.

    Attributes:
        model, loss: registered names.
        write: writes the data set into a folder and returns the overrides that select it.
        batch_size: rows of a step.
        epochs: of tfrun's run.
        groups: whether the model asks for several optimizers, so that a single Adam is another contender.
        convolves: whether it has convolutions, whose loop XLA slows down on a CPU.
    """

    model: str
    loss: str
    write: Callable[[Path], list[str]]
    _: KW_ONLY
    batch_size: int
    epochs: int
    groups: bool = False
    convolves: bool = False

    @property
    def overrides(self) -> list[str]:
        """The overrides except the data set's."""
        return [f"model={self.model}", f"loss={self.loss}", f"data.batch_size={self.batch_size}"]


def write_numbers(folder: Path) -> list[str]:
    """Writes 20,640 rows of 8 normally distributed numbers and a smooth target; returns the overrides for them."""
    random = np.random.default_rng(0)
    x = random.normal(size=(20640, 8)).astype("float32")
    w = random.normal(size=8)
    y = np.tanh(x @ w) + 0.3 * x[:, 0] * x[:, 1] + 0.1 * random.normal(size=len(x))
    path = folder / "numbers.csv"
    header = ",".join([*(f"x{k}" for k in range(8)), "y"])
    np.savetxt(path, np.column_stack([x, y]), fmt="%.7g", delimiter=",", header=header, comments="")
    return ["data=csv", f"data.path={path}", "data.target=y", "metric=regression"]


def write_images(folder: Path, count: int) -> list[str]:
    """Writes noisy 28 × 28 images of 10 classes, values in [-0.5, 0.5); returns the overrides for them.

    Each class has a pattern to learn, so that a rounding error doesn't decide where training goes.
    """
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, size=count)
    patterns = random.uniform(size=(10, 28, 28))
    images = 0.3 * patterns[labels] + 0.7 * random.uniform(size=(count, 28, 28)) - 0.5
    path = folder / "images.npz"
    np.savez(path, x=images.astype("float32"), y=labels)
    return ["data=npz", f"data.path={path}", "metric=classification"]


def images(count: int) -> Callable[[Path], list[str]]:
    """Returns a `Case.write` for `count` images."""
    return partial(write_images, count=count)


def write_image_files(folder: Path, count: int, side: int) -> list[str]:
    """Writes PNG files of noisy colour images, of 10 classes as above; returns the overrides for them."""
    from PIL import Image

    random = np.random.default_rng(0)
    patterns = random.uniform(size=(10, side, side, 3))
    for label in range(10):
        (folder / "images" / str(label)).mkdir(parents=True)
    for number in range(count):
        label = number % 10
        pixels = 255 * (0.3 * patterns[label] + 0.7 * random.uniform(size=(side, side, 3)))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / str(label) / f"{number}.png")
    return ["data=images", f"data.path={folder / 'images'}", f"data.size=[{side},{side}]", "metric=classification"]


CROSSENTROPY = "sparse_categorical_crossentropy"
CASES = {
    "wide_deep-32": Case("wide_deep", "huber", write_numbers, batch_size=32, epochs=200, groups=True),
    "wide_deep-512": Case("wide_deep", "huber", write_numbers, batch_size=512, epochs=1000, groups=True),
    "residual_mlp-32": Case("residual_mlp", "huber", write_numbers, batch_size=32, epochs=40),
    "residual_mlp-512": Case("residual_mlp", "huber", write_numbers, batch_size=512, epochs=150),
    "mlp-32": Case("mlp", CROSSENTROPY, images(10000), batch_size=32, epochs=40),
    "mlp-512": Case("mlp", CROSSENTROPY, images(10000), batch_size=512, epochs=160),
    "cnn-32": Case("cnn", CROSSENTROPY, images(1280), batch_size=32, epochs=10, convolves=True),
    "cnn-512": Case("cnn", CROSSENTROPY, images(5120), batch_size=512, epochs=6, convolves=True),
}
STREAMED = {name: CASES[name] for name in ("wide_deep-32", "mlp-32", "mlp-512")} | {
    "images-32": Case("mlp", CROSSENTROPY, partial(write_image_files, count=4000, side=32), batch_size=32, epochs=20),
}
ONE_ADAM = ["optimizer=adam"]
TABLE_CASES = {f"1e{k}-{batch}": (10**k, batch) for batch in (512, 4096) for k in (4, 5, 6, 7)}  # ids, batch size
