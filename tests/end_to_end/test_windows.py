"""Windows of series: runs of the real commands beside NumPy, on two series that are made here."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun import cli

LENGTH, HORIZON = 24, 12
DATA = [
    "data=csv",
    "data.path=shops.csv",
    "data.target=sold",
    "data.batch_size=8",
    f"data.window={{length: {LENGTH}, horizon: {HORIZON}, by: shop, time: month}}",
]
WORDS = ["metric=regression", "trainer.max_epochs=3", "logger=null", "data.residency=device"]
Run = Callable[..., tuple[int, str, str]]


def months(count: int) -> list[str]:
    return [f"{2000 + k // 12}-{k % 12 + 1:02d}" for k in range(count)]


def sold(shop: str) -> np.ndarray:
    """Returns a year's rhythm that grows; shop b has fewer months."""
    month = np.arange(144 if shop == "a" else 120)
    noise = np.random.default_rng(ord(shop)).normal(0, 3, len(month))
    return np.round((100 + month) * (1 + 0.3 * np.sin(2 * np.pi * month / 12)) + noise, 2)


def write_csv(path: Path) -> None:
    """Writes both shops, their rows in no order."""
    rows = [
        f"{shop},{month},{number:.2f},{k % 7}"
        for shop in "ab"
        for k, (month, number) in enumerate(zip(months(len(sold(shop))), sold(shop), strict=True))
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    path.write_text("\n".join(["shop,month,sold,staff", *(rows[k] for k in order)]) + "\n")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trains a linear model and returns its folder."""
    root = tmp_path_factory.mktemp("windows")
    write_csv(root / "shops.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert cli.main([*DATA, *WORDS, "model=linear"]) == 0
    (run,) = root.glob("outputs/default/*")
    return run


def run_json(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def weights_of(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best weights of a linear model: (LENGTH · columns, HORIZON), (HORIZON,)."""
    (checkpoint,) = (run / "checkpoints").glob("step-*")
    with np.load(checkpoint / "state.npz") as state:
        best = {key: state[key] for key in state.files if key.startswith("best/")}
    (kernel,) = [array for array in best.values() if array.ndim == 2]
    (bias,) = [array for array in best.values() if array.ndim == 1]
    return kernel, bias


def scaled(shop: str) -> tuple[np.ndarray, float, float]:
    """Returns the inputs of all rows of a shop, (N, 2), and the mean and deviation of the target."""
    training = {name: len(sold(name)) - 2 * round(0.1 * len(sold(name))) for name in "ab"}
    past = np.concatenate([sold(name)[:count] for name, count in training.items()])
    staff = np.concatenate([np.arange(count) % 7 for count in training.values()])
    mean, deviation = past.mean(), past.std()
    own_staff = np.arange(len(sold(shop))) % 7
    inputs = np.stack([(sold(shop) - mean) / deviation, (own_staff - staff.mean()) / staff.std()], axis=1)
    return inputs, mean, deviation


def test_the_run_says_what_its_windows_are(linear: Path) -> None:
    data = run_json(linear)["data"]
    # shop a: 144 months, of which 14 test and 14 validate; shop b: 120, 12 and 12
    assert (data["rows"], data["train"], data["val"], data["test"]) == (264, 81 + 61, 3 + 1, 3 + 1)
    assert data["split"] == {"by": "time of each series"}
    assert data["windows"] == {"series": 2, "length": 24, "horizon": 12, "stride": 1, "rows_unused": 0}


def test_the_test_metrics_are_those_of_numpy(linear: Path) -> None:
    kernel, bias = weights_of(linear)
    errors = []
    for shop, first in (("a", 130), ("b", 108)):  # of the test rows
        inputs, mean, deviation = scaled(shop)
        for begin in range(first - LENGTH, len(inputs) - LENGTH - HORIZON + 1):
            window = inputs[begin : begin + LENGTH]
            predicted = (window.reshape(-1) @ kernel + bias) * deviation + mean
            errors.append(predicted - sold(shop)[begin + LENGTH : begin + LENGTH + HORIZON])
    assert len(errors) == 4
    metrics = run_json(linear)["metrics"]
    assert metrics["test/mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    assert metrics["test/rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-4)


def test_the_newest_window_of_each_series_is_forecast(linear: Path, run: Run, tmp_path: Path) -> None:
    lines = (linear.parents[2] / "shops.csv").read_text().splitlines()
    (tmp_path / "new.csv").write_text("\n".join([*lines, *(f"c,{month},5,1" for month in months(23))]) + "\n")
    code, out, err = run("predict", str(linear), "data.path=new.csv", "out=next.csv")
    assert (code, err) == (0, "")
    assert "12 steps after each of 2 series of" in out
    assert "1 of 3 series are shorter than 24 rows and left out ('c'), with 23 rows" in out
    code, _, err = run("predict", str(linear), "data.path=new.csv", "out=no.csv", "keep=all")
    assert code == 2 and "keep: a forecast is of steps after the rows of the data" in err
    with (tmp_path / "next.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["shop"] for row in rows] == ["a"] * 12 + ["b"] * 12
    assert [row["month"] for row in rows] == months(156)[144:] + months(132)[120:]
    assert [row["step"] for row in rows] == [str(k) for k in range(1, 13)] * 2
    kernel, bias = weights_of(linear)
    for shop in "ab":
        inputs, mean, deviation = scaled(shop)
        expected = (inputs[-LENGTH:].reshape(-1) @ kernel + bias) * deviation + mean
        predicted = [float(row["sold"]) for row in rows if row["shop"] == shop]
        np.testing.assert_allclose(predicted, expected, rtol=1e-4)


def test_evaluate_finds_the_same_and_takes_other_rows(linear: Path, run: Run, tmp_path: Path) -> None:
    code, out, _ = run("evaluate", str(linear))
    assert code == 0 and "4 test windows of" in out
    values = dict(line.split() for line in out.splitlines() if line.startswith("test/"))
    assert float(values["test/mae"]) == pytest.approx(run_json(linear)["metrics"]["test/mae"], rel=1e-4)
    shutil.copy(linear.parents[2] / "shops.csv", tmp_path / "same.csv")
    code, out, _ = run("evaluate", str(linear), "data.path=same.csv")
    assert code == 0 and f"{144 + 120 - 2 * 35} windows of {tmp_path}/same.csv" in out  # every window
    code, _, err = run("evaluate", str(linear), "data.path=same.csv", "data.window.length=12")
    assert code == 2 and "data.window: a trained run keeps its length and horizon" in err


def test_a_model_of_raw_windows_is_exported(linear: Path, run: Run) -> None:
    code, out, err = run("export", str(linear), "format=saved_model", f"out={linear.parent}/export")
    assert (code, err) == (0, "")
    assert "sold: float32 (batch, 24), nan for empty" in out and "staff: float32 (batch, 24)" in out
    import tensorflow as tf

    model = tf.saved_model.load(f"{linear.parent}/export/saved_model")
    rows = {"sold": sold("a")[None, -LENGTH:], "staff": (np.arange(144) % 7)[None, -LENGTH:]}
    predicted = model.serve({name: tf.constant(cells, tf.float32) for name, cells in rows.items()})
    kernel, bias = weights_of(linear)
    inputs, mean, deviation = scaled("a")
    expected = (inputs[-LENGTH:].reshape(-1) @ kernel + bias) * deviation + mean
    np.testing.assert_allclose(np.asarray(predicted), expected[None], rtol=1e-4)


def trained(run: Run, tmp_path: Path, name: str, *words: str) -> Path:
    """Trains a run and returns its folder."""
    if not (tmp_path / "shops.csv").exists():
        write_csv(tmp_path / "shops.csv")
    code, _, err = run(*DATA, *WORDS, f"name={name}", *words)
    assert code == 0, err
    (folder,) = (tmp_path / "outputs" / name).iterdir()
    return folder


def state_of(run: Path) -> dict[str, bytes]:
    newest = max((run / "checkpoints").glob("step-*"))
    with np.load(newest / "state.npz") as state:
        return {key: state[key].tobytes() for key in state.files}


def test_streaming_and_resuming_give_the_same_bits(run: Run, tmp_path: Path) -> None:
    words = ("model=sequence", "model.units=4", "optimizer=adam", "trainer.compile=graph")
    whole = trained(run, tmp_path, "whole", *words)
    streamed = trained(run, tmp_path, "streamed", *words, "data.residency=stream")
    assert state_of(streamed) == state_of(whole)
    assert run_json(streamed)["metrics"] == run_json(whole)["metrics"]
    part = trained(run, tmp_path, "part", *words, "trainer.max_steps=20")  # within the second epoch
    assert run_json(part)["step"] == 20
    assert run("resume", str(part), "trainer.max_steps=null")[0] == 0
    assert state_of(part) == state_of(whole)


@pytest.mark.parametrize("words", [["trainer.compile=xla"], ["trainer.compile=eager", "trainer.microbatches=2"]])
def test_windows_are_trained_alike_in_every_mode(words: list[str], linear: Path, run: Run, tmp_path: Path) -> None:
    folder = trained(run, tmp_path, "other", "model=linear", *words)
    assert run_json(folder)["metrics"] == pytest.approx(run_json(linear)["metrics"], rel=1e-3)


def test_the_seasonal_naive_forecast_is_what_was_a_year_ago(run: Run, tmp_path: Path) -> None:
    folder = trained(run, tmp_path, "naive", "model=seasonal_naive", "model.period=12", "trainer.max_epochs=1")
    errors = [
        sold(shop)[begin : begin + HORIZON] - sold(shop)[begin - 12 : begin]
        for shop, first in (("a", 130), ("b", 108))
        for begin in range(first, len(sold(shop)) - HORIZON + 1)
    ]
    assert run_json(folder)["metrics"]["test/mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


def test_several_targets_have_a_past_each(run: Run, tmp_path: Path) -> None:
    folder = trained(run, tmp_path, "two", "data.target=[sold,staff]", "model=multi_task", "metric=none")
    assert run("predict", str(folder), "out=two.csv")[0] == 0
    header, *rows = (tmp_path / "two.csv").read_text().splitlines()
    assert header.replace('"', "") == "shop,month,step,sold,staff" and len(rows) == 24
