"""What is done with a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.data.preprocessing import Preprocessing
from tfrun.data.samples import Samples
from tfrun.data.table import Table
from tfrun.engine.inference import trained
from tfrun.engine.inference.exporting import clean_process
from tfrun.engine.inference.exporting.format import Format
from tfrun.errors import DataError
from tfrun.files.exports import Export
from tfrun.files.runs import RunFolder

WORDS = ["model=linear", "data.batch_size=64"]


def fitted(folder: RunFolder) -> Preprocessing:
    return Preprocessing.from_fields(folder.read_preprocessing())


def evaluate(small: Any, folder: RunFolder, *words: str, table: Any = None, other_data: bool = False) -> None:
    table = small.table() if table is None else table
    options = {"catalog": small.catalog, "fitted": fitted(folder), "other_data": other_data}
    trained.evaluate(small.settings(*WORDS, *words), folder, table=table, **options)


def export_run(small: Any, folder: RunFolder, table: Table, *, is_stored: bool) -> None:
    export_to = Export("keras", folder.exports, run_id=folder.run_id, is_own_folder=True)
    options: dict[str, Any] = {"fitted": fitted(folder), "export_to": export_to, "is_stored": is_stored}
    trained.export_run(small.settings(*WORDS), folder, catalog=small.catalog, table=table, **options)


def evaluated(lines: list[str]) -> dict[str, float]:
    return {name: float(value) for name, value in (line.split() for line in lines if line.startswith("test/"))}


def test_the_test_split_is_evaluated_as_at_the_end_of_the_run(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small.train()
    capsys.readouterr()
    evaluate(small, folder)
    lines = capsys.readouterr().out.splitlines()
    run = folder.read_run()
    assert lines[0].endswith(", best weights up to step 12")
    assert lines[1] == f"{run['data']['test']} test rows of scikit-learn's diabetes"
    metrics = {name: value for name, value in run["metrics"].items() if name.startswith("test/")}
    assert evaluated(lines) == pytest.approx(metrics, rel=1e-5)


def test_every_row_of_other_data_is_evaluated(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small.train()
    capsys.readouterr()
    evaluate(small, folder, other_data=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "442 rows of scikit-learn's diabetes"
    assert evaluated(lines).keys() == {"test/loss", "test/mae", "test/rmse"}


def test_a_run_without_test_rows_can_not_be_evaluated(small: Any) -> None:
    folder = small.train("data.test_split=0", "trainer.max_epochs=1")
    with pytest.raises(DataError, match="data.test_split: there are no test rows to evaluate on"):
        evaluate(small, folder, "data.test_split=0")


def test_an_export_is_compared_with_the_run(
    small: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check in a clean process takes seconds; `exporting/test_formats.py` does it."""
    calls: list[Any] = []

    def check(path: Path, format: Format, rows: Any, expected: Any, sizes: Any, imports: Any) -> float:
        calls.append((path.name, format.name, rows["age"], expected["output"]))
        return 2e-7

    folder = small.train("trainer.max_epochs=1")
    monkeypatch.setattr(clean_process, "largest_difference", check)
    stored = Samples.from_json(folder.samples_json.read_text())
    table = Table(stored.columns, np.zeros(64), "", "regression", "samples.json")
    for is_stored, rows in ((True, table), (False, small.table())):
        export_run(small, folder, rows, is_stored=is_stored)
        source = f"64 stored rows of {folder.samples_json}" if is_stored else "64 rows of scikit-learn's diabetes"
        assert f"{source}, predictions at most 2e-07 off the run's own" in capsys.readouterr().out
    assert folder.exports.joinpath("model.keras").is_file()
    (name, format, ages, expected), again = calls
    assert (name, format) == ("model.keras", "keras")
    test_rows = small.pieces().examples.splits["test"]
    np.testing.assert_array_equal(ages[:44, 0], small.table().columns["age"][test_rows])
    np.testing.assert_array_equal(again[2], ages)
    np.testing.assert_allclose(again[3], expected, rtol=1e-6)
    changed = small.table()
    changed.columns["bmi"][:] *= 100
    with pytest.raises(DataError, match=r"its contents have changed .* In training: .* An export is compared on"):
        export_run(small, folder, changed, is_stored=False)
