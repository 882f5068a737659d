from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Result = tuple[int, str, str]


def test_export_takes_a_run_and_one_format(run: Callable[..., Result], engine: Any, trained: Path) -> None:
    folder = str(trained)
    assert run("export", folder, "format=onnx")[0] == 0
    name, _, exported, options = engine.calls[1]
    assert (name, str(exported.path)) == ("export_run", folder)
    assert options["export_to"].path == trained / "export" / "model.onnx" and not options["is_stored"]
    for words, message in (
        ([folder], "needs one format of saved_model, keras, litert, onnx"),
        ([folder, "format=onnx", "format=keras"], "Received: onnx, keras"),
        ([folder, "format=onx"], "Did you mean 'onnx'?"),
        ([folder, "format=onnx", "seed=1"], "seed: export takes a run, data and format, out, ensemble, quantize, "),
        (["format=onnx"], "export: needs one run folder"),
    ):
        code, _, err = run("export", *words)
        assert code == 2 and message in err
    assert len(engine.calls) == 2


def test_a_run_that_has_stored_rows_needs_no_data(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").rename(tmp_path / "moved.csv")
    code, _, err = run("export", str(trained), "format=keras")
    assert code == 3 and "The run has stored no rows to compare an export with" in err
    (trained / "samples.json").write_text(
        json.dumps({"rows": [7, 2], "columns": {"x": [1.5, None], "kind": ["a", ""]}})
    )
    assert run("export", str(trained), "format=keras")[0] == 0
    options = engine.calls[1][3]
    assert options["is_stored"]
    np.testing.assert_array_equal(options["table"].columns["x"], [1.5, np.nan])
    assert options["table"].columns["kind"].tolist() == ["a", ""]
    assert run("export", str(trained), "format=keras", "data.path=moved.csv")[0] == 0  # who names data wants them read
    assert not engine.calls[2][3]["is_stored"]
    code, _, err = run("export", str(trained), "format=keras", "data.path=mooved.csv")
    assert code == 3 and "Did you mean" in err and "stored no rows" not in err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("[1]", "list indices must be integers"),
        ("[" * 100_000, "maximum recursion depth"),
        ('{"rows": [0], "columns": {"x": [1, 2]}}', "its columns have different lengths"),
        ('{"rows": [0], "columns": {"x": 3}}', "'int' object is not iterable"),
        ('{"rows": [0], "columns": {"x": [1' + "0" * 400 + "]}}", "int too large to convert to float"),
        ('{"rows": [0], "columns": {"x": [1]}}', "it lacks 'kind'"),
        ('{"rows": [0], "columns": {"x": ["1"], "kind": ["a"]}}', "the cells of 'x' aren't those of such a column"),
        ('{"rows": [0, 1], "columns": {"x": [1, 2], "kind": ["a", 2]}}', "the cells of 'kind' aren't"),
        ('{"rows": [0], "columns": {"x": {"dtype": "<f4", "shape": [1, 1], "base64": "AAAAAA=="}}}', "of 'x' aren't"),
    ],
)  # fmt: skip
def test_damaged_rows_are_an_error(
    text: str, reason: str, run: Callable[..., Result], engine: Any, trained: Path
) -> None:
    (trained / "samples.json").write_text(text)
    code, _, err = run("export", str(trained), "format=keras")
    assert code == 6 and err.startswith(f"tfrun: error: {trained / 'samples.json'}: is damaged: ")
    assert reason in err and err.endswith(". Remove it to compare with the run's data\n") and err.count("\n") == 1


def test_rows_that_are_no_text_are_an_error(run: Callable[..., Result], engine: Any, trained: Path) -> None:
    (trained / "samples.json").write_bytes(b"\xff")
    code, _, err = run("export", str(trained), "format=keras")
    assert code == 6 and err.startswith(f"tfrun: error: {trained / 'samples.json'}: can't be read: ")


def test_nothing_is_written_through_a_link_of_the_run(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    for name in ("export", "predictions"):
        (trained / name).symlink_to(tmp_path / "outside")
    for words in (
        ["export", "format=keras"],
        ["export", "format=keras", f"out={trained}/export"],
        ["predict"],
        ["predict", f"out={trained}/predictions/mine.csv"],
    ):
        code, _, err = run(words[0], str(trained), *words[1:])
        name = "export" if words[0] == "export" else "predictions"
        assert code == 5 and err == (
            f"tfrun: error: {trained / name}: can't be written: it is a link, and tfrun writes through none\n"
        )
    assert len(engine.calls) == 1
    assert run("export", str(trained), "format=keras", "out=outside")[0] == 0


def test_out_is_a_folder(run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path) -> None:
    assert run("export", str(trained), "format=keras", "out=models/new")[0] == 0
    assert engine.calls[1][3]["export_to"].path == tmp_path / "models" / "new" / "model.keras"
    (tmp_path / "model.keras").touch()
    code, _, err = run("export", str(trained), "format=keras", "out=.")
    assert code == 2 and "model.keras exists, and is no export of this run" in err
