"""Whether the best epoch is the one with the smallest or the greatest value: what the monitored metric says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tfrun import cli

GAIN = """
import tensorflow as tf
from tfrun import register

@register.metric("net_gain", higher_is_better=True)
def net_gain(y_true, y_pred):
    "Minus the absolute error: a metric of a person's own, of which more is better."
    return -tf.reduce_mean(tf.abs(y_pred - y_true), axis=-1)

@register.metric("within", task="regression", higher_is_better=True)
def within(y_true, y_pred, distance: float = 1.0):
    "The share of predictions that are off by at most `distance`."
    return tf.reduce_mean(tf.cast(tf.abs(y_pred - y_true) <= distance, "float32"), axis=-1)
"""
SHORT = ["model=linear", "optimizer=sgd", "trainer.compile=graph", "trainer.max_epochs=6", "plugins=[gains]"]


def train(*words: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Trains in the current folder; returns `run.json` and the lines of `metrics.jsonl` but the last, the test's."""
    before = set(Path("outputs").glob("*/*"))
    assert cli.main([*SHORT, *words]) == 0
    (run,) = set(Path("outputs").glob("*/*")) - before
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return json.loads((run / "run.json").read_text()), lines[:-1]


def test_the_best_epoch_is_that_of_the_greatest_value_where_more_is_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gains.py").write_text(GAIN)
    metrics = "metric=[r2,net_gain,within,mae]"
    for monitor, best_of in (("val/r2", max), ("val/net_gain", max), ("val/mae", min)):
        run, lines = train(metrics, f"checkpoint.monitor={monitor}", "optimizer.learning_rate=0.01")
        values = [line[monitor] for line in lines]
        assert values[0] != values[-1] and run["best"][monitor] == best_of(values)
        assert run["best"]["epoch"] == 1 + values.index(best_of(values))
    assert run["higher_is_better"] == {"loss": False, "r2": True, "net_gain": True, "within": True, "mae": False}

    assert "is better" not in capsys.readouterr().out
    run, lines = train(metrics, "checkpoint.monitor=val/r2", "checkpoint.mode=min")  # a given mode wins
    assert "warning: checkpoint.mode=min, but a greater val/r2 is better\n" in capsys.readouterr().out
    assert run["best"]["val/r2"] == min(line["val/r2"] for line in lines)

    # a value that gets better each epoch has no patience to lose
    stopping = ["early_stopping.monitor=val/net_gain", "early_stopping.patience=1"]
    run, lines = train(metrics, *stopping, "optimizer.learning_rate=0.01")
    values = [line["val/net_gain"] for line in lines]
    assert values == sorted(values) and len(lines) == 6 and run["engine"]["ended_by"] == "last step"

    capsys.readouterr()
    Path("gains.py").unlink()  # the runs tell by themselves
    assert cli.main(["compare", "outputs", "metric=val/net_gain", "--csv"]) == 0
    heads, *lines_of_csv = [line.split(",") for line in capsys.readouterr().out.split("\n\n")[0].splitlines()]
    shown = [float(cells[heads.index("val/net_gain best")]) for cells in lines_of_csv]
    assert len(shown) == 5 and shown == sorted(shown, reverse=True)
