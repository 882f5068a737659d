"""Predictions as columns and files, from models whose outputs are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet

from tfrun.data.examples import Examples
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference import predictions
from tfrun.errors import ResourceError

NUMBER = FittedTarget("regression", mean=10.0, standard_deviation=4.0)
TWO, THREE = FittedTarget("classification", ["no", "yes"]), FittedTarget("classification", ["a", "b", "c"])


def columns(model: Any, names: list[str], inputs: Any, *, learns_targets: bool = True, **targets: Any) -> Any:
    """Returns the columns of a function of the inputs, whose outputs are named by the targets."""
    fitted = cast(Preprocessing, SimpleNamespace(targets=targets))
    examples = Examples(np.asarray(inputs, np.float32), np.zeros((len(inputs), 1)), {}, fitted, "")

    def call(x: tf.Tensor, training: bool) -> Any:
        assert not training
        return model(x)

    call.__dict__.update({name: getattr(model, name) for name in ("samples",) if hasattr(model, name)})
    return predictions.columns(cast(Any, call), examples, names=names, learns_targets=learns_targets)


def test_a_number_is_in_the_unit_of_its_target() -> None:
    predicted = columns(lambda x: x, ["price"], [[0.0], [0.5], [-1.0]], output=NUMBER)
    assert predicted["price"].tolist() == [10.0, 12.0, 6.0]


def test_samples_of_a_number_have_a_standard_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "EVALUATION_ROWS", 2)
    drawn = np.random.default_rng(0).normal(size=(5, 7, 1))

    class Sampled:
        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(self.samples(x), axis=1)

        def samples(self, x: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.constant(drawn), tf.cast(x[:, 0], tf.int32))

    rows = [[0.0], [1.0], [2.0], [3.0], [4.0]]
    predicted = columns(Sampled(), ["price"], rows, output=NUMBER)
    assert list(predicted) == ["price", "price_std"]
    np.testing.assert_allclose(predicted["price"], 10.0 + 4.0 * drawn[:, :, 0].mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(predicted["price_std"], 4.0 * drawn[:, :, 0].std(axis=1), rtol=1e-12)
    assert list(columns(Sampled(), ["sold"], rows, output=TWO)) == ["sold", "sold=no", "sold=yes"]
    assert list(columns(Sampled(), ["price"], rows, learns_targets=False, output=NUMBER)) == ["output_0"]


def test_a_class_has_its_probabilities() -> None:
    predicted = columns(lambda x: x, ["sold"], [[0.0], [np.log(3.0)], [-np.log(3.0)]], output=TWO)
    np.testing.assert_allclose(predicted["sold=yes"], [0.5, 0.75, 0.25], rtol=1e-6)
    np.testing.assert_allclose(predicted["sold=no"], [0.5, 0.25, 0.75], rtol=1e-6)
    assert predicted["sold"].tolist()[1:] == ["yes", "no"]


def test_several_classes_have_a_column_each() -> None:
    predicted = columns(lambda x: x, ["kind"], np.log([[1.0, 1.0, 2.0], [6.0, 2.0, 2.0]]), output=THREE)
    assert list(predicted) == ["kind", "kind=a", "kind=b", "kind=c"]
    assert predicted["kind"].tolist() == ["c", "a"]
    np.testing.assert_allclose(predicted["kind=a"], [0.25, 0.6], rtol=1e-6)


def test_several_targets_have_their_columns() -> None:
    model = lambda x: {"output": x, "sold": 0.0 * x - 5.0}  # noqa: E731
    predicted = columns(model, ["price", "sold"], [[0.5]], output=NUMBER, sold=TWO)
    assert list(predicted) == ["price", "sold", "sold=no", "sold=yes"]
    assert (predicted["price"].tolist(), predicted["sold"].tolist()) == ([12.0], ["no"])


def test_outputs_that_are_no_targets_are_numbered() -> None:
    predicted = columns(lambda x: x, ["price"], [[1.0, 2.0], [3.0, 4.0]], learns_targets=False, output=NUMBER)
    assert list(predicted) == ["output_0", "output_1"]
    assert (predicted["output_0"].tolist(), predicted["output_1"].tolist()) == ([1.0, 3.0], [2.0, 4.0])


def test_rows_are_predicted_in_parts_and_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "EVALUATION_ROWS", 2)
    predicted = columns(lambda x: x, ["price"], [[float(k)] for k in range(5)], output=FittedTarget("regression"))
    assert predicted["price"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_columns_are_written_as_csv_and_parquet(tmp_path: Path) -> None:
    predicted = {"sold": np.array(["yes", "no"], dtype=object), "sold=yes": np.array([0.75, 0.5])}
    predictions.write(predicted, tmp_path / "new" / "out.csv")
    assert (tmp_path / "new" / "out.csv").read_text() == '"sold","sold=yes"\n"yes",0.75\n"no",0.5\n'
    predictions.write(predicted, tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet").to_pydict() == {"sold": ["yes", "no"], "sold=yes": [0.75, 0.5]}


def test_a_file_is_replaced_as_a_whole_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious.csv").write_text("precious")
    (tmp_path / "out.csv").symlink_to("precious.csv")
    predictions.write({"a": np.ones(1)}, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == '"a"\n1\n'
    assert (tmp_path / "precious.csv").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "precious.csv"]


def test_a_file_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="out: .* can't be written"):
        predictions.write({"a": np.zeros(1)}, tmp_path / "file" / "out.csv")
