"""Keras files hold a model of any class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun import cli

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]
LONG = ["trainer.max_epochs=60", "data.batch_size=16", "optimizer=adam", "optimizer.learning_rate=0.01"]


@pytest.mark.parametrize(
    ("words", "formats"),
    [
        ([*DIGITS, "model=cnn", "model.filters=[4]"], ["keras"]),
        (  # a class with a metric of its own
            ["model=reconstructing_regressor", "model.activation=softplus", "trainer.precision=mixed_bfloat16"],
            ["keras", "saved_model"],
        ),
    ],
    ids=["array", "subclassed"],
)
def test_models_are_exported(
    train_in: Callable[..., Path],
    words: list[str],
    formats: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = train_in(tmp_path, *words)
    for format in formats:
        assert cli.main(["export", str(run), f"format={format}"]) == 0
        assert "predictions at most" in capsys.readouterr().out
    assert (run / "export" / "model.keras").is_file()


def test_a_sequence_of_words_is_exported(
    train_in: Callable[..., Path], write_reviews: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    *words, metric, loss = write_reviews(tmp_path / "reviews.csv")
    words[-1] = "data.text={words: tokens}"
    lines = [line.split(",") for line in (tmp_path / "reviews.csv").read_text().splitlines()]
    (tmp_path / "reviews.csv").write_text("".join(f"{line[0]},{line[3]}\n" for line in lines))
    run = train_in(tmp_path, *words, metric, loss, "model=sequence", *LONG)
    assert json.loads((run / "run.json").read_text())["metrics"]["test/accuracy"] > 0.9
    assert cli.main(["export", str(run), "format=keras"]) == 0
