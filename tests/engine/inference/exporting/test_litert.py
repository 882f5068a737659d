"""LiteRT files look up texts, have several outputs, and hardly compute in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.config.column_kinds import CategoryKind, ColumnKind, DateKind, HashedKind, OrderedKind
from tfrun.data.kinds import RawColumn, fit_column
from tfrun.data.layers import look_up
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference.exporting import litert
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.errors import ConfigError


def fitted(cells: list[str], kind: ColumnKind) -> Preprocessing:
    column = fit_column(RawColumn("town", np.array(cells, object), np.arange(len(cells)), "rows.csv"), kind)
    return Preprocessing(columns=(column,), targets={"output": FittedTarget("regression")})


def test_a_file_looks_up_categories_and_names_its_outputs(tmp_path: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra litert isn't installed")
    towns = fitted(["Köln", "Köln", "Aix"], CategoryKind())
    rows: dict[str, Any] = {
        "größe (m²)": keras.Input((1,), name="gr__e__m__"),
        "größe [m²]": keras.Input((1,), name="gr__e__m___2"),
        "town": keras.Input((1,), dtype="string", name="town"),
    }
    number = keras.ops.cast(look_up(towns.categories, [rows["town"]]), "float32")
    with pytest.warns(UserWarning, match="all keys in the dict must match"):
        model = keras.Model(rows, {"output": rows["größe (m²)"] - 2 * rows["größe [m²]"], "the town's": number})
    litert.write(model, tmp_path / "model.tflite")
    predict = interpreter.Interpreter(model_path=str(tmp_path / "model.tflite")).get_signature_runner()
    for size in (1, 7, 300, 1):
        a, b = (np.resize(np.array(values, "float32"), (size, 1)) for values in ([5.0, 1.0, np.nan], [1.5, 1.0, 0.0]))
        town = np.resize(np.array(["Aix", "", "Köln"], object), (size, 1))
        outputs = predict(**{"größe (m²)": a, "größe [m²]": b, "town": town})
        np.testing.assert_array_equal(outputs["output"], np.resize([2.0, -1.0, np.nan], (size, 1)))
        np.testing.assert_array_equal(outputs["the town's"], np.resize([2.0, 0.0, 1.0], (size, 1)))


def test_other_texts_are_refused() -> None:
    litert.refuse(fitted(["low", "high"], OrderedKind(values=["low", "high"])))
    for kind, cells, name in ((HashedKind(), ["a", "b"], "hashed"), (DateKind(), ["2024-01-31", "2024-02-01"], "date")):
        with pytest.raises(
            ConfigError, match=rf"format=litert: of texts, it can look up .* columns: town \({name}\)\. Use"
        ):
            litert.refuse(fitted(cells, kind))


def test_numbers_in_float64_are_refused(tmp_path: Path) -> None:
    far = keras.Input((1,), dtype="float64", name="far")
    model = keras.Model({"far": far}, keras.layers.Rescaling(1.0, 0.0, dtype="float64")(far))
    with pytest.raises(ExportError, match=r"format=litert: can't compute in float64, .*: far, the target\. Use"):
        litert.write(model, tmp_path / "model.tflite")
