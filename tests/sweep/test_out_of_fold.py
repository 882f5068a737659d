"""The predictions of all folds in one file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from tfrun.files.runs import RunFolder
from tfrun.sweep.candidates import Candidate
from tfrun.sweep.out_of_fold import write_out_of_fold
from tfrun.sweep.outcome import Outcome


def job(sweep: Path, number: int, **columns: list[object]) -> Outcome:
    folder = RunFolder(sweep / str(number))
    folder.path.mkdir()
    if columns:
        parquet.write_table(pa.table(columns), folder.out_of_fold)
    return Outcome(folder, {"data.fold": str(number)}, "completed", "val/loss", 0.5, "", num_folds=2)


def test_the_rows_of_all_folds_are_in_their_order(tmp_path: Path) -> None:
    one = job(tmp_path, 0, repeat=[0, 0], fold=[0, 0], row=[1, 3], kind=["a, b", "007"], predicted_kind=["a, b", "7"])
    two = job(tmp_path, 1, repeat=[0, 0], fold=[1, 1], row=[0, 2], kind=["x", '"'], predicted_kind=["x", "x"])
    path = write_out_of_fold(tmp_path, Candidate((one, two)))
    assert path == tmp_path / "out_of_fold.csv"
    assert path.read_text().splitlines() == [
        '"repeat","fold","row","kind","predicted_kind"',
        "0,1,0,x,x",
        '0,0,1,"a, b","a, b"',
        '0,1,2,"""",x',
        "0,0,3,007,7",
    ]


def test_a_target_may_have_the_name_of_a_row(tmp_path: Path) -> None:
    jobs = [job(tmp_path, k, repeat=[0], fold=[k], row_=[1 - k], row=[5.0], predicted_row=[0.5]) for k in range(2)]
    path = write_out_of_fold(tmp_path, Candidate(tuple(jobs)))
    assert path is not None and path.read_text().splitlines()[1:] == ["0,1,0,5,0.5", "0,0,1,5,0.5"]


def test_without_the_predictions_of_each_fold_there_is_no_file(tmp_path: Path) -> None:
    jobs = (job(tmp_path, 0, repeat=[0], fold=[0], row=[0]), job(tmp_path, 1))
    assert write_out_of_fold(tmp_path, Candidate(jobs)) is None
    single = Outcome(RunFolder(tmp_path / "0"), {}, "completed", "val/loss", 0.5, "")
    assert write_out_of_fold(tmp_path, Candidate((single,))) is None
    assert write_out_of_fold(tmp_path, None) is None
