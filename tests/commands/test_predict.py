from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = tuple[int, str, str]


def trained(run: Callable[..., Result], engine: Any, tmp_path: Path) -> Path:
    """Returns the folder of a run that was trained on a number and a text column."""
    (tmp_path / "rows.csv").write_text("x,kind,y\n" + "".join(f"{k},a,{k}.5\n" for k in range(12)))
    assert run("data=csv", "data.path=rows.csv", "data.target=y")[0] == 0
    folder: Path = engine.calls[0][2].path
    fitted = {"vocabularies": {"kind": ["a"]}, "task": "regression", "classes": []}
    fitted |= {key: {"x": 1.0} for key in ("medians", "means", "variances")} | {"deciles": {"x": [1.0] * 9}}
    (folder / "preprocessing.json").write_text(json.dumps(fitted))
    return folder


def test_rows_are_read_with_the_columns_of_the_run(run: Callable[..., Result], engine: Any, tmp_path: Path) -> None:
    folder = trained(run, engine, tmp_path)
    (tmp_path / "new.csv").write_text("more,kind,x\nb,a,1\nb,a,2\n")
    assert run("predict", str(folder), "data.path=new.csv")[0] == 0
    name, settings, _, options = engine.calls[1]
    assert (name, options["out"]) == ("predict", folder / "predictions" / "new.csv")
    assert list(settings.data.params["columns"]) == ["x", "kind"]
    assert list(settings.data.params["text_columns"]) == ["kind"]
    run("predict", str(folder), "data.path=new.csv", "out=mine.parquet")
    assert engine.calls[2][3]["out"] == Path("mine.parquet")


def test_what_predict_refuses(run: Callable[..., Result], engine: Any, tmp_path: Path) -> None:
    folder = str(trained(run, engine, tmp_path))
    code, _, err = run("predict", folder, "out=mine.txt")
    assert code == 2 and "out: must be a .csv or a .parquet file. Received: 'mine.txt'" in err
    code, _, err = run("predict", folder, "seed=1")
    assert code == 2 and "seed: predict takes other data only. Received: 'seed=1'" in err
    assert len(engine.calls) == 1
