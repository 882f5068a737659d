from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = tuple[int, str, str]


def test_evaluate_takes_other_data_only(run: Callable[..., Result], engine: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{k},{k}.5\n" for k in range(12)))
    run("data.batch_size=8")
    path = str(engine.calls[0][2].path)
    assert run("evaluate", path, "data=csv", "data.path=rows.csv", "data.target=y")[0] == 0
    name, config, _, _ = engine.calls[1]
    assert (name, config.data.name, config.data.batch_size) == ("evaluate", "csv", 8)
    code, _, err = run("evaluate", path, "model=mlp")
    assert code == 2 and "takes other data only" in err
