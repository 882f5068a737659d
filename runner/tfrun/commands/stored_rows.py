"""The raw rows that a run has stored, with which an export is compared."""

from __future__ import annotations

import numpy as np

from tfrun.data.preprocessing import Preprocessing
from tfrun.data.samples import Samples
from tfrun.data.table import Table
from tfrun.data.windows import rows_of_samples
from tfrun.errors import CheckpointError
from tfrun.files.runs import RunFolder


def stored_rows(folder: RunFolder, fitted: Preprocessing) -> Table | None:
    """Returns the raw rows that a run has stored, if any. Raises CheckpointError if the file is damaged."""
    text = folder.read_samples()
    if text is None:
        return None
    path = folder.samples_json
    try:
        samples, series = Samples.from_json(text), None
        if fitted.window is not None:
            samples, series = rows_of_samples(samples, fitted.window)
        samples.check_fits(fitted.columns)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path}: is damaged: {reason}. Remove it to compare with the run's data") from error
    targets = np.zeros(len(samples.rows))
    return Table(samples.columns, targets, "target", "regression", str(path), first_line=0, series=series)
