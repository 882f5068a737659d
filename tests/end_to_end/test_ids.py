"""A table with ids and lists of ids is trained on, evaluated, predicted and exported by the command."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tfrun import cli

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

N = 80
KINDS = (
    "data.kinds={user: {name: hashed, bins: 50}, shop: {name: category, max_ids: 3}, "
    "items: {name: tokens, bins: 40, length: 3}, genres: {name: tokens, length: 2}}"
)


def columns(num_rows: int = N) -> dict[str, pa.Array]:
    rows = range(num_rows)
    genres = ["Science Fiction", "Drama", "War"]
    return {
        "user": pa.array([None if k % 9 == 0 else 2**60 + k % 7 for k in rows], pa.int64()),
        "shop": pa.array([k * k % 5 for k in rows], pa.int32()),
        "items": pa.array([None if k % 8 == 0 else list(range(k % 5)) for k in rows], pa.list_(pa.int64())),
        "genres": pa.array([genres[: k % 3] for k in rows], pa.list_(pa.string())),
        "x": pa.array([k % 11 / 4 for k in rows]),
        "y": pa.array([k % 7 + k % 3 / 2 for k in rows]),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ids")
    pq.write_table(pa.table(columns()), root / "rows.parquet", row_group_size=30)
    fast = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=1", "logger=null"]
    data = ["data=parquet", f"data.path={root / 'rows.parquet'}", "data.target=y", "model=wide_deep", KINDS]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        assert cli.main([*data, *fast, "model.crosses=[[user,shop]]", f"output_root={root}"]) == 0
    (root / "said").write_text(out.getvalue())
    (folder,) = root.glob("outputs/*/*")
    return folder


def test_what_was_learnt_and_what_was_cut(run: Path) -> None:
    learnt = json.loads((run / "preprocessing.json").read_text())
    assert (learnt["bins"], learnt["lengths"]) == ({"user": 50}, {"items": 3, "genres": 2})
    assert learnt["tokens"] == {"items": [], "genres": learnt["tokens"]["genres"]}
    assert learnt["kinds"] == {"items": {"name": "tokens", "bins": 40}}
    assert len(learnt["vocabularies"]["shop"]) == 3 and set(learnt["vocabularies"]["shop"]) == {"0", "1", "4"}
    said = " ".join((run.parents[2] / "said").read_text().split())
    # of the lists of four ids, those of rows 4, 9, …, 79, two (24 and 64) are null
    assert "column 'items' of" in said and "14 of 80 lists have more than 3 ids and are cut" in said


def test_further_rows_are_evaluated_and_predicted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = {
        "user": pa.array([-(2**62), 2**60], pa.int64()),
        "shop": pa.array([99, 0], pa.int32()),
        "items": pa.array([[10**18, 10**18 + 1], list(range(9))], pa.list_(pa.int64())),
        "genres": pa.array([["Opera"], None], pa.list_(pa.string())),
        "x": pa.array([1.0, 2.0]),
        "y": pa.array([1.0, 2.0]),
    }
    pq.write_table(pa.table(strange), tmp_path / "few.parquet")
    assert cli.main(["evaluate", str(run), f"data.path={tmp_path / 'few.parquet'}"]) == 0
    to = [f"data.path={tmp_path / 'few.parquet'}", "keep=[user,items]", f"out={tmp_path / 'out.parquet'}"]
    assert cli.main(["predict", str(run), *to]) == 0
    said = " ".join(sum(map(str.split, capsys.readouterr()), []))
    assert said.count("column 'shop': 1 of 2 rows have values that aren't among the most frequent") == 2
    predicted = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert predicted["user"] == [-(2**62), 2**60] and predicted["items"][1] == list(range(9))
    assert np.isfinite(predicted["y"]).all()


def test_an_exported_model_takes_their_texts(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table(columns(6)), tmp_path / "few.parquet")
    out = tmp_path / "out.csv"
    assert cli.main(["predict", str(run), f"data.path={tmp_path / 'few.parquet'}", f"out={out}"]) == 0
    predicted = arrow_csv.read_csv(out).to_pydict()["y"]
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    assert 'items: string (batch, 1), "" for empty' in capsys.readouterr().out
    texts = {
        "user": ["", *(str(2**60 + k) for k in range(1, 6))],
        "shop": ["0", "1", "4", "4", "1", "0"],
        "items": ["", "0", "0 1", "0 1 2", "0 1 2 3", ""],
        "genres": ["", "Science\u00a0Fiction", "Science\u00a0Fiction Drama"] * 2,
    }
    rows = {name: tf.constant(cells)[:, None] for name, cells in texts.items()}
    model = tf.saved_model.load(str(run / "export" / "saved_model"))
    served = model.serve({**rows, "x": tf.constant([[k / 4] for k in range(6)])})
    np.testing.assert_allclose(served[:, 0], predicted, atol=0.002)  # of so many decimals


def test_a_run_is_resumed_with_the_same_rows(run: Path) -> None:
    assert cli.main(["resume", str(run), "trainer.max_epochs=2"]) == 0
    assert json.loads((run / "run.json").read_text())["status"] == "completed"
