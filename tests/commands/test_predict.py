from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Result = tuple[int, str, str]


def test_rows_are_read_with_the_columns_of_the_run(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("more,kind,x\nb,7,1\nb,a,2\n")
    assert run("predict", str(trained), "data.path=new.csv")[0] == 0
    name, _, _, options = engine.calls[1]
    assert (name, options["out"]) == ("predict", trained / "predictions" / "new.csv")
    (piece,) = options["pieces"]
    columns = {column: cells.tolist() for column, cells in piece.table.columns.items()}
    assert columns == {"kind": ["7", "a"], "x": [1.0, 2.0]}
    run("predict", str(trained), "data.path=new.csv", "out=mine.parquet")
    assert engine.calls[2][3]["out"] == tmp_path / "mine.parquet"
    assert (piece.kept, engine.calls[2][3]["pieces"][0].kept) == ({}, {})


def test_columns_of_the_file_are_kept_as_they_are(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text('x,"a, b",kind,y,id,\n1, s ,a,1.50,007,0\n2,"t,",b,?,,1\n')
    cells = {"x": ["1", "2"], "a, b": [" s ", "t,"], "kind": ["a", "b"], "y": ["1.50", "?"], "id": ["007", ""]}
    cells[""] = ["0", "1"]  # the index that pandas writes
    for word, names in (
        ("keep=id", ["id"]),
        ("keep=a, b", ["a, b"]),
        ('keep=[y,"a, b", id,y]', ["y", "a, b", "id"]),
        ("keep=['a, b']", ["a, b"]),
        ("keep=[]", []),
        ("keep=['']", [""]),
        ('keep=[id,""]', ["id", ""]),
        ("keep=all", list(cells)),
    ):
        code, _, err = run("predict", str(trained), "data.path=new.csv", word)
        assert code == 0, err
        (piece,) = engine.calls[-1][3]["pieces"]
        assert {name: kept.to_pylist() for name, kept in piece.kept.items()} == {name: cells[name] for name in names}
        assert list(piece.kept) == names


def test_what_can_not_be_kept(run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("x,kind,id,name,name\n1,a,1,b,c\n")
    for word, says in (
        ("keep=[x,knd]", "keep: no such column in new.csv. Received: 'knd'. Known: x, kind, id, name, name. Did you"),
        ("keep=name", "keep: two columns of new.csv have the same name. Received: 'name'\n"),
        ("keep=all", "Received: 'name'. Name the others: keep=[NAME,NAME]"),
        ("keep=", "keep: must be a column, several as [NAME,NAME], or all. Received: ''"),
    ):
        code, _, err = run("predict", str(trained), "data.path=new.csv", word)
        assert code == 2 and says in err
    assert len(engine.calls) == 1


def test_what_predict_refuses(run: Callable[..., Result], engine: Any, trained: Path) -> None:
    code, _, err = run("predict", str(trained), "out=mine.txt")
    assert code == 2 and "out: the ending says the format. Received: 'mine.txt'. Known: .csv, .csv.gz, " in err
    code, _, err = run("predict", str(trained), "seed=1")
    assert code == 2 and "seed: predict takes other data, out=, keep= and overwrite= only. Received: 'seed=1'" in err
    assert len(engine.calls) == 1


@pytest.mark.parametrize("overwrite", [[], ["overwrite=true"]])
@pytest.mark.parametrize("out", ["new.csv", "./new.csv", "link.csv", "hard.csv", "rows.csv", "link_to_rows.csv"])
def test_predictions_never_replace_what_is_read(
    out: str, overwrite: list[str], run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("kind,x\na,1\n")
    (tmp_path / "link.csv").symlink_to("new.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "new.csv")
    (tmp_path / "link_to_rows.csv").symlink_to(tmp_path / "rows.csv")  # what the run was trained on
    code, _, err = run("predict", str(trained), "data.path=new.csv", f"out={out}", *overwrite)
    assert code == 2 and "is a file of data, which predictions never replace" in err
    assert len(engine.calls) == 1


def test_the_file_of_a_rerun_may_not_be_what_is_read_either(
    run: Callable[..., Result], engine: Any, trained: Path
) -> None:
    (trained / "predictions").mkdir()
    (trained / "predictions" / "new.csv").write_text("kind,x\na,1\n")
    code, _, err = run("predict", str(trained), f"data.path={trained}/predictions/new.csv")
    assert code == 2 and "which predictions never replace" in err


def test_a_file_that_exists_is_replaced_on_request(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("precious")
    (tmp_path / "gone.csv").symlink_to("nowhere.csv")
    for out in ("mine.csv", "gone.csv"):
        for words in ([], ["overwrite=false"]):
            code, _, err = run("predict", str(trained), f"out={out}", *words)
            assert code == 2 and f"out: the file exists; overwrite=true replaces it. Received: '{out}'" in err
        assert run("predict", str(trained), f"out={out}", "overwrite=true")[0] == 0
    code, _, err = run("predict", str(trained), "overwrite=yes")
    assert code == 2 and "overwrite: must be true or false. Received: 'yes'" in err
    (tmp_path / "folder.csv").mkdir()
    assert "must be a file, not a folder" in run("predict", str(trained), "out=folder.csv", "overwrite=true")[2]


def test_a_rerun_replaces_its_own_file(run: Callable[..., Result], engine: Any, trained: Path) -> None:
    (trained / "predictions").mkdir()
    (trained / "predictions" / "rows.csv").write_text("earlier predictions")
    assert run("predict", str(trained))[0] == 0
    assert engine.calls[1][3]["out"] == trained / "predictions" / "rows.csv"


def test_files_of_one_name_in_two_folders_share_no_file(
    run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path
) -> None:
    for month in ("jan", "feb"):
        (tmp_path / month).mkdir()
        (tmp_path / month / "rows.csv").write_text("kind,x\na,1\n")
    assert run("predict", str(trained), "data.path=jan/rows.csv")[0] == 0
    assert run("predict", str(trained), f"data.path={tmp_path}/feb/../jan/rows.csv")[0] == 0  # the same once more
    code, _, err = run("predict", str(trained), "data.path=feb/rows.csv")
    assert code == 2 and err == (
        f"tfrun: error: out: {trained.relative_to(tmp_path)}/predictions/rows.csv has the predictions for "
        f"{tmp_path}/jan/rows.csv. Received: {tmp_path}/feb/rows.csv. Name another file with out=FILE.csv, or replace "
        "it with overwrite=true\n"
    )
    assert run("predict", str(trained), "data.path=feb/rows.csv", "overwrite=true")[0] == 0
    assert run("predict", str(trained), "data.path=jan/rows.csv")[0] == 2  # now it is that of the other
    assert run("predict", str(trained), "data.path=jan/rows.csv", f"out={trained}/predictions/jan.csv")[0] == 0
    sources = json.loads((trained / "predictions" / "sources.json").read_text())
    assert sources == {"rows.csv": f"{tmp_path}/feb/rows.csv", "jan.csv": f"{tmp_path}/jan/rows.csv"}
