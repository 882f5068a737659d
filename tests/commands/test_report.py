"""`tfrun report` with a stand-in for the engine: what is read, what is written, and what is left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import DataError
from tfrun.reports.evaluated_rows import EvaluatedRows

Result = tuple[int, str, str]


@pytest.fixture
def reports(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in, whose runs have 7 test rows."""

    def read_evaluated_rows(settings: Any, folder: Any, *, catalog: Any, **options: Any) -> EvaluatedRows:
        engine.calls.append(("report", settings, folder, options))
        if engine.error:
            raise engine.error
        split = "all" if options["other_data"] else "test"
        return EvaluatedRows(split, options["table"].source, num_rows=7, step=1, metrics={"loss": 0.5})

    monkeypatch.setattr(engine, "read_evaluated_rows", read_evaluated_rows, raising=False)
    return engine


def test_the_page_is_in_the_run_folder_and_replaces_itself(
    run: Callable[..., Result], reports: Any, trained: Path
) -> None:
    page = trained / "report.html"
    for _ in range(2):
        code, out, err = run("report", "latest")
        assert (code, out, err) == (0, f"{page.relative_to(Path.cwd())}\n", "")
    text = page.read_text()
    assert "on 7 test rows of rows.csv" in text and "<td>data.path<td>none, required<td>rows.csv" in text
    assert "path: rows.csv" in text and "category<dd>kind (1)" in text
    assert reports.calls[1][0] == "report" and not reports.calls[1][3]["other_data"]


def test_rows_of_other_data(run: Callable[..., Result], reports: Any, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("kind,x,y\n,,2\n")
    assert run("report", str(trained), "data.path=more.csv", "out=out/more.html")[0] == 0
    assert reports.calls[1][3]["other_data"] and len(reports.calls[1][3]["table"].target) == 1
    assert "on 7 rows of more.csv" in Path("out/more.html").read_text()
    code, _, err = run("report", str(trained), "data.path=none.csv")
    assert code == 3 and "no such file" in err and not (trained / "report.html").exists()


def test_other_files_are_not_replaced(run: Callable[..., Result], reports: Any, trained: Path) -> None:
    Path("mine.html").write_text("mine")
    code, _, err = run("report", str(trained), "out=mine.html")
    assert (code, err) == (2, "tfrun: error: out: the file exists; overwrite=true replaces it. Received: 'mine.html'\n")
    assert Path("mine.html").read_text() == "mine" and len(reports.calls) == 1
    assert run("report", str(trained), "out=mine.html", "overwrite=true")[0] == 0
    assert Path("mine.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("out=report.pdf", "out: must be an .html file. Received: 'report.pdf'"),
        ("out=folder.html", "out: must be a file, not a folder. Received: 'folder.html'"),
        ("model=mlp", "model: report takes other data, out= and overwrite= only. Received: 'model=mlp'"),
        ("data.split.by=time", "data.split.by: report takes the rows as the run has split them"),
        ("overwrite=yes", "overwrite: must be true or false. Received: 'yes'"),
    ],
)
def test_what_it_refuses(word: str, message: str, run: Callable[..., Result], reports: Any, trained: Path) -> None:
    Path("folder.html").mkdir()
    code, _, err = run("report", str(trained), word)
    assert code == 2 and err.startswith(f"tfrun: error: {message}") and len(reports.calls) == 1


def page_without_predictions(run: Callable[..., Result], trained: Path) -> str:
    """Returns the reason that a page gives, which the command prints as a warning."""
    code, out, err = run("report", str(trained))
    assert code == 0 and out.endswith("report.html\n") and err.startswith("warning: the page has no predictions: ")
    text = (trained / "report.html").read_text()
    assert "The page has no predictions: " in text and "<h2>Curves</h2>" in text and "batch_size: 8" in text
    return err


def test_data_that_is_gone_or_has_changed(run: Callable[..., Result], reports: Any, trained: Path) -> None:
    reports.error = DataError("rows.csv: its contents have changed")
    assert "its contents have changed" in page_without_predictions(run, trained)
    Path("rows.csv").unlink()
    assert "no such file" in page_without_predictions(run, trained)


def test_a_run_without_a_checkpoint(run: Callable[..., Result], reports: Any, trained: Path) -> None:
    shutil.rmtree(trained / "checkpoints")
    assert "the run has no checkpoint yet" in page_without_predictions(run, trained)
    (trained / "preprocessing.json").unlink()  # as in a run that ended while it read its data
    page_without_predictions(run, trained)
    assert len(reports.calls) == 1


def test_a_bug_is_no_sentence_on_the_page(run: Callable[..., Result], reports: Any, trained: Path) -> None:
    reports.error = RuntimeError("a bug")
    assert run("report", str(trained))[0] == 1 and not (trained / "report.html").exists()
