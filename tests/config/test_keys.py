"""Config keys."""

from __future__ import annotations

from tfrun.config.keys import short_names


def test_keys_are_shortened_as_far_as_they_differ() -> None:
    assert short_names(["optimizer.learning_rate", "model.units"]) == ["learning_rate", "units"]
    groups = ["optimizer.groups.wide.clip_norm", "optimizer.groups.deep.clip_norm"]
    assert short_names(groups) == ["wide.clip_norm", "deep.clip_norm"]
    assert short_names(["seed", "model.seed"]) == ["seed", "model.seed"]
    assert short_names([]) == []
