"""Node and its packages are found as a program would find them; `test_tfjs.py` predicts in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfrun.engine.inference.exporting import javascript
from tfrun.engine.inference.exporting.format import ExportError


@pytest.mark.parametrize("place", ["current folder", "folder of the export", "NODE_PATH"])
def test_where_packages_are_looked_for(
    place: str, node_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("work/below", "exports"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "below")
    monkeypatch.delenv("NODE_PATH", raising=False)
    missing = f"in a clean process, but not in JavaScript (no @tensorflow/tfjs; {javascript.INSTALL})"
    assert javascript.place_of_check(tmp_path / "exports") == missing
    if place == "NODE_PATH":
        monkeypatch.setenv("NODE_PATH", str(node_packages))
    else:
        folder = "work" if place == "current folder" else "exports"  # the one above is searched too
        (tmp_path / folder / "node_modules").symlink_to(node_packages)
    node = javascript.find(tmp_path / "exports")
    assert node is not None and list(node.files) == ["cpu", "wasm"] and node.version == "4.22.0"


def test_what_goes_wrong_in_javascript_is_one_line(node_packages: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("NODE_PATH", str(node_packages))
    node = javascript.find(tmp_path)
    assert node is not None
    rows = {"x": np.zeros((1, 1), "float32")}
    with pytest.raises(ExportError, match=r"^tfjs: can't be used in Node by TensorFlow\.js 4\.22\.0: .*predict\.mjs"):
        javascript.outputs(node, tmp_path / "tfjs", rows=rows, batches=[1], names=["output"])
