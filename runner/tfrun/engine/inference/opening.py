"""Opens a trained run: its pieces over the rows that it is used on, and the best weights in its model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.data.examples import Examples, prepare, prepare_evaluation, with_any_targets
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.engine.building.assembly import build_pieces
from tfrun.engine.building.pieces import OPTIONAL_ROLES, Pieces
from tfrun.engine.training.program import Program
from tfrun.errors import DataError
from tfrun.files import checkpoints
from tfrun.files.runs import RunFolder


@dataclass(frozen=True)
class OpenedRun:
    """A run with the weights of its best epoch.

    Attributes:
        pieces: the run's pieces; their model has these weights.
        program: evaluates rows.
        step: the step of the checkpoint that the weights are from.
    """

    pieces: Pieces
    program: Program
    step: int


def open_to_evaluate(
    settings: Settings,
    folder: RunFolder,
    *,
    catalog: Catalog,
    table: Table,
    fitted: Preprocessing,
    other_data: bool = False,
    before_encoding: Callable[[Table], None] = lambda table: None,
) -> OpenedRun:
    """Returns a run over the rows of its data, or over other rows, all of which are its test split then.

    Args:
        settings: the config, with the data to evaluate on.
        folder: the run.
        catalog: the components.
        table: the raw rows of the config's data. Its columns are released.
        fitted: the run's preprocessing.
        other_data: whether `settings.data` is not what the run was trained on.
        before_encoding: called with the table before its columns are released.

    Raises:
        CheckpointError: the run has no checkpoint.
        DataError: the run's own data have changed.
    """
    saved = newest_state(folder)

    def encode(table: Table) -> Examples:
        before_encoding(table)
        return encode_test(table, settings=settings, saved=saved, fitted=fitted, other_data=other_data)

    pieces = build_pieces(settings, catalog, table=table, prepare_trained=encode)
    return OpenedRun(pieces, program_with_best(pieces, saved), saved.step)


def open_to_export(
    settings: Settings, saved: checkpoints.Checkpoint, *, catalog: Catalog, table: Table, fitted: Preprocessing
) -> OpenedRun:
    """Returns a run over raw rows to compare an export with; their targets don't count.

    Args:
        settings: the config.
        saved: the run's newest state.
        catalog: the components.
        table: the raw rows. Its columns are released.
        fitted: the run's preprocessing.
    """
    rows = with_any_targets(table, fitted, names=[table.target_name])
    encode = functools.partial(prepare_evaluation, preprocessing=fitted, forecasts=True)
    pieces = build_pieces(settings, catalog, table=rows, prepare_trained=encode)
    return OpenedRun(pieces, program_with_best(pieces, saved), saved.step)


def newest_state(folder: RunFolder) -> checkpoints.Checkpoint:
    """Returns the newest state that a run has saved. Raises CheckpointError if there is none."""
    folder.require_checkpoints()
    saved = checkpoints.newest(folder.checkpoints)
    assert saved is not None
    return saved


def program_with_best(pieces: Pieces, saved: checkpoints.Checkpoint) -> Program:
    """Returns a program whose model has the best weights of the run that was saved."""
    program = pieces.make_program()
    pieces.state(program).restore(saved, (*OPTIONAL_ROLES, *saved.left_out))
    pieces.load_best(program)
    return program


def encode_test(
    table: Table, *, settings: Settings, saved: checkpoints.Checkpoint, fitted: Preprocessing, other_data: bool
) -> Examples:
    """Returns encoded rows, those to evaluate on as the test split. Raises DataError if the run's own have changed.

    Args:
        table: the raw rows. Its columns are released.
        settings: the run's config.
        saved: its newest state.
        fitted: its preprocessing.
        other_data: whether all rows are evaluated on; they are split as in training otherwise.
    """
    if other_data:
        return prepare_evaluation(table, fitted)
    advice = "To evaluate on other rows, all of them, name them: data.path=FILE"
    check = functools.partial(check_fingerprint, saved=saved, source=table.source, advice=advice)
    return prepare(table, settings.data, fitted=fitted, check_fingerprint=check)


def check_fingerprint(digest: str, saved: checkpoints.Checkpoint, *, source: str, advice: str) -> None:
    """Raises DataError if rows aren't those that a run was trained on.

    Args:
        digest: the fingerprint of the rows.
        saved: a state of the run.
        source: where the rows are from, for the message.
        advice: the last sentence of the message.
    """
    trained_on = saved.extra["fingerprint"]
    if digest != trained_on:
        raise DataError(
            f"{source}: its contents have changed since the run was trained on it. "
            f"Received: fingerprint {digest}. In training: {trained_on}. {advice}"
        )
