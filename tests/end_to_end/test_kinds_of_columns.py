"""A table with columns of all kinds is trained on, evaluated, predicted and exported by the command."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as arrow_csv
import pytest
import tensorflow as tf

from tfrun import cli

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

HEADER = "age,member,size,zip,street,note,day,when,price,y"
KINDS = (
    "data.kinds={age: {name: number, impute: mean, indicator: true, scale: quantile}, member: boolean, "
    "size: {name: ordered, values: [low, mid, high]}, zip: {name: category, min_count: 2}, "
    "street: {name: hashed, bins: 8}, note: {name: tokens, length: 3}, "
    'day: {name: date, format: "%d.%m.%Y"}, price: {name: number, scale: robust}}'
)


def line(k: int, **changes: Any) -> str:
    cells = {
        "age": "" if k % 7 == 0 else 20 + k % 40,
        "member": ("true", "No", "")[k % 3],
        "size": ("low", "high", "mid")[k * k % 3],
        "zip": 80331 + k % 5,
        "street": f"street {k % 11}",
        "note": ("good", "not good", "bad indeed")[k % 3],
        "day": f"{k % 28 + 1}.{k % 12 + 1}.2024",
        "when": f"2024-0{k % 9 + 1}-11T{k % 24:02}:30:00",  # the only column whose kind is guessed
        "price": f'"${k % 9 + 1},{100 + k}"',
        "y": k % 17 + 0.5 * (k % 3),
    }
    return ",".join(map(str, (cells | changes).values()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinds")
    (root / "rows.csv").write_text("\n".join([HEADER, *map(line, range(120))]) + "\n")
    data = [
        "data=csv",
        f"data.path={root / 'rows.csv'}",
        "data.target=y",
        'data.thousands=","',
        "data.strip=[$]",
        KINDS,
    ]
    fast = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=1", "logger=null"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        assert cli.main([*data, *fast, f"output_root={root}"]) == 0
    (root / "said").write_text(out.getvalue())
    (folder,) = root.glob("outputs/*/*")
    return folder


def test_each_column_is_of_its_kind(run: Path) -> None:
    learnt = json.loads((run / "preprocessing.json").read_text())
    assert {name: column["name"] for name, column in learnt["kinds"].items()} == {
        **{"age": "number", "member": "boolean", "size": "ordered", "day": "date", "when": "date"},
    }
    assert (list(learnt["medians"]), list(learnt["bins"])) == (["age", "price"], ["street"])
    assert (list(learnt["vocabularies"]), list(learnt["tokens"])) == (["zip"], ["note"])
    assert learnt["means"]["price"] > 1000
    said = " ".join((run.parents[2] / "said").read_text().split())
    assert said.count("all values are ISO dates, so the model gets when:elapsed, when:year_sin") == 1


def test_further_rows_are_evaluated_and_predicted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = line(3, member="perhaps", size="huge", day="30.2.2024", when="soon", zip=99999)
    (tmp_path / "few.csv").write_text("\n".join([HEADER, line(1), strange, line(2, day="NA", member="NA")]) + "\n")
    assert cli.main(["evaluate", str(run), f"data.path={tmp_path / 'few.csv'}"]) == 0
    assert cli.main(["predict", str(run), f"data.path={tmp_path / 'few.csv'}", f"out={tmp_path / 'out.csv'}"]) == 0
    said = " ".join(sum(map(str.split, capsys.readouterr()), []))
    for name, which in (
        ("member", "that are neither true nor false"),
        ("size", "that data.kinds doesn't list"),
        ("day", "that aren't such dates"),
        ("when", "that aren't such dates"),
        ("zip", "that aren't among the most frequent of the training rows"),
    ):
        assert said.count(f"column '{name}': 1 of 3 rows have values {which}: they count as empty") == 2
    predicted = arrow_csv.read_csv(tmp_path / "out.csv").to_pydict()["y"]
    assert len(predicted) == 3 and np.isfinite(predicted).all()


def test_an_exported_model_takes_raw_cells(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.csv").write_text("\n".join([HEADER, line(5)]) + "\n")
    assert cli.main(["predict", str(run), f"data.path={tmp_path / 'few.csv'}", f"out={tmp_path / 'out.csv'}"]) == 0
    (predicted,) = arrow_csv.read_csv(tmp_path / "out.csv").to_pydict()["y"]
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    assert 'when: string (batch, 1), "" for empty' in capsys.readouterr().out
    texts = ("member", "size", "zip", "street", "note", "day", "when")
    cells = dict(zip(HEADER.split(","), line(5).split(",")[:8], strict=False))
    rows = {name: tf.constant([[cells[name]]]) for name in texts}
    rows |= {"age": tf.constant([[float(cells["age"])]]), "price": tf.constant([[6105.0]])}
    model = tf.saved_model.load(str(run / "export" / "saved_model"))
    np.testing.assert_allclose(model.serve(rows), [[predicted]], rtol=1e-4)


def test_a_format_says_which_columns_of_texts_it_can_not_hold(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(run), "format=onnx"]) == 2
    columns = "day (date), when (date), street (hashed), note (tokens)"
    message = f"can't hold hashed texts, words or dates. Received columns: {columns}. Use saved_model or keras"
    assert message in capsys.readouterr().err
