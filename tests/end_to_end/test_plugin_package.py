"""Someone else's components, by both doors: an installed package and a module in the current folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

MY_LOSSES = '''
"""A loss of one's own."""
from typing import Annotated

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import register


@register.loss("asymmetric")
class Asymmetric(keras.losses.Loss):
    """Too low is `under` times as bad as too high."""

    def __init__(self, under: Annotated[float, Gt(0)] = 1.0):
        super().__init__()
        self.under = under

    def call(self, y_true, y_pred):
        error = y_pred - y_true
        return tf.reduce_mean(tf.where(error < 0, self.under, 1.0) * tf.square(error), axis=-1)
'''


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Installs the plugin package into a folder of its own and returns the environment that finds it."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(root / "tests" / "plugin_package", folder / "source")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", folder / "site", folder / "source"], check=True)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")]))}


def the_run(folder: Path) -> dict[str, Any]:
    """Returns the run.json of the only run below `folder`."""
    (path,) = folder.rglob("run.json")
    return json.loads(path.read_text())


@pytest.mark.wheel
def test_installed_plugin_is_listed_and_shown(tfrun: Run, installed: dict[str, str]) -> None:
    assert "example_asymmetric" not in tfrun("list", "loss").stdout
    assert "example_asymmetric" in tfrun("list", "loss", env=installed).stdout
    shown = tfrun("show", "loss=example_asymmetric", env=installed)
    assert shown.returncode == 0, shown.stderr
    assert "under" in shown.stdout
    assert "how much worse a prediction that is too low is" in shown.stdout


@pytest.mark.wheel
def test_installed_plugin_brings_its_configs(tfrun: Run, installed: dict[str, str]) -> None:
    result = tfrun("experiment=example", "--cfg", "job", env=installed)
    assert result.returncode == 0, result.stderr
    assert "name: example_net" in result.stdout
    assert "under: 2.0" in result.stdout


@pytest.mark.slow
def test_installed_plugin_trains_by_name(tfrun: Run, installed: dict[str, str], tmp_path: Path) -> None:
    result = tfrun(
        "model=example_net",
        "model.units=4",
        "loss=example_asymmetric",
        "loss.under=2.0",
        "metric=example_bias",
        "optimizer=example_sign",
        "trainer.max_epochs=2",
        env=installed,
    )
    assert result.returncode == 0, result.stderr
    run = the_run(tmp_path)
    assert run["status"] == "completed"
    assert {"val/loss", "val/example_bias", "test/example_bias"} <= set(run["metrics"])


@pytest.mark.slow
def test_module_in_the_current_folder_trains_by_name(tfrun: Run, tmp_path: Path) -> None:
    (tmp_path / "my_losses.py").write_text(MY_LOSSES)
    result = tfrun("plugins=[my_losses]", "loss=asymmetric", "loss.under=2.0", "trainer.max_epochs=2")
    assert result.returncode == 0, result.stderr
    assert the_run(tmp_path)["status"] == "completed"


def test_wrong_parameter_of_a_plugin_is_refused_with_the_near_miss(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "my_losses.py").write_text(MY_LOSSES)
    code, _, err = run("plugins=[my_losses]", "loss=asymmetric", "+loss.undr=2.0")
    assert code == 2
    assert "undr" in err and "under" in err
    assert "Traceback" not in err
