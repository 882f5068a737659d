"""Runs that are opened in Python, compared with what the commands write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import tfrun
from tfrun import cli
from tfrun.errors import CheckpointError, ConfigError, DataError

TRAIN = ["model=linear", "trainer.compile=eager", "trainer.deterministic=false", "trainer.max_epochs=2"]
NUM_ROWS = 60


def houses() -> pd.DataFrame:
    """Returns rows with an empty number and an empty text."""
    rows = np.arange(NUM_ROWS)
    rooms = np.where(rows == 7, np.nan, 1.0 + rows % 5)
    district = ["" if row == 9 else ("north", "south", "west")[row % 3] for row in rows]
    price = 100 + 30.5 * (rows % 5) + 10 * (rows % 3)
    return pd.DataFrame(
        {"rooms": rooms, "district": district, "price": price, "sold": np.where(rows % 2 == 0, "yes", "no")}
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    houses().to_csv(folder / "houses.csv", index=False)
    months = [f"{2000 + k // 12}-{k % 12 + 1:02}" for k in range(60)]
    pd.DataFrame({"month": months, "passengers": 100 + np.arange(60) % 12}).to_csv(folder / "air.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def train(project: Path) -> Callable[..., tfrun.Run]:
    """Trains a run of a file in the project's folder, in this process, and opens it from another folder."""

    def call(name: str, *words: str) -> tfrun.Run:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(project)
            assert cli.main([*TRAIN, f"name={name}", *words]) == 0
        (folder,) = (project / "outputs" / name).iterdir()
        return tfrun.open(folder)

    return call


@pytest.fixture(scope="module")
def prices(train: Callable[..., tfrun.Run]) -> tfrun.Run:
    """Returns a regression; its path of data is relative to the project's folder."""
    return train("prices", "data=csv", "data.path=houses.csv", "data.target=price", "data.exclude=[sold]")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Works in another folder than the run's, and proves that each call comes back to it."""
    monkeypatch.chdir(tmp_path)
    yield
    assert Path.cwd() == tmp_path


def predictions_file(run: tfrun.Run, path: Path, *words: str) -> dict[str, list[Any]]:
    """Returns what the command predicts, with all digits."""
    out = Path("out.parquet").absolute()
    assert cli.main(["predict", str(run.path), f"data.path={path}", f"out={out}", "overwrite=true", *words]) == 0
    columns: dict[str, list[Any]] = pq.read_table(out).to_pydict()
    return columns


def test_a_run_says_what_its_files_say(prices: tfrun.Run) -> None:
    fields = json.loads((prices.path / "run.json").read_text())
    assert prices.status == fields["status"] == "completed"
    assert prices.metrics == fields["metrics"]
    assert prices.best == {key: value for key, value in fields["best"].items() if key != "monitor"}
    assert prices.config["data"]["path"] == "houses.csv" and prices.config["trainer"]["max_epochs"] == 2
    assert repr(prices) == f"<tfrun.Run {prices.path}: completed>"


def test_history_has_a_row_for_each_epoch(prices: tfrun.Run) -> None:
    *epochs, test = map(json.loads, (prices.path / "metrics.jsonl").read_text().splitlines())
    assert "test/loss" in test and len(epochs) == 2
    assert prices.history(frame="records") == epochs
    frame = prices.history()
    assert isinstance(frame, pd.DataFrame) and frame.to_dict("records") == epochs
    assert prices.history(frame="polars").to_dicts() == epochs
    columns = prices.history(frame="columns")
    assert columns["epoch"].tolist() == [1, 2] and columns["val/loss"].tolist() == [e["val/loss"] for e in epochs]
    with pytest.raises(ConfigError, match="frame: unknown kind of frame. Received: 'panda'.*Did you mean 'pandas'"):
        prices.history(frame="panda")  # type: ignore[arg-type]


def test_predictions_are_those_of_the_command(prices: tfrun.Run, project: Path) -> None:
    expected = predictions_file(prices, project / "houses.csv")["price"]
    assert len(expected) == NUM_ROWS
    rows = houses().drop(columns="price").set_index(pd.Index([f"row {k}" for k in range(NUM_ROWS)]))
    frame = prices.predict(rows)
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == ["price"]
    assert frame.index.equals(rows.index)
    assert frame["price"].tolist() == pytest.approx(expected, rel=1e-6)
    as_polars = prices.predict(pl.DataFrame(rows.to_dict("list")))
    assert isinstance(as_polars, pl.DataFrame) and as_polars["price"].to_list() == frame["price"].tolist()
    mapping = prices.predict({name: rows[name].tolist() for name in ("rooms", "district")})
    assert isinstance(mapping["price"], np.ndarray) and mapping["price"].tolist() == frame["price"].tolist()
    of_file = prices.predict(project / "houses.csv", frame="records")
    assert [row["price"] for row in of_file] == frame["price"].tolist()
    assert prices.predict(rows[:1], frame="columns")["price"].tolist() == pytest.approx(expected[:1], rel=1e-6)


def test_relative_paths_are_those_of_the_current_folder(prices: tfrun.Run) -> None:
    houses()[:3].to_csv("mine.csv", index=False)
    assert len(prices.predict("mine.csv")) == 3
    with pytest.raises(DataError, match="no such file"):
        prices.predict("houses.csv")


def test_rows_that_a_run_cannot_read_are_reported(prices: tfrun.Run) -> None:
    with pytest.raises(DataError, match="the rows: the run learnt from a column that isn't in the rows. Received: 'ro"):
        prices.predict(pd.DataFrame({"district": ["north"]}))
    with pytest.raises(DataError, match="a mapping must hold columns. Received: 'rooms', a float"):
        prices.predict({"rooms": 2.0, "district": "north"})
    with pytest.warns(UserWarning, match="column 'district': 1 of 2 rows have values") as caught:
        prices.predict({"rooms": [1, 2], "district": ["north", "nowhere"]})
    assert caught[0].filename == __file__


def test_evaluation_gives_the_metrics(prices: tfrun.Run, project: Path) -> None:
    of_test = {name: value for name, value in prices.metrics.items() if name.startswith("test/")}
    assert prices.evaluate() == pytest.approx(of_test, rel=1e-5)
    assert set(of_test) == {"test/loss", "test/mae", "test/rmse"}
    error = np.abs(prices.predict(houses())["price"] - houses()["price"]).mean()
    assert prices.evaluate(houses())["test/mae"] == pytest.approx(error, rel=1e-5)
    assert prices.evaluate(project / "houses.csv")["test/mae"] == pytest.approx(error, rel=1e-5)


def test_the_model_takes_raw_rows(prices: tfrun.Run) -> None:
    rows = houses()
    model = prices.model()
    inputs = {"rooms": rows[["rooms"]].to_numpy("float32"), "district": rows[["district"]].to_numpy()}
    expected = prices.predict(rows)["price"].to_numpy()
    assert np.array(model(inputs))[:, 0] == pytest.approx(expected, rel=1e-5)
    for variable in model.trainable_variables:
        variable.assign(variable * 0.0)
    assert prices.predict(rows)["price"].to_numpy() == pytest.approx(expected, rel=1e-6)  # it is a model of its own


def test_classes_have_probabilities(train: Callable[..., tfrun.Run], project: Path) -> None:
    run = train("sold", "data=csv", "data.path=houses.csv", "data.target=sold", "trainer.max_epochs=1")
    expected = predictions_file(run, project / "houses.csv")
    frame = run.predict(houses())
    assert list(frame.columns) == list(expected) == ["sold", "sold=no", "sold=yes"]
    assert frame["sold"].tolist() == expected["sold"]
    assert frame["sold=yes"].tolist() == pytest.approx(expected["sold=yes"], rel=1e-5)
    right = np.mean(frame["sold"] == houses()["sold"])
    assert run.evaluate(houses())["test/accuracy"] == pytest.approx(right)


def test_forecasts_are_the_steps_after_the_last_row(train: Callable[..., tfrun.Run], project: Path) -> None:
    words = ["data.window.length=12", "data.window.horizon=2", "data.window.time=month", "trainer.max_epochs=1"]
    run = train("air", "data=csv", "data.path=air.csv", "data.target=passengers", *words)
    expected = predictions_file(run, project / "air.csv")
    frame = run.predict(pd.read_csv(project / "air.csv"))
    assert list(frame.columns) == list(expected) and frame["step"].tolist() == [1, 2]
    assert frame["month"].tolist() == ["2005-01", "2005-02"]
    assert frame["passengers"].tolist() == pytest.approx(expected["passengers"], rel=1e-5)


def test_a_run_that_was_trained_on_is_loaded_anew(train: Callable[..., tfrun.Run], project: Path) -> None:
    words = ["data=csv", "data.path=houses.csv", "data.target=price", "optimizer=adam", "optimizer.learning_rate=0.1"]
    run = train("longer", *words, "data.exclude=[sold]")
    before = run.predict(houses())["price"]
    assert cli.main(["resume", str(run.path), "trainer.max_epochs=4"]) == 0
    after = run.predict(houses())["price"]
    assert after.tolist() == pytest.approx(predictions_file(run, project / "houses.csv")["price"], rel=1e-6)
    assert np.abs(after - before).max() > 1


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder, it does not exist"):
        tfrun.open("nowhere")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "trials.jsonl").touch()
    with pytest.raises(ConfigError, match=r"sweep: is a sweep; tfrun.runs\('sweep'\) is a table of its runs"):
        tfrun.open("sweep")


def test_a_run_without_a_checkpoint_predicts_nothing(prices: tfrun.Run, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text((prices.path / "config.yaml").read_text())
    run = tfrun.open(tmp_path)
    assert (run.status, run.metrics, run.history(frame="records")) == ("not started", {}, [])
    with pytest.raises(CheckpointError, match="the run has no checkpoint yet"):
        run.predict(houses())
