from __future__ import annotations

from typing import Any

import pytest

import tfrun
from tfrun.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("-m", "trains one run, and takes no flags"),
        ("--cfg=job", "trains one run, and takes no flags"),
        ("hparams_search=optuna", r"tfrun.runs\(FOLDER\) is the table of its runs"),
        ("+hydra.sweeper.params.seed=1", "A sweep is a command of its own"),
        ("resume", "takes overrides, KEY=VALUE. Received: 'resume'"),
        ({"model": "mlp"}, "overrides are texts, 'model=mlp' for example"),
    ],
)
def test_only_runs_are_trained(word: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tfrun.run("loss=huber", word)
