"""The words of `tfrun export` beside the run and the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Result = tuple[int, str, str]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("format=keras quantize=int8", "quantize: only format=litert is quantized. Received: quantize=int8 format="),
        ("format=litert quantize=int9",
         "quantize: unknown way to quantize. Received: 'int9'. Known: dynamic, float16, int8. Did you mean 'int8'?"),
        ("format=litert quantize=", "quantize: unknown way to quantize. Received: ''"),
        ("format=litert max_drop=0.1", "max_drop: needs quantize=dynamic, float16, int8, whose effect it limits"),
        ("format=litert quantize=int8 max_drop=much", "max_drop: must be a number from 0 on. Received: 'much'. Exam"),
        ("format=litert quantize=int8 max_drop=-0.1", "max_drop: must be a number from 0 on. Received: '-0.1'"),
        ("format=litert quantize=int8 max_drop=nan", "max_drop: must be a number from 0 on. Received: 'nan'"),
        ("format=litert quantize=int8 ensemble=all", "quantize: takes one run, since an ensemble isn't evaluated"),
        ("format=serving version=0", "version: must be a whole number from 1 on. Received: '0'. Example: version=3"),
        ("format=serving version=1.5", "version: must be a whole number from 1 on. Received: '1.5'"),
        ("format=serving version=9223372036854775808", "version: must be a whole number from 1 on"),
        ("format=keras version=1", "version: only format=serving has one. Received: version=1 format=keras"),
        ("format=onnx name=houses", "name: only format=serving has one. Received: name=houses format=onnx"),
        ("format=serving name=a/b", "name: a name has 1 to 100 letters, digits and ._- and can't start with . or -."),
        ("format=serving name=", "name: a name has 1 to 100 letters"),
    ],
)  # fmt: skip
def test_words_that_do_not_fit(words: str, message: str, run: Callable[..., Result], tmp_path: Path) -> None:
    code, _, err = run("export", "nowhere", *words.split())
    assert code == 2 and err.startswith(f"tfrun: error: {message}") and err.count("\n") == 1


def test_a_served_model_has_a_name_and_numbered_versions(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    out = run("export", str(trained), "format=serving")[1]
    base = trained / "export" / "serving" / "default"
    assert engine.calls[1][3]["export_to"].path == base / "1"
    assert f"--model_name=default --model_base_path={base}\n" in out
    assert f"curl -d @{base}/1/assets.extra/request.json http://localhost:8501/v1/models/default:predict\n" in out
    assert (
        run("export", str(trained), "format=serving", "out=a b", "name=houses", "version=7")[1].count(
            "a b'/serving/houses"
        )
        == 2
    )
    assert (tmp_path / "a b/serving/houses/7").exists()
    assert run("export", str(trained), "format=serving")[0] == 0 and (base / "2").exists()
    code, _, err = run("export", str(trained), "format=serving", "version=2")
    assert code == 2 and "version: a version that is there stays as it is" in err
    card = (trained / "export" / "MODEL_CARD.md").read_text()
    assert "| serving/default/1 | serving |" in card and "| serving/default/2 | serving |" in card
    assert card.count("\n### serving/default\n") == 1 and "tf.saved_model.load('serving/default/2')" in card


def test_a_quantized_file_lies_beside_the_other_one(run: Callable[..., Result], engine: Any, trained: Path) -> None:
    words = ["export", str(trained), "format=litert"]
    assert run(*words)[0] == 0
    assert run(*words, "quantize=int8", "max_drop=0.02")[0] == 0
    name, _, _, options = engine.calls[2]
    assert name == "export_quantized" and options["export_to"].path == trained / "export" / "model.int8.tflite"
    assert (options["quantization"].kind, options["quantization"].max_drop) == ("int8", 0.02)
    card = (trained / "export" / "MODEL_CARD.md").read_text()
    assert "\n### litert\n" in card and "Interpreter(model_path='model.tflite')" in card
    assert "\n### model.int8.tflite\n" in card and "Interpreter(model_path='model.int8.tflite')" in card
    assert (
        "- model.int8.tflite: int8: mae 2.5 on 9 test rows, 2 in float32 (a drop of 25.00 %); 4 kB instead of 12"
        in card
    )


def test_quantizing_needs_a_metric_and_the_data(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    words = ["export", str(trained), "format=litert", "quantize=int8"]
    (tmp_path / "rows.csv").rename(tmp_path / "moved.csv")
    code, _, err = run(*words)
    assert code == 3 and err.count("\n") == 1
    assert "quantize=int8 measures the run's metric on the data that it was trained on: data.path=FILE" in err
    assert run(*words, "data.path=moved.csv")[0] == 0
    config = yaml.safe_load((trained / "config.yaml").read_text())
    (trained / "config.yaml").write_text(yaml.safe_dump({**config, "metric": {}}))
    code, _, err = run(*words, "data.path=moved.csv")
    assert code == 2 and err == (
        "tfrun: error: quantize: needs a metric of the run, by which the drop is measured. Received: quantize=int8 of "
        "a run with metric=none\n"
    )
