"""Several trained runs as one model of raw rows, whose prediction is the mean of the runs' predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.console import Terminal, say
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.engine.inference.exporting import formats, ids
from tfrun.engine.inference.exporting.compared_rows import rows_to_compare
from tfrun.engine.inference.exporting.portable import portable, raw_rows
from tfrun.engine.inference.opening import newest_state, open_to_export
from tfrun.engine.inference.outputs import outputs_of, predictions_of
from tfrun.errors import ConfigError
from tfrun.files.exports import Checked, Export
from tfrun.files.runs import RunFolder
from tfrun.folders import shown


@dataclass(frozen=True)
class Member:
    """A run of the ensemble.

    Attributes:
        settings: its config.
        folder: its folder.
        fitted: its preprocessing.
        catalog: the components that its config names.
    """

    settings: Settings
    folder: RunFolder
    fitted: Preprocessing
    catalog: Catalog


@dataclass(frozen=True)
class _Trained:
    """A member's model of raw rows, and what it predicts by itself.

    Attributes:
        model: takes raw rows.
        predictions: by output, for the rows to compare with.
        rows: these rows, by column.
        num_rows: how many of them are given; the others are some of them again, changed.
        step: the step of its checkpoint.
    """

    model: keras.Model
    predictions: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    num_rows: int
    step: int


def export_ensemble(members: Sequence[Member], *, table: Table, export_to: Export) -> Checked:
    """Writes a model that averages the predictions of several runs' best weights: numbers, or probabilities of classes.

    Args:
        members: the runs, of the same columns and targets.
        table: raw rows to compare its predictions with.
        export_to: the format and the place.

    Returns:
        What the comparison with the mean of the runs' predictions has given.

    Raises:
        ConfigError: the runs predict other things, or from other columns.
        TfrunError: as `trained.export_run`.
    """
    first = members[0]
    for member in members:
        _refuse_unlike(first, member)
        formats.check_format(export_to.format, member.fitted)
    trained = [
        _trained(k, member, table.copy(), format=export_to.format, known=first.fitted)
        for k, member in enumerate(members, start=1)
    ]
    expected = {
        name: np.mean([member.predictions[name] for member in trained], axis=0) for name in trained[0].predictions
    }
    models, text = [member.model for member in trained], None
    if formats.is_of_ids(export_to.format):
        models, text = ids.of_shared_ids(models, [ids.encodings(member.fitted) for member in members])
    with export_to.replaced(max(member.step for member in trained)) as temporary:
        off = formats.write_checked(
            averaged(models),
            export_to.format,
            folder=temporary,
            preprocessing=first.fitted,
            rows=trained[0].rows,
            expected=expected,
            text=text,
        )
    console = Terminal()
    say(console, f"{shown(export_to.path)}, the mean of {len(members)} runs")
    for member, of_member in zip(members, trained, strict=True):
        say(console, f"        {shown(member.folder.path)}, best weights up to step {of_member.step}")
    num_rows, place = trained[0].num_rows, formats.place_of_check(export_to.format, export_to.folder)
    say(console, f"checked {place}: {num_rows} rows, predictions at most {off:.2g} off the mean of the runs'")
    return Checked(num_rows, off)


def averaged(models: Sequence[keras.Model]) -> keras.Model:
    """Returns a model of the same inputs whose outputs are the means of those of the given ones.

    Args:
        models: of raw rows; a mapping of columns to one output, or to a mapping of outputs.
    """
    inputs = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
        for name, tensor in models[0].input.items()
    }
    outputs = [model(inputs) for model in models]

    def mean(values: list[Any]) -> Any:
        return values[0] if len(values) == 1 else keras.layers.Average(dtype=values[0].dtype)(values)

    if isinstance(outputs[0], dict):
        return keras.Model(inputs, {name: mean([output[name] for output in outputs]) for name in outputs[0]})
    return keras.Model(inputs, mean(outputs), name="ensemble")


def _trained(number: int, member: Member, table: Table, *, format: str, known: Preprocessing) -> _Trained:
    """Returns a member's model of raw rows, named by its number, and its predictions for rows of the table."""
    opened = open_to_export(
        member.settings, newest_state(member.folder), catalog=member.catalog, table=table, fitted=member.fitted
    )
    pieces, fitted = opened.pieces, member.fitted
    model = pieces.parts.model
    if not pieces.parts.step.learns_targets:
        raise ConfigError(
            f"ensemble: {member.folder.path} doesn't predict the data's target, so there is no mean of it"
        )
    inputs, columns = rows_to_compare(pieces.examples, known=known)
    predicted = predictions_of(outputs_of(model, inputs, as_graph=formats.is_graph(format)), fitted)
    return _Trained(
        portable(model, fitted, of_ids=formats.is_of_ids(format), name=f"member_{number}"),
        predicted,
        raw_rows(columns, fitted),
        num_rows=len(pieces.examples.samples.rows),
        step=opened.step,
    )


def _refuse_unlike(first: Member, other: Member) -> None:
    """Raises ConfigError if two runs have other columns, targets or classes."""
    for what, a, b in (
        ("columns", _columns(first.fitted), _columns(other.fitted)),
        ("targets", _targets(first.fitted), _targets(other.fitted)),
    ):
        if a != b:
            raise ConfigError(
                f"ensemble: the runs have other {what}, so that one model can't be all of them. "
                f"Received: {shown(first.folder.path)}: {a}; {shown(other.folder.path)}: {b}"
            )


def _columns(fitted: Preprocessing) -> list[str]:
    return sorted(f"{column.name} ({column.raw_dtype(keras.config.floatx())})" for column in fitted.columns)


def _targets(fitted: Preprocessing) -> dict[str, Any]:
    return {name: target.classes or target.task for name, target in fitted.targets.items()}
