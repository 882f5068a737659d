from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from tfrun.errors import CheckpointError

Result = tuple[int, str, str]


def test_resume_takes_up_the_config_with_what_may_change(run: Callable[..., Result], engine: Any) -> None:
    run("seed=3")
    folder = engine.calls[0][2]
    code, _, err = run("resume", str(folder.path), "trainer.max_epochs=50", "early_stopping.patience=4", "tags=[more]")
    assert (code, err) == (0, "")
    _, config, again, options = engine.calls[1]
    assert again.path == folder.path
    assert options["resume"] is True
    assert (config.seed, config.trainer.max_epochs, config.early_stopping.patience) == (3, 50, 4)
    run("resume", str(folder.path))
    assert engine.calls[2][1].trainer.max_epochs == 50


def test_resume_refuses_what_the_state_would_not_fit(run: Callable[..., Result], engine: Any) -> None:
    run()
    path = str(engine.calls[0][2].path)
    code, _, err = run("resume", path, "loss.delta=2", "trainer.max_epochs=50")
    assert code == 6
    assert "loss.delta: 1.0 -> 2" in err
    assert "max_epochs: 20" not in err
    assert "trainer.max_steps" in err  # of the allowed list
    assert run("resume", path, "loss.dleta=2")[0] == 2
    assert len(engine.calls) == 1


def test_a_key_that_an_older_run_lacks_has_its_default(run: Callable[..., Result], engine: Any) -> None:
    run("seed=3")
    folder = engine.calls[0][2]
    older = yaml.safe_load(folder.config_yaml.read_text())
    del older["trainer"]["precision"], older["data"]["text"], older["loss"]["delta"], older["plugins"]
    folder.config_yaml.write_text(yaml.safe_dump(older))
    path, before = str(folder.path), folder.config_yaml.read_bytes()
    assert run("resume", path)[0] == 0
    assert engine.calls[1][1] == engine.calls[0][1]
    assert folder.config_yaml.read_bytes() == before
    code, _, err = run("resume", path, "+loss.delta=2.0")
    assert (code, "loss.delta: 'unset' -> 2.0" in err) == (6, True)
    for given in ("trainer.precision=float32", "+loss.delta=1.0"):  # as it is unset
        assert run("resume", path, given)[0] == 0
    code, _, err = run("evaluate", path)
    assert code == 6 and "has no checkpoint yet" in err  # its config could be read


def test_resume_that_fails_leaves_the_config(run: Callable[..., Result], engine: Any) -> None:
    run()
    folder = engine.calls[0][2]
    before = folder.config_yaml.read_text()
    engine.error = CheckpointError("does not fit")
    assert run("resume", str(folder.path), "trainer.max_epochs=50")[0] == 6
    assert yaml.safe_load(folder.config_yaml.read_text()) == yaml.safe_load(before)
