from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = tuple[int, str, str]


def test_rows_are_read_with_the_columns_of_the_run(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("more,kind,x\nb,7,1\nb,a,2\n")
    assert run("predict", str(trained), "data.path=new.csv")[0] == 0
    name, _, _, options = engine.calls[1]
    assert (name, options["out"]) == ("predict", trained / "predictions" / "new.csv")
    columns = {column: cells.tolist() for column, cells in options["table"].columns.items()}
    assert columns == {"kind": ["7", "a"], "x": [1.0, 2.0]}
    run("predict", str(trained), "data.path=new.csv", "out=mine.parquet")
    assert engine.calls[2][3]["out"] == Path("mine.parquet")


def test_what_predict_refuses(run: Callable[..., Result], engine: Any, trained: Path) -> None:
    code, _, err = run("predict", str(trained), "out=mine.txt")
    assert code == 2 and "out: must be a .csv or a .parquet file. Received: 'mine.txt'" in err
    code, _, err = run("predict", str(trained), "seed=1")
    assert code == 2 and "seed: predict takes other data only. Received: 'seed=1'" in err
    assert len(engine.calls) == 1
