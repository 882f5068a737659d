from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun import load_engine
from tfrun.files.exports import Checked, Export, Quantized
from tfrun.files.runs import EXPORTS

Result = tuple[int, str, str]


class Engine:
    """Stands in for tfrun.engine.experiment and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any, dict[str, Any]]] = []
        self.error: BaseException | None = None

    def __enter__(self) -> tuple[Engine, float]:
        return self, 0.0

    def __exit__(self, *error: object) -> None:
        pass

    @staticmethod
    def RunOptions(**options: Any) -> dict[str, Any]:
        return options

    @staticmethod
    def CheckOptions(**options: Any) -> dict[str, Any]:
        return options

    def train(self, config: Any, folder: Any, *, catalog: Any, table: Any, options: dict[str, Any]) -> int:
        self.calls.append(("train", config, folder, options))
        if self.error:
            raise self.error
        options.get("on_begin", lambda: None)()
        return 0

    def evaluate(self, config: Any, folder: Any, *, catalog: Any, table: Any, **options: Any) -> None:
        self.calls.append(("evaluate", config, folder, options | {"table": table}))

    def predict(self, config: Any, folder: Any, *, catalog: Any, pieces: Any, **options: Any) -> None:
        self.calls.append(("predict", config, folder, options | {"pieces": list(pieces)}))
        options["out"].parent.mkdir(exist_ok=True)
        options["out"].write_text("predictions")

    def export_run(self, config: Any, folder: Any, *, catalog: Any, **options: Any) -> Checked:
        self.calls.append(("export_run", config, folder, options))
        self._write(options["export_to"])
        return Checked(2, 1e-7)

    def export_quantized(self, config: Any, folder: Any, *, catalog: Any, **options: Any) -> Checked:
        self.calls.append(("export_quantized", config, folder, options))
        self._write(options["export_to"])
        quantized = Quantized("int8", "mae", False, (2.0, 2.5), 9, sizes=(12_000, 4_000), milliseconds=(0.2, 0.1))
        return Checked(2, 0.5, quantized=quantized)

    @staticmethod
    def _write(export: Export) -> None:
        with export.replaced(1) as temporary:
            (temporary / EXPORTS[export.format]).touch()

    def check_contracts(self, components: Any, catalog: Any, **options: Any) -> None:
        self.calls.append(("check_contracts", components, None, options))

    def check_data_set(self, config: Any, catalog: Any) -> None:
        self.calls.append(("check_data_set", config, None, {}))

    def check(self, config: Any, catalog: Any, *, table: Any, options: dict[str, Any]) -> None:
        self.calls.append(("check", config, None, options))


@pytest.fixture
def trained(run: Callable[..., Result], engine: Engine, tmp_path: Path) -> Path:
    """The folder of a run that seems to have been trained on a number column and a text column."""
    (tmp_path / "rows.csv").write_text("x,kind,y\n" + "".join(f"{k},a,{k}.5\n" for k in range(12)))
    assert run("data=csv", "data.path=rows.csv", "data.target=y", "data.batch_size=8")[0] == 0
    folder: Path = engine.calls[0][2].path
    fitted = {"vocabularies": {"kind": ["a"]}, "task": "regression", "classes": []}
    fitted |= {key: {"x": 1.0} for key in ("medians", "means", "variances")} | {"deciles": {"x": [1.0] * 9}}
    (folder / "preprocessing.json").write_text(json.dumps(fitted))
    (folder / "checkpoints" / "step-000000001").mkdir(parents=True)
    return folder


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    stand_in = Engine()
    monkeypatch.setattr(load_engine, "engine", lambda log: stand_in)
    return stand_in
