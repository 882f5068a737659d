from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Result = tuple[int, str, str]


def test_train_claims_a_folder_and_records_the_config(run: Callable[..., Result], engine: Any, tmp_path: Path) -> None:
    code, _, err = run("train", "name=first", "loss=huber", "loss.delta=2", "seed=0")
    assert (code, err) == (0, "")
    ((_, config, folder, _),) = engine.calls
    assert folder.path.parent == tmp_path / "outputs" / "first"
    assert config.loss.to_dict() == {"name": "huber", "delta": 2.0}
    assert config.seed == 0
    written = yaml.safe_load((folder.path / "config.yaml").read_text())
    assert written["optimizer"]["groups"]["wide"]["name"] == "ftrl"
    overrides = yaml.safe_load((folder.path / ".hydra" / "overrides.yaml").read_text())
    assert overrides == ["name=first", "loss=huber", "loss.delta=2", "seed=0"]
    assert "output_dir" in (folder.path / ".hydra" / "hydra.yaml").read_text()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (ValueError("a bug"), 1)])
def test_exit_code_of_what_is_no_mistake(
    run: Callable[..., Result], engine: Any, error: BaseException, code: int
) -> None:
    engine.error = error
    status, _, err = run()
    assert status == code
    assert ("Traceback" in err and "a bug" in err) == (code == 1)
