"""Puts the predictions of all folds of a sweep's best cross-validation into one file."""

from __future__ import annotations

from pathlib import Path

from tfrun.sweep.candidates import Candidate

NAME = "out_of_fold.csv"


def write_out_of_fold(sweep: Path, best: Candidate | None) -> Path | None:
    """Writes what the jobs of the best cross-validation predict for their folds, in the order of the rows.

    Args:
        sweep: its folder.
        best: what is best in it.

    Returns:
        The file; None if the best is a single job, or its jobs have no such predictions.

    Raises:
        ResourceError: the disk refuses.
    """
    if best is None or best.num_folds is None:
        return None
    files = [outcome.folder.out_of_fold for outcome in best.outcomes]
    if not all(file.exists() for file in files):
        return None
    import pyarrow as pa  # here, since the import takes a tenth of a second
    from pyarrow import parquet

    from tfrun.engine.inference.prediction_files import PredictionFile

    table = pa.concat_tables([parquet.read_table(file) for file in files])
    repeat, _, row = table.column_names[:3]
    table = table.sort_by([(repeat, "ascending"), (row, "ascending")])
    path = sweep / NAME
    with PredictionFile.open(path, formats={}) as file:
        file.write(dict(zip(table.column_names, table.columns, strict=True)), {})
    return path
