"""What a run has learnt from its training rows is neither learnt nor guessed again, whatever further rows look like."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet

from tfrun import cli
from tfrun.engine.inference.exporting import clean_process

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

FAST = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=2", "logger=null", "model=mlp"]
HEADER = "age,code,y"
# a third of the codes are digits, a seventh of the ages is missing
ROWS = [
    f"{'' if k % 7 == 0 else 20 + k},{100 + k % 6 if k % 3 == 0 else f'A{k % 6}'},{2 * k + k % 9}" for k in range(90)
]
LABELS = ["a,b,y", *(f"{k % 17},{k * 7 % 11},{int(k % 17 > 8)}" for k in range(120))]


def train(root: Path, lines: Sequence[str], *words: str) -> Path:
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    data = ["data=csv", f"data.path={root / 'train.csv'}", "data.target=y", "data.batch_size=16"]
    assert cli.main([*data, *FAST, *words, f"output_root={root}"]) == 0
    (run,) = root.glob("outputs/*/*")
    return run


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("regression"), [HEADER, *ROWS])


@pytest.fixture(scope="module")
def classification(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["loss=binary_crossentropy", "metric=accuracy", "optimizer.learning_rate=0.02"]
    return train(tmp_path_factory.mktemp("classification"), LABELS, *words)


def evaluate(run: Path, path: Path) -> dict[str, float]:
    """Returns the metrics that the command prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main(["evaluate", str(run), f"data.path={path}"]) == 0
    lines = [line.split() for line in out.getvalue().splitlines() if line.startswith("test/")]
    return {name: float(value) for name, value in lines}


def predict(run: Path, path: Path) -> list[dict[str, Any]]:
    """Returns the rows of the predictions, with all digits."""
    out = path.with_suffix(".out.parquet")
    assert cli.main(["predict", str(run), f"data.path={path}", f"out={out}"]) == 0
    return parquet.read_table(out).to_pylist()


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:5],
        ROWS[8:9],
        [row for row in ROWS if row.split(",")[1].isdigit()],
        [f",{row.partition(',')[2]}" for row in ROWS],
        ["{},,{}".format(*row.split(",")[::2]) for row in ROWS],
        [f"{row.split(',')[0]},new {k},{k}" for k, row in enumerate(ROWS)],
    ],
    ids=["few", "one", "digits as text", "no number", "no text", "unknown texts"],
)
def test_further_rows_are_evaluated_as_they_are_predicted(rows: list[str], regression: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    predicted = np.array([float(row["y"]) for row in predict(regression, tmp_path / "rows.csv")])
    errors = predicted - [float(row.split(",")[2]) for row in rows]
    metrics = evaluate(regression, tmp_path / "rows.csv")
    assert metrics["test/mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert metrics["test/rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-5)


@pytest.mark.parametrize(
    "rows", [[row for row in LABELS if row.endswith(",1")], LABELS[7:12]], ids=["positives", "few"]
)
@pytest.mark.parametrize("spelling", ["1", "1.0"])
def test_few_rows_and_rows_of_one_class_are_evaluated(
    rows: list[str], spelling: str, classification: Path, tmp_path: Path
) -> None:
    spelt = [row[:-1] + row[-1].replace("1", spelling) for row in rows]
    (tmp_path / "rows.csv").write_text("\n".join([LABELS[0], *spelt]) + "\n")
    predicted = predict(classification, tmp_path / "rows.csv")
    labels = np.array([int(row[-1]) for row in rows])
    likeliest = np.array([int(row["y"]) for row in predicted])
    p = np.array([float(row["y=1"]) for row in predicted])
    metrics = evaluate(classification, tmp_path / "rows.csv")
    assert metrics["test/accuracy"] == pytest.approx(np.mean(likeliest == labels))
    assert metrics["test/loss"] == pytest.approx(-np.log(np.where(labels, p, 1 - p)).mean(), rel=1e-4)


def test_an_empty_cell_is_the_median_of_the_training_rows(regression: Path, tmp_path: Path) -> None:
    median = json.loads((regression / "preprocessing.json").read_text())["medians"]["age"]
    predictions = []
    for name, cell in (("empty", ""), ("median", repr(median))):
        (tmp_path / f"{name}.csv").write_text(f"age,code\n{cell},A1\n")
        predictions.append(predict(regression, tmp_path / f"{name}.csv"))
    assert predictions[0] == predictions[1]  # bit for bit


def test_an_export_is_that_of_the_run_whatever_has_become_of_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path, [HEADER, *ROWS])
    path = tmp_path / "train.csv"
    predicted = np.array([float(row["y"]) for row in predict(run, path)])
    kept = path.read_text()
    path.write_text("\n".join([HEADER, *(f"100{row}" for row in ROWS)]) + "\n")
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    assert "64 stored rows of " in capsys.readouterr().out
    cells = [row.split(",") for row in ROWS]
    ages = tf.constant([[float(age or "nan")] for age, *_ in cells])
    loaded = tf.saved_model.load(str(run / "export" / "saved_model"))
    y = loaded.serve({"age": ages, "code": tf.constant([[code] for _, code, _ in cells])})
    np.testing.assert_allclose(y[:, 0], predicted, rtol=1e-4)

    monkeypatch.setattr(
        clean_process, "largest_difference", lambda *args, **options: 0.0
    )  # another clean process would take seconds
    path.unlink()
    assert cli.main(["export", str(run), "format=keras", f"out={tmp_path / 'out'}"]) == 0
    (run / "samples.json").unlink()
    assert cli.main(["export", str(run), "format=keras"]) == 3
    path.write_text(kept)
    assert cli.main(["export", str(run), "format=keras"]) == 0
    assert "64 rows of " in capsys.readouterr().out


def test_a_run_that_keeps_no_samples_has_none(tmp_path: Path) -> None:
    run = train(tmp_path, [HEADER, *ROWS], "data.keep_samples=false")
    assert not (run / "samples.json").exists()
    assert cli.main(["resume", str(run), "data.keep_samples=true", "trainer.max_epochs=3"]) == 0
    assert len(json.loads((run / "samples.json").read_text())["rows"]) == 64
    assert cli.main(["resume", str(run), "data.keep_samples=false", "trainer.max_epochs=4"]) == 0
    assert not (run / "samples.json").exists()


@pytest.fixture
def read_only(regression: Path) -> Iterator[Path]:
    """The folder of a run as on a file system that is read-only, for the superuser too."""
    active = [True]

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0] if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") else None
        writes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if active and writes and isinstance(path, str | Path) and Path(path).is_relative_to(regression):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    sys.addaudithook(refuse)  # it can't be removed
    yield regression
    active.clear()


def test_a_run_on_a_read_only_file_system_can_be_used(
    read_only: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean_process, "largest_difference", lambda *args, **options: 0.0)
    before = {path: path.stat().st_mtime_ns for path in read_only.rglob("*")}
    assert cli.main(["evaluate", str(read_only)]) == 0
    assert cli.main(["predict", str(read_only), f"out={tmp_path / 'out.csv'}"]) == 0
    assert cli.main(["export", str(read_only), "format=keras", f"out={tmp_path}"]) == 0
    assert cli.main(["report", str(read_only), f"out={tmp_path / 'page.html'}"]) == 0
    assert (
        (tmp_path / "page.html").is_file() and (tmp_path / "out.csv").is_file() and (tmp_path / "model.keras").is_file()
    )
    capsys.readouterr()
    for words in (["predict"], ["report"], ["export", "format=keras"], ["resume", "trainer.max_epochs=9"]):
        assert cli.main([words[0], str(read_only), *words[1:]]) == 5
        (line,) = capsys.readouterr().err.splitlines()
        assert "can't be written: Read-only file system" in line
    assert {path: path.stat().st_mtime_ns for path in read_only.rglob("*")} == before
