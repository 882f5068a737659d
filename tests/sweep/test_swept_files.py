"""Sweeps over files that say something about sweeps themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hydra.types import RunMode
from omegaconf import DictConfig

from tfrun.config.compose import Configs, open_configs
from tfrun.config.sources import Sources
from tfrun.errors import ConfigError
from tfrun.sweep.search import Search
from tfrun.sweep.swept_files import job_words

FILES = {
    "a": ({"seed": "1,2", "optimizer.clip_norm": "null,1.0"}, ""),
    "b": ({"seed": "3,4", "trainer.max_epochs": "5"}, ""),
    "c": ({}, ""),
    "many": ({}, "  launcher: {n_jobs: 2}"),
    "other": ({}, "  sweeper: {max_batch_size: 2}"),
}
Jobs = Callable[..., list[set[str]]]


@pytest.fixture(scope="module")
def hydra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configs]:
    """Hydra with the experiments of FILES."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "experiment").mkdir()
    for name, (params, extra) in FILES.items():
        lines = "".join(f"      {key}: {value}\n" for key, value in params.items())
        sweeper = f"  sweeper:\n    params:\n{lines}" if params else ""
        hydra = f"hydra:\n{sweeper}{extra}\n" if sweeper or extra else ""
        (folder / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\nname: {name}\n{hydra}")
    (folder / "debug").mkdir()
    (folder / "debug" / "both.yaml").write_text('# @package _global_\nhydra: {sweeper: {params: {experiment: "b,c"}}}')
    with open_configs((), Sources(config_dir=str(folder))) as opened:
        yield opened


def compose(hydra: Configs, *words: str) -> DictConfig:
    return hydra.compose(words, RunMode.MULTIRUN).cfg


@pytest.fixture
def jobs(hydra: Configs) -> Jobs:
    """Returns a function from words of a command line to the words of each job."""

    def jobs(*words: str) -> list[set[str]]:
        return [{text.lstrip("+") for text in job} for job in job_words(hydra, compose(hydra, *words))]

    return jobs


def expected(shared: str, **values: str) -> list[set[str]]:
    """Returns the jobs of `shared` with each combination of values, the last key the fastest."""
    jobs = [set(shared.split())]
    for key, texts in values.items():
        jobs = [job | {f"{key.replace('__', '.')}={text}"} for job in jobs for text in texts.split(",")]
    return jobs


def test_each_file_s_grid_is_for_its_own_jobs(jobs: Jobs) -> None:
    of_a = expected("experiment=a", seed="1,2", optimizer__clip_norm="null,1.0")
    of_b = expected("experiment=b trainer.max_epochs=5", seed="3,4")
    assert jobs("experiment=a,b") == [*of_a, *of_b]
    assert jobs("experiment=a,b,c") == [*of_a, *of_b, {"experiment=c"}]
    assert jobs("experiment=a") == expected("experiment=a", seed="1,2", optimizer__clip_norm="null,1.0")
    assert jobs("debug=both") == [job | {"debug=both"} for job in (*of_b, {"experiment=c"})]


def test_the_command_line_wins_over_the_grid_of_a_file(jobs: Jobs) -> None:
    """One value in place of several, several in place of others: no job is there twice."""
    assert jobs("experiment=a", "seed=7") == expected("experiment=a seed=7", optimizer__clip_norm="null,1.0")
    assert jobs("experiment=b", "seed=7,8") == expected("experiment=b trainer.max_epochs=5", seed="7,8")
    both = jobs("experiment=a,b", "seed=7,8", "optimizer.clip_norm=null", "trainer.max_epochs=1")
    assert both == [
        {f"experiment={name}", f"seed={seed}", "optimizer.clip_norm=null", "trainer.max_epochs=1"}
        for name in "ab"
        for seed in (7, 8)
    ]


def test_files_without_a_word_about_sweeps_keep_the_order_of_the_command_line(jobs: Jobs) -> None:
    assert jobs("seed=1,2", "experiment=c,c") == [{"experiment=c", f"seed={seed}"} for seed in (1, 1, 2, 2)]
    assert len(jobs("model=mlp,wide_deep", "loss=mse,huber")) == 4


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("null", ["optimizer.clip_norm=null"]),
        ("'null,1.0'", ["optimizer.clip_norm=null", "optimizer.clip_norm=1.0"]),
        ("[null,1.0,true,x]", ["optimizer.clip_norm=[null,1.0,True,'x']"]),
    ],
)
def test_values_of_a_grid(jobs: Jobs, value: str, words: list[str]) -> None:
    assert jobs(f"hydra.sweeper.params={{optimizer.clip_norm:{value}}}") == [{word} for word in words]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("experiment=a,many", "experiment=many: its file sets hydra.launcher.n_jobs, .* on the command line"),
        ("experiment=other,a", "experiment=other: its file sets hydra.sweeper.max_batch_size"),
    ],
)
def test_a_sweep_has_one_launcher_and_one_sweeper(jobs: Jobs, words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        jobs(words)
    assert len(jobs("experiment=a,many", "hydra.launcher.n_jobs=2")) == 5  # then they agree


def test_a_search_has_one_space(hydra: Configs) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(ConfigError, match=r"a search has one space, but the file of experiment=a .*when: experiment=a"):
        Search.from_config(hydra, compose(hydra, "hparams_search=optuna", "experiment=c,a", "seed=range(1,9)"))


def test_an_interpolation_belongs_to_each_job(jobs: Jobs) -> None:
    assert jobs("name=${model.name}", "model=mlp,linear") == [
        {"name=${model.name}", "model=mlp"},
        {"name=${model.name}", "model=linear"},
    ]
    params = "hydra.sweeper.params={name:'${model.name}',seed:'${hydra.sweeper.max_batch_size},7'}"
    assert jobs(params, "hydra.sweeper.max_batch_size=5") == [{"name=${model.name}", f"seed={seed}"} for seed in (5, 7)]
