"""The search space: reading it, its values, and the jobs that are checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hydra.types import RunMode

from tfrun.config.compose import Configs
from tfrun.config.overrides import parse
from tfrun.config.plain import plain
from tfrun.errors import ConfigError
from tfrun.sweep.space import Dimension, Space

BASE = ("hparams_search=optuna", "model=mlp")
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
Read = Callable[..., Space]


@pytest.fixture
def read(hydra: Configs) -> Read:
    """Returns a function from words of a command line to the space."""

    def read(*words: str) -> Space:
        cfg = hydra.compose([*BASE, *words], RunMode.MULTIRUN).cfg
        return Space.read(hydra, cfg, params=plain(cfg.hydra.sweeper)["params"])

    return read


def test_the_space_has_the_keys_of_the_config_and_of_the_command_line(read: Read) -> None:
    params = "hydra.sweeper.params={seed: 'range(1,9)', model.dropout: {value: 'interval(0,0.5)', when: 'loss=mse'}}"
    space = read("loss=mse,huber", params, RATE, "data.batch_size=int(interval(8,64))", "name=mine")
    assert space.dimensions == [
        Dimension("seed", 1, 8),
        Dimension("loss", choices=("mse", "huber")),
        Dimension("optimizer.learning_rate", 1e-4, 1e-1, log=True),
        Dimension("data.batch_size", 8, 64),
        Dimension("model.dropout", 0.0, 0.5, when=("loss", ("mse",))),
    ]
    assert "name=mine" in space.common and "model=mlp" in space.common


def test_the_command_line_replaces_what_a_file_searches(read: Read) -> None:
    params = "hydra.sweeper.params={seed: 'range(1,9)', loss.delta: 'interval(0.5,2)', name: mine}"
    space = read(params, "loss=huber", "seed=3", "name=given")
    assert space.dimensions == [Dimension("loss.delta", 0.5, 2.0)]
    assert [text for text in space.common if text.startswith(("seed", "name"))] == ["seed=3", "name=given"]


def test_null_is_one_of_several_values_but_none_of_a_function(read: Read) -> None:
    limits = Dimension("data.limit_rows", choices=("null", "30"))
    assert limits in read("data.limit_rows=null,30").dimensions
    with pytest.raises(ConfigError, match=r"^data\.limit_rows: choice takes no null.* data\.limit_rows=null,30$"):
        read("hydra.sweeper.params={data.limit_rows: 'choice(null, 30)'}")


def test_a_condition_about_a_key_that_the_command_line_gives(read: Read) -> None:
    """It is known whether it holds; and a single value with a condition is for the jobs that fulfil it."""
    delta, rate = "loss.delta: {value: 'interval(0.5,2)', when: 'loss=huber'}", "seed: 'range(1,9)'"
    params = f"hydra.sweeper.params={{loss: 'choice(mse,huber)', {delta}, {rate}}}"
    seeds, deltas = Dimension("seed", 1, 8), Dimension("loss.delta", 0.5, 2.0)
    assert read(params, "loss=huber").dimensions == [deltas, seeds]
    assert read(params, "loss=mse").dimensions == [seeds]
    both = Dimension("loss", choices=("mse", "huber"))
    assert read(params).dimensions == [both, seeds, replace(deltas, when=("loss", ("huber",)))]
    single = read(params.replace("'interval(0.5,2)'", "0.5")).dimensions[-1]
    assert single == Dimension("loss.delta", choices=("0.5",), when=("loss", ("huber",)))


@pytest.mark.parametrize(
    ("values", "choices"),
    [
        ([None, 1.0], ("null", "1.0")),
        ([True, False], ("True", "False")),  # Hydra's own spelling, which it reads too
        ([1, 1e-5], ("1", "1e-05")),
        ([[8, None], ["a b"]], ("[8,null]", "['a b']")),
        ([{"name": "tpe", "x y": None}, {}], (r"{name:'tpe',x\ y:null}", "{}")),
        (["mlp", "2026-11-28"], ("mlp", "2026-11-28")),
        (["a,b", "k=v", "it's", ""], ("'a,b'", "'k=v'", "'it\\'s'", "''")),
        (["[8,4]", "null"], ("[8,4]", "null")),  # a text is read as on the command line
    ],
    ids=str,
)
def test_the_values_of_a_list_in_a_file(hydra: Configs, values: list[Any], choices: tuple[str, ...]) -> None:
    cfg = hydra.compose(BASE, RunMode.MULTIRUN).cfg
    space = Space.read(hydra, cfg, params={"tags": values})
    assert space.dimensions == [Dimension("tags", choices=choices)]
    read_back = [parse(space.overrides({"tags": choice})[-1:])[0].value() for choice in choices]
    assert read_back == [{"[8,4]": [8, 4], "null": None}.get(str(value), value) for value in values]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("hydra.sweeper.params={seed: {when: loss}}",), r"params.seed.value: must be given"),
        (("hydra.sweeper.params={seed: {valeu: 1}}",), r"Did you mean 'hydra.sweeper.params.seed.value'"),
        ((), "hydra.sweeper.params: an empty space"),
        (("optimizer.learning_rate=interval(2,1)",), "an interval needs low < high"),
        (("optimizer.learning_rate=tag(log,interval(0,1))",), "an interval needs 0 < low < high"),
        (("hydra.sweeper.params={seed: {value: 'range(1,3)', when: loss}}",), "must be like model=mlp"),
    ],
)
def test_a_space_that_can_t_be_searched(read: Read, words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        read(*words)


LOSSES = Dimension("loss", choices=("mse", "huber"))


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (("los", ("mse",)), "unknown key of the space.*'loss'"),
        (("loss", ("mae",)), "unknown choice.*Known: huber, mse"),
    ],
)
def test_a_condition_on_what_isn_t_in_the_space(when: tuple[str, tuple[str, ...]], expected: str) -> None:
    space = Space([LOSSES, Dimension("seed", 1, 3, when=when)], [])
    with pytest.raises(ConfigError, match=expected):
        list(space.probes())


def test_all_choices_and_both_ends_of_an_interval_are_checked() -> None:
    delta = Dimension("loss.delta", 0.5, 2.0, when=("loss", ("huber",)))
    probes = list(Space([LOSSES, Dimension("seed", 1, 9), delta], []).probes())
    assert probes[0] == {"loss": "mse", "seed": "1"}
    assert {probe["loss"] for probe in probes} == {"mse", "huber"}
    assert {probe["seed"] for probe in probes} == {"1", "9"}
    assert {probe["loss.delta"] for probe in probes if "loss.delta" in probe} == {"0.5", "2.0"}
    assert all(("loss.delta" in probe) == (probe["loss"] == "huber") for probe in probes)


def test_overrides_and_values_are_inverse() -> None:
    space = Space([LOSSES, Dimension("seed", 1, 9)], ["model=mlp"])
    overrides = space.overrides({"loss": "mse", "seed": "3"})
    assert overrides == ["model=mlp", "loss=mse", "seed=3"]
    assert space.values_of(overrides) == {"loss": "mse", "seed": "3"}


def test_jobs_with_different_losses_can_t_be_compared_by_their_loss() -> None:
    space = Space([LOSSES, Dimension("loss.delta", 0.5, 2.0), Dimension("seed", 1, 9)], [])
    space.check_comparable(["val/mae"])
    with pytest.raises(ConfigError, match="val/loss doesn't say which loss, loss.delta is better"):
        space.check_comparable(["val/mae", "val/loss"])


def test_values_near_another_value() -> None:
    rates = Dimension("rate", 1e-3, 1e-1, log=True)
    assert [rates.near("0.01", 0.8), rates.near("0.09", 1.2), rates.near("0.001", 0.8)] == ["0.008", "0.1", "0.001"]
    whole = Dimension("seed", 1, 9)
    assert [whole.near("5", 1.2), whole.near("2", 1.2), whole.near("1", 0.8), whole.near("9", 1.2)] == list("6319")
    words = Dimension("loss.how", choices=("a", "b", "c"))
    assert [words.near("b", 1.2), words.near("b", 0.8), words.near("c", 1.2), words.near("a", 0.8)] == list("caca")
    assert Dimension("delta", 0.5, 1.0).near("0.9", 1.2) == "1.0"  # a float stays a float


def test_values_are_drawn_from_the_whole_space() -> None:
    rng = np.random.default_rng(0)
    rates = np.log10([float(Dimension("rate", 1e-4, 1e-1, log=True).draw(rng)) for _ in range(300)])
    assert -4 <= rates.min() < -3.9 and -1.1 < rates.max() <= -1
    assert np.mean(rates) == pytest.approx(-2.5, abs=0.2)
    assert {Dimension("seed", 1, 3).draw(rng) for _ in range(50)} == {"1", "2", "3"}
    assert {Dimension("loss", choices=("a", "b")).draw(rng) for _ in range(50)} == {"a", "b"}


def test_the_text_of_a_dimension_is_what_old_studies_have_saved() -> None:
    assert repr(Dimension("rate", 1e-4, 0.1, log=True)) == (
        "Dimension(key='rate', low=0.0001, high=0.1, log=True, choices=(), when=None)"
    )
