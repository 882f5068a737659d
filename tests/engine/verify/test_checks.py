"""What `tfrun check` prints and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from tfrun.config.component_settings import ComponentSettings
from tfrun.config.schema import component_alone
from tfrun.engine.building import devices
from tfrun.engine.training.step import Step
from tfrun.engine.verify import checks, contracts, data_contracts, parity
from tfrun.engine.verify.checks import CheckOptions
from tfrun.engine.verify.findings import ContractError, Finding
from tfrun.errors import ConfigError


def check(small: Any, *overrides: str, **options: Any) -> None:
    settings = small.settings("model=linear", "data.batch_size=64", *overrides)
    table = small.table(*overrides)
    checks.check(settings, small.catalog, table=table, options=CheckOptions(**options))


def test_everything_that_is_known_without_training_is_printed(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check(small, "trainer.max_epochs=3")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("data    scikit-learn's diabetes, regression: 442 rows (")
    assert any(line.startswith("        numbers (batch, ") and line.endswith("float32") for line in lines)
    assert "steps   6 an epoch, 18 in all" in lines
    columns = [line for line in lines if line.startswith(("        categories: ", "        target: "))]
    assert columns == ["        categories: sex (2)", "        target: progression, numbers"]
    assert any(line.startswith("model   linear, ") and line.endswith(" parameters") for line in lines)
    assert any(line.startswith("group   all: adam, learning rate 0.001, ") for line in lines)
    assert any(line.startswith("memory  ") for line in lines)
    assert lines[-1] == "All that can be checked without training is in order."


def test_what_the_columns_were_taken_for_is_printed(
    small: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = "".join(f"{k + 1},{k % 7 if k % 5 else ''},{'ab'[k % 2]},{k % 10}.5\n" for k in range(60))
    (tmp_path / "rows.csv").write_text(f"id,size,place,y\n{rows}")
    check(small, "data=csv", f"data.path={tmp_path}/rows.csv", "data.target=y")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:5] == [
        "        numbers: id, size",
        "        categories: place (2)",
        "        filled: empty cells of size (12)",
        "        target: y, numbers",
    ]
    (warning,) = (line for line in lines if line.startswith("warning: column 'id' of "))
    assert ": numbers the rows, " in warning


def test_contracts_of_chosen_groups_are_one_line_each_after_the_data(
    small: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_contracts, "check_saved", lambda *_, **__: Finding("saved", True))
    check(small, groups=["data", "model", "algorithm"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("data    scikit-learn's diabetes, regression: 442 rows")
    kept = [line.split() for line in lines if line.startswith("kept ")]
    assert [words[2:] for words in kept] == [
        ["promises", "of", word] for word in ("data=diabetes", "model=linear", "algorithm=supervised")
    ]
    assert min(int(words[1]) for words in kept) >= 4
    assert not any("outputs are finite" in line for line in lines)


def test_a_broken_contract_is_shown_with_the_others_of_its_component(
    small: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_contracts, "check_saved", lambda *_, **__: Finding("saved", False, "gone"))
    with pytest.raises(ContractError, match="model=linear: saved"):
        check(small, groups=["model"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model=linear" and "  ok     outputs are finite" in lines and "  FAILS  saved: gone" in lines


def difference(off: float, first: tuple[int, str] | None = None, tensor: str = "") -> Any:
    return lambda *_, **__: [parity.Difference("graph", off, tensor, first)]


@pytest.mark.parametrize(
    ("compare", "text"),
    [
        (difference(0.0), "parity  2 steps of graph beside Python: the same bits"),
        (difference(1e-7, tensor="kernel"), "parity  2 steps of graph beside Python: at most 1e-07 off, kernel"),
        (difference(float("nan"), tensor="no such op"), "can't be compiled: no such op"),
    ],
)
def test_steps_are_compared(
    compare: Any, text: str, small: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "compare", compare)
    check(small, parity_steps=2)
    assert text in capsys.readouterr().out


def test_steps_that_differ_are_an_error(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "compare", difference(0.5, (1, "bias"), "kernel"))
    message = r"compiled by graph, step 1 gives another bias than in Python.*Furthest off: kernel, by 0\.5"
    with pytest.raises(parity.ParityError, match=message):
        check(small, parity_steps=2)


def test_components_alone_are_checked(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    checks.check_contracts([("schedule", ComponentSettings("cosine", {}))], small.catalog)
    assert capsys.readouterr().out.splitlines()[0] == "schedule=cosine"


def test_a_broken_promise_is_an_error(
    small: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("is fast", True), Finding("is right", False, "3 of 4")]
    monkeypatch.setattr(contracts, "check", lambda kind, make: found)
    with pytest.raises(ContractError, match="check: 1 of 2 promises aren't kept: loss=mse: is right"):
        checks.check_contracts([("loss", ComponentSettings("mse", {}))], small.catalog)
    assert capsys.readouterr().out.splitlines() == ["loss=mse", "  ok     is fast", "  FAILS  is right: 3 of 4"]
    assert tf.executing_eagerly()


def test_components_are_checked_in_a_precision(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []

    def record_policy(kind: str, make: Any) -> list[Finding]:
        found.append(keras.config.dtype_policy().name)
        return []

    monkeypatch.setattr(contracts, "check", record_policy)
    try:
        for precision in ("mixed_bfloat16", "float64"):
            checks.check_contracts([("loss", ComponentSettings("mse", {}))], small.catalog, precision=precision)
            found.append(keras.config.floatx())
    finally:
        devices.set_precision("float32")
    assert found == ["mixed_bfloat16", "float32", "float64", "float64"]


@pytest.mark.parametrize("precision", ["mixed_float16", "float64"])
def test_contracts_hold_in_every_precision(precision: str, small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = [("loss", "huber"), ("metric", "rmse"), ("activation", "softplus"), ("schedule", "cosine")]
    chosen = [(kind, component_alone(kind, {"name": name}, catalog=small.catalog)) for kind, name in words]
    try:
        checks.check_contracts(chosen, small.catalog, precision=precision)
    finally:
        devices.set_precision("float32")
    assert "FAILS" not in capsys.readouterr().out


def test_a_step_is_traced(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(step: Any, *batch: Any, tracing: Any) -> None:
        raise ConfigError("model: so these get no gradient")

    monkeypatch.setattr(Step, "compute", refuse)
    with pytest.raises(ConfigError, match="so these get no gradient"):
        check(small)


def test_a_data_set_alone_is_checked(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    checks.check_data_set(small.settings("data=diabetes"), small.catalog)
    name, *findings = capsys.readouterr().out.splitlines()
    assert name == "data=diabetes"
    assert findings[0].startswith("  ok     every column has a row for each target: 442 targets; age: 442, ")
