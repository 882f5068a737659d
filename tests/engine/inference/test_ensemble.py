"""The mean of several runs as one exported model, by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun import cli
from tfrun.engine.inference.ensemble import averaged

pytestmark = pytest.mark.usefixtures("warm_checks")

TRAIN = ["trainer.compile=graph", "trainer.max_epochs=2", "model=wide_deep", "model.hidden_units=[4]"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three runs that differ in their seeds."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2, 3):
        assert cli.main([*TRAIN, f"seed={seed}", f"output_root={root}"]) == 0
    return root / "outputs" / "default"


def test_the_two_best_runs_become_one_model(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(runs), "ensemble=best2", "format=keras", f"out={tmp_path / 'export'}"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "the mean of 2 runs" in said and "checked in a clean process: 64 rows" in said
    from tfrun.reports.comparison import compare

    best = [row.folder.path for row in compare([str(runs)]).rows[:2]]
    assert all(str(path) in said or path.name in said for path in best)
    model = keras.saving.load_model(tmp_path / "export" / "model.keras")
    names = ("age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
    rows = {name: np.full((2, 1), np.nan, np.float32) for name in names} | {"sex": np.array([["F"], ["?"]])}
    together = model({name: keras.ops.convert_to_tensor(value) for name, value in rows.items()})
    apart = []
    for k, run in enumerate(best):
        out = tmp_path / f"alone{k}"
        assert cli.main(["export", str(run), "format=keras", f"out={out}"]) == 0
        alone = keras.saving.load_model(out / "model.keras")
        apart.append(alone({name: keras.ops.convert_to_tensor(value) for name, value in rows.items()}))
    np.testing.assert_allclose(together, np.mean(apart, axis=0), rtol=1e-5)
    assert cli.main(words) == 0  # it replaces its own export, and no other
    assert cli.main([*words[:2], "ensemble=best3", *words[3:]]) == 2


def test_runs_of_other_ids_become_one_model_of_ids(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`exporting/test_formats.py` has all formats, and runs that know other texts."""
    assert cli.main(["export", str(runs), "ensemble=all", "format=tfjs", f"out={tmp_path / 'export'}"]) == 0
    assert "the mean of 3 runs" in capsys.readouterr().out
    model = json.loads((tmp_path / "export" / "tfjs" / "model.json").read_text())
    assert sorted(model["userDefinedMetadata"]["text"]["sex"]["values"]) == ["1", "2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ensemble=best4"], "there are 3 completed runs"),
        (["ensemble=first"], "must be all, or best and a number"),
        (["ensemble=all", "seed=3"], "takes folders, format, ensemble and out only"),
    ],
)
def test_mistakes(runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert cli.main(["export", str(runs), "format=keras", *words]) == 2
    assert message in capsys.readouterr().err


def test_runs_of_other_columns_are_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,y\n" + "".join(f"{k},{k * 2.5}\n" for k in range(40)))
    data = ["data=csv", f"data.path={rows}", "data.target=y"]
    assert cli.main([*TRAIN, *data, f"output_root={tmp_path}"]) == 0
    (other,) = tmp_path.glob("outputs/default/*")
    one = next(path for path in runs.iterdir() if path.is_dir())
    capsys.readouterr()
    assert cli.main(["export", str(one), str(other), "ensemble=all", "format=keras", f"out={tmp_path / 'out'}"]) == 2
    assert "the runs have other columns" in capsys.readouterr().err


def test_the_mean_of_each_output() -> None:
    def model(factor: float) -> Any:
        inputs = {"a": keras.Input((1,), name="a")}
        outputs = {"y": inputs["a"] * factor, "z": inputs["a"] + factor}
        return keras.Model(inputs, outputs, name=f"model_{factor:.0f}")

    outputs = averaged([model(1.0), model(3.0)])({"a": np.array([[2.0]], np.float32)})
    assert {name: value.numpy().item() for name, value in outputs.items()} == {"y": 4.0, "z": 4.0}
