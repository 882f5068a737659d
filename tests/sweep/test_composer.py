"""The configs of jobs: each is what Hydra would compose, although Hydra composes only once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.types import RunMode

from tfrun.config.compose import Configs
from tfrun.errors import ConfigError
from tfrun.sweep.composer import Composer

BASE = ("model=mlp", "name=composed")


def composer(hydra: Configs, *words: str, swept: tuple[str, ...] = (), threads: int | None = None) -> Composer:
    return Composer(hydra, hydra.compose([*BASE, *words], RunMode.MULTIRUN).cfg, swept=swept, threads=threads)


@pytest.mark.parametrize(
    "words",
    [
        ["seed=3", "optimizer.learning_rate=0.25"],
        ["loss=huber", "loss.delta=2.0", "seed=1"],
        ["early_stopping=null", "data.test_split=0.25"],
        ["model.hidden_units=[3,4]", "+tags=[a]"],
    ],
)
def test_a_job_has_the_config_of_a_single_run(hydra: Configs, words: list[str]) -> None:
    compose = composer(hydra)
    compose([*BASE, "seed=7", "loss=mse"], 0)
    job = compose([*BASE, *words], 5)
    single = hydra.compose([*BASE, *(word.lstrip("+") for word in words)]).config
    assert job.files["config.yaml"] == single
    assert (job.number, job.folder.path, job.overrides) == (5, Path("5"), [*BASE, *(w.lstrip("+") for w in words)])
    hydra_node = job.files[".hydra/hydra.yaml"]["hydra"]
    assert hydra_node["job"]["num"] == 5 and hydra_node["sweep"]["subdir"] == "5"
    assert hydra_node["overrides"]["task"] == job.overrides


def test_interpolations_are_resolved_for_each_job(hydra: Configs) -> None:
    compose = composer(hydra)
    jobs = [compose([*BASE, "seed=${hydra:job.num}", f"data.split_seed={k}"], k) for k in (4, 5)]
    assert [job.settings.seed for job in jobs] == [4, 5]
    assert jobs[0].files[".hydra/config.yaml"]["seed"] == "${hydra:job.num}"


def test_hparams_are_the_values_that_differ(hydra: Configs) -> None:
    job = composer(hydra, swept=("seed",))([*BASE, "seed=3", "loss=mse"], 0)
    assert job.hparams == {"seed": 3} and job.label == "#0 seed=3"


def test_threads_are_those_of_the_sweep_unless_the_job_sets_its_own(hydra: Configs) -> None:
    compose = composer(hydra, threads=3)
    assert compose([*BASE, "trainer.threads=null"], 0).settings.trainer.threads == 3
    assert compose(BASE, 0).settings.trainer.threads == "auto"
    assert compose([*BASE, "trainer.threads=1"], 0).settings.trainer.threads == 1
    assert compose.with_swept(["seed"])([*BASE, "trainer.threads=null"], 0).settings.trainer.threads == 3


def test_a_mistake_names_the_job(hydra: Configs) -> None:
    with pytest.raises(ConfigError, match=r"^optimizer.learning_rate=-1 seed=2: optimizer.*must be"):
        composer(hydra, swept=("seed", "optimizer.learning_rate"))([*BASE, "optimizer.learning_rate=-1", "seed=2"], 0)
