from __future__ import annotations

from collections.abc import Callable
from typing import Any

Result = tuple[int, str, str]


def test_export_takes_a_run_and_one_format(run: Callable[..., Result], engine: Any) -> None:
    run()
    folder = str(engine.calls[0][2].path)
    assert run("export", folder, "format=onnx")[0] == 0
    name, _, exported, options = engine.calls[1]
    assert (name, str(exported.path), options) == ("export_run", folder, {"format": "onnx"})
    for words, message in (
        ([folder], "needs one format of saved_model, keras, litert, onnx"),
        ([folder, "format=onnx", "format=keras"], "Received: onnx, keras"),
        ([folder, "format=onx"], "Did you mean 'onnx'?"),
        ([folder, "format=onnx", "seed=1"], "seed: export takes a run and a format. Received: 'seed=1'"),
        (["format=onnx"], "export: needs one run folder"),
    ):
        code, _, err = run("export", *words)
        assert code == 2 and message in err
    assert len(engine.calls) == 2
