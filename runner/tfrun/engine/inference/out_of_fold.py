"""The predictions of a job of a cross-validation for the rows of its fold, which it wasn't trained on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from tfrun.config.data_settings import DataSettings
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference.prediction_files import PredictionFile
from tfrun.engine.inference.predictions import Predictor
from tfrun.files.runs import RunFolder


def write(pieces: Pieces, folder: RunFolder, *, data: DataSettings) -> None:
    """Writes the predictions of a fold's rows to `out_of_fold.parquet` in the job's folder.

    The columns are `repeat`, `fold`, `row`, the number of the row in the data from 0 on, each target, and what
    `tfrun predict` writes; a prediction with the name of a target is called `predicted_<target>`, and the first three
    get underscores at their end while a target has their name. Windows of a series have no row of their own, so
    nothing is written for them.

    Args:
        pieces: the run's; its model has the best weights.
        folder: the job's.
        data: the config's, with `fold`.

    Raises:
        ResourceError: the disk refuses.
    """
    if data.fold is None or data.folds is None or data.window is not None:
        return
    examples, rows = pieces.examples, np.sort(pieces.examples.splits["val"])
    targets = pieces.table.targets
    learns_targets = pieces.parts.step.learns_targets
    predictor = Predictor(
        pieces.parts.model, examples.preprocessing, names=list(targets), learns_targets=learns_targets
    )
    repeat, fold = divmod(data.fold, data.folds)
    numbers = pieces.table.source_rows(rows)
    place = {"repeat": np.full(len(rows), repeat), "fold": np.full(len(rows), fold), "row": numbers}
    known: dict[str, Any] = {_free_name(name, targets): numbers for name, numbers in place.items()}
    known |= {name: target.values[rows] for name, target in targets.items()}
    with PredictionFile.open(folder.out_of_fold, formats={}) as file:
        file.write(known, predictor.columns(examples, rows))


def _free_name(name: str, taken: Collection[str]) -> str:
    """Returns a name with as many underscores at its end as it takes to be no other's."""
    while name in taken:
        name = f"{name}_"
    return name
