"""What runs of earlier versions mean by the same config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfrun.config.earlier_runs import (
    EarlierData,
    EarlierSchedule,
    EarlierTrainer,
    as_it_began,
    guesses_dates,
    has_exact_offsets,
    leaves_rows_out,
    meanings,
    with_threads,
)
from tfrun.config.settings import Settings

NEW = {
    "step": 30,
    "schedule_end": "last step",
    "offsets": "float64",
    "dates": "date",
    "epoch_rows": "all rows",
    "table_updates": "by rows",
    "idle_layers": "as in inference",
}


@pytest.mark.parametrize(
    ("before", "end"),
    [
        (None, "last step"),
        ({"step": 30}, "step after the last"),  # an earlier version's, which has no such key
        ({"step": 30, "schedule_end": "step after the last"}, "step after the last"),  # and is resumed once more
        ({"step": 30, "schedule_end": "last step"}, "last step"),
        ({"status": "failed"}, "last step"),  # a job that couldn't start
    ],
)
def test_a_run_keeps_the_end_that_its_schedules_began_with(before: dict[str, Any] | None, end: str) -> None:
    assert meanings(before)["schedule_end"] == end


def test_only_schedules_whose_end_has_moved_are_those_of_earlier_runs(settings: Callable[..., Settings]) -> None:
    words = ["model=wide_deep", "optimizer.groups.wide.schedule=cosine", "optimizer.groups.deep.schedule=piecewise"]
    chosen = settings(*words)
    assert as_it_began(chosen, NEW) is chosen
    groups = as_it_began(chosen, {"step": 30, "offsets": "float64"}).groups
    wide, deep = groups["wide"].schedule, groups["deep"].schedule
    assert wide == EarlierSchedule("cosine", {"final": 0.0, "warmup_steps": 0}) and wide.extra_steps == 1
    assert deep == chosen.groups["deep"].schedule


def test_a_run_keeps_the_precision_that_its_numbers_were_scaled_in(settings: Callable[..., Settings]) -> None:
    chosen = settings()
    for before in (None, NEW, {"status": "failed"}):
        assert as_it_began(chosen, before) is chosen
    assert meanings({"step": 30})["offsets"] == "float32"  # an earlier version's, which has no such key
    earlier = as_it_began(chosen, {"step": 30}).data
    assert isinstance(earlier, EarlierData)
    assert earlier.to_dict() == chosen.data.to_dict() | {
        "exact_offsets": False,
        "guesses_dates": False,
        "leaves_rows_out": True,
    }


def test_a_run_keeps_the_kind_that_its_dates_were_of(settings: Callable[..., Settings]) -> None:
    chosen = settings()
    assert meanings(None)["dates"] == meanings({"status": "failed"})["dates"] == "date"
    before = {"step": 30, "schedule_end": "last step", "offsets": "float64"}  # an earlier version's
    assert meanings(before)["dates"] == "category"
    earlier = as_it_began(chosen, before).data
    assert isinstance(earlier, EarlierData)
    assert (has_exact_offsets(earlier), guesses_dates(earlier)) == (True, False)
    assert has_exact_offsets(chosen.data) and guesses_dates(chosen.data)


def test_a_run_keeps_the_rows_that_its_epochs_began_with(settings: Callable[..., Settings]) -> None:
    assert meanings(None)["epoch_rows"] == meanings(NEW)["epoch_rows"] == "all rows"
    assert meanings({"step": 30})["epoch_rows"] == "whole batches"  # an earlier version's, which has no such key
    chosen = settings()
    earlier = as_it_began(chosen, {key: value for key, value in NEW.items() if key != "epoch_rows"}).data
    assert (has_exact_offsets(earlier), guesses_dates(earlier), leaves_rows_out(earlier)) == (True, True, True)
    assert not leaves_rows_out(chosen.data)


def test_a_number_of_threads_that_is_set_is_not_that_of_the_beginning(settings: Callable[..., Settings]) -> None:
    before = {**NEW, "engine": {"threads": 1}}
    assert not isinstance(as_it_began(settings("trainer.threads=2"), before).trainer, EarlierTrainer)
    assert as_it_began(settings("trainer.threads=auto"), before).trainer == EarlierTrainer(
        **vars(settings("trainer.threads=auto").trainer), began_with_threads=1
    )
    assert not isinstance(as_it_began(settings(), {**NEW, "engine": {}}).trainer, EarlierTrainer)  # it has not begun


def test_a_run_of_an_earlier_version_goes_on_updating_whole_tables(settings: Callable[..., Settings]) -> None:
    chosen = settings("optimizer=adagrad")
    assert as_it_began(chosen, NEW).groups["all"].rows == "auto"
    before = {key: value for key, value in NEW.items() if key != "table_updates"}
    assert as_it_began(chosen, before).groups["all"].rows == "dense"


def test_the_frozen_layers_of_an_earlier_version_s_run_stay_in_training(settings: Callable[..., Settings]) -> None:
    chosen = settings("optimizer=adagrad")
    assert as_it_began(chosen, NEW).groups["all"].statistics == "auto"
    before = {key: value for key, value in NEW.items() if key != "idle_layers"}
    assert as_it_began(chosen, before).groups["all"].statistics == "moving"


def test_a_run_that_is_reproduced_has_the_threads_of_the_first(settings: Callable[..., Settings]) -> None:
    by_work = with_threads(settings("trainer.threads=auto"), {"engine": {"threads": 3}})
    assert by_work.trainer.threads == "auto"
    assert isinstance(by_work.trainer, EarlierTrainer) and by_work.trainer.began_with_threads == 3
    assert with_threads(settings("trainer.threads=null"), {"engine": {"threads": 3}}).trainer.threads == 3
    unchanged = settings("trainer.threads=auto")
    for threads in (None, 0, -1, "3", 10**9, [3]):
        assert with_threads(unchanged, {"engine": {"threads": threads}}) is unchanged


def test_wide_deep_begins_as_it_did(settings: Callable[..., Settings]) -> None:
    chosen = settings("model=wide_deep")
    assert chosen.model.params["output_initializer"] is None
    assert as_it_began(chosen, NEW).model == chosen.model
    assert as_it_began(chosen, {"step": 30}).model.params == {
        **chosen.model.params,
        "output_initializer": "glorot_uniform",
    }
    zeros = settings("model=wide_deep", "model.output_initializer=zeros")
    assert as_it_began(zeros, {"step": 30}).model == zeros.model
    assert as_it_began(settings("model=mlp"), {"step": 30}).model == settings("model=mlp").model
