from __future__ import annotations

from pathlib import Path

from tfrun.config.run_words import MAX_LETTERS, changed_words, run_words, trial_name

FOLDER = Path("outputs/default/2026-11-30_07-15-10_3bb244")


def test_a_run_is_named_by_what_it_trains() -> None:
    words = ["model=wide_deep", "loss=huber", "optimizer.learning_rate=0.003"]
    assert run_words(words, model="wide_deep", folder=FOLDER) == "wide_deep huber lr=0.003 at 07.15"
    assert run_words([], model="mlp", folder=FOLDER) == "mlp at 07.15"
    assert run_words(["+seed=3"], model="mlp", folder=Path("elsewhere")) == "mlp seed=3"


def test_what_says_nothing_or_is_no_name_is_left_out() -> None:
    left_out = ["name=a", "logger.every_steps=2", "model.hidden_units=[4,3]"]
    secret = ["data.password=${oc.env:PASSWORD}", "~loss", "trainer.note=a b"]
    assert changed_words([*left_out, *secret], model="mlp") == "mlp"


def test_a_list_that_differs_between_jobs_is_in_their_names() -> None:
    keys = {"model.hidden_units"}
    assert changed_words(["model.hidden_units=[64, 32]"], model="mlp", keys=keys) == "mlp hidden_units=64-32"
    assert changed_words(["model.hidden_units=[8]"], model="mlp", keys=keys) == "mlp hidden_units=8"
    assert changed_words(["model.hidden_units=[]"], model="mlp", keys=keys) == "mlp hidden_units=empty"
    assert changed_words(["model.hidden_units=[[1,2],[3]]"], model="mlp", keys=keys) == "mlp"
    assert changed_words(["model.hidden_units=['a b']"], model="mlp", keys=keys) == "mlp"


def test_a_file_of_data_is_named_instead_of_its_format() -> None:
    assert changed_words(["data=csv", "data.path=/home/me/cancer.csv"], model="mlp") == "mlp cancer"


def test_keys_of_the_same_name_are_told_apart() -> None:
    words = [f"optimizer.groups.{group}.learning_rate=0.1" for group in ("wide", "deep")]
    assert changed_words(words, model="mlp") == "mlp wide.lr=0.1 deep.lr=0.1"


def test_a_name_has_a_limit() -> None:
    words = changed_words([f"loss.parameter_{k}=0.123456789" for k in range(9)], model="mlp")
    assert words == "mlp parameter_0=0.123456789 parameter_1=0.123456789"
    assert len(words) <= MAX_LETTERS


def test_trials_differ_even_if_their_values_do_not() -> None:
    sweep = Path("multirun/a/2026-11-30_07-15-10_e49e32")
    words = changed_words(["model=mlp", "seed=3"], model="mlp", keys={"seed"})
    assert trial_name(words, sweep / "3") == "#3 mlp seed=3 (e49e32)"
    assert trial_name("mlp", FOLDER) == "mlp (3bb244)"
