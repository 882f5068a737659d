"""`tfrun export RUN format=litert quantize=…`: a file is written only if the run's metric stays what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfrun import cli
from tfrun.files.exports import RECORD

pytestmark = [
    pytest.mark.usefixtures("warm_checks"),  # which tests/engine/verify/test_findings.py starts cold
    pytest.mark.skipif("not __import__('importlib').util.find_spec('ai_edge_litert')", reason="no extra litert"),
]
TRAIN = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=2"]


def test_a_quantized_export_is_measured_by_the_run_s_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(["model=mlp", "metric=[rmse,mae]", "checkpoint.monitor=val/mae", *TRAIN, f"output_root={tmp_path}"])
        == 0
    )
    (run,) = tmp_path.glob("outputs/*/*")
    words = ["export", str(run), "format=litert"]
    capsys.readouterr()
    assert cli.main([*words, "quantize=int8", "max_drop=0"]) == 2
    error = capsys.readouterr().err
    assert "quantize=int8: the drop is more than max_drop=0: int8: mae " in error and error.count("\n") == 1
    assert list((run / "export").iterdir()) == []
    assert cli.main([*words, "quantize=dynamic", "max_drop=0.05"]) == 0
    assert "dynamic: mae " in capsys.readouterr().out
    record = json.loads((run / "export" / RECORD).read_text())["model.dynamic.tflite"]
    quantized = record["quantized"]
    measured = json.loads((run / "run.json").read_text())["metrics"]["test/mae"]
    assert quantized["values"][0] == pytest.approx(measured, rel=1e-5) and quantized["num_rows"] == 44
    assert quantized["sizes"][1] == (run / "export" / "model.dynamic.tflite").stat().st_size < quantized["sizes"][0]
    assert quantized["drop"] == pytest.approx(quantized["values"][1] / measured - 1, abs=1e-5)
    assert not (run / "export" / "model.tflite").exists()
