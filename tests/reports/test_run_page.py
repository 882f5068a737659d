"""The page of a run, made of rows that are written down here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.reports.evaluated_rows import EvaluatedRows, Importance, Picture, TargetRows
from tfrun.reports.run_page import RunPage, page

RUN: dict[str, Any] = {
    "status": "completed", "epoch": 3, "step": 30, "started": "2026-11-29T10:00:00+00:00",
    "ended": "2026-11-29T10:00:09+00:00", "overrides": ["model=mlp", "data.kinds={a: category}"], "error": None,
    "best": {"epoch": 2, "monitor": "val/loss", "val/loss": 0.5},
    "metrics": {"val/loss": 0.75, "test/loss": 0.25, "test/mae": None},
    "data": {"source": "rows.csv", "rows": 60, "train": 40, "val": 10, "test": 10, "split": {"by": "random"}},
}  # fmt: skip
CURVES = [{"epoch": k, "train/loss": 1 / k, "val/loss": abs(k - 2) + 0.5, "val/auc": None} for k in (1, 2, 3)]


def number(errors: list[float], name: str = "price") -> TargetRows:
    true = np.arange(float(len(errors)))
    return TargetRows(name, (), true, true + errors)


def classes(true: list[int], chances: Any, names: str) -> TargetRows:
    return TargetRows("kind", tuple(names), np.array(true), np.array(chances, "float64"))


def rows_of(*targets: TargetRows, **others: Any) -> EvaluatedRows:
    count = len(targets[0].true) if targets else 7
    places = [f"line{k}" for k in range(count)]
    values: dict[str, Any] = {"split": "test", "source": "rows.csv", "num_rows": count, "step": 20}
    values |= {"metrics": {"loss": 0.125, "auc": float("nan")}, "places": places, "targets": targets}
    return EvaluatedRows(**values | others)


def page_of(evaluated: EvaluatedRows | None, **others: Any) -> str:
    values: dict[str, Any] = {"title": "default: it", "run": RUN, "model": "mlp", "data": "csv", "curves": CURVES}
    return page(RunPage(**values | {"evaluated": evaluated} | others))


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>|&nbsp;", " ", page, flags=re.DOTALL))


def heads(page: str) -> list[str]:
    return re.findall(r"<h[23][^>]*>(.*?)</h", page)


def test_the_order_of_the_page() -> None:
    importance = Importance("loss", 0.125, 4, 5, [("rooms", 0.5, 0.1), ("town", -0.01, 0.02)])
    town = np.array(["Ulm", "Bonn"] * 5, dtype=object)
    sizes = [0.0, 4.0] * 5
    evaluated = rows_of(number(sizes), importance=importance, columns={"town": town}, notes=["Mind this."])
    changes = [("model", "wide_deep", "mlp")]
    html = page_of(evaluated, changes=changes, config="name: <it>\n", columns={"category": ["town (2)"]})
    assert heads(html) == [
        "Errors", "Predicted against true", "Residuals over predictions", "Distribution of the residuals", "Worst rows",
        "Error by slices of a column", "Permutation importance", "Curves", "loss", "auc", "Data", "Config",
    ]  # fmt: skip
    assert not re.search(r"https?:|<script|<link|src=(?!\"data:)", html)
    text = text_of(html)
    parts = [
        "default: it model mlp; data rows.csv; completed at epoch 3, step 30; began 2026-11-29 10:00, took 9 s.",
        "undefined auc 0.125 loss on 10 test rows of rows.csv; best weights up to step 20", "Mind this.",
        "mean absolute error 2", "line1", "Bonn 5 4 2.2", "from 0.125", "rooms", "-0.01 ± 0.02", "best epoch, 2, with "
        "val/loss 0.5", "rows 60: 40 train, 10 val, 10 test", "category town (2)",
        "tfrun model=mlp &#x27;data.kinds={a: category}&#x27;", "model wide_deep mlp", "name: &lt;it&gt;",
    ]  # fmt: skip
    places = [text.find(part) for part in parts]
    assert -1 not in places and places == sorted(places)


def test_the_worst_rows_come_first_with_their_cells() -> None:
    evaluated = rows_of(number([1.0, -3.0, np.nan, 2.0]), columns={"a<b": np.array([1.5, np.nan, 3.0, 4.0])})
    html = page_of(evaluated)
    rows = [re.findall("<td>([^<]*)", row) for row in re.findall("<tr><td>line.*?(?=<tr>|</tbody>)", html)]
    assert [row[0] for row in rows] == ["line2", "line1", "line3", "line0"]
    assert rows[0] == ["line2", "2", "undefined", "undefined", "3"] and rows[1] == ["line1", "1", "-2", "-3", ""]
    assert "<th>a&lt;b" in html and "Left out: 1 whose prediction isn&#x27;t finite" in html


def test_only_twenty_rows_and_thirty_columns() -> None:
    columns = {f"x{k}": np.zeros(50) for k in range(40)}
    html = page_of(rows_of(number([float(k) for k in range(50)]), columns=columns))
    assert html.count("<tr><td>line") == 20 and "10 more columns are left out" in html and "<th>x29" in html
    assert "<th>x30" not in html


def test_two_classes() -> None:
    html = page_of(rows_of(classes([0, 0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.0, 1.0]], "nj")))
    assert heads(html)[:7] == [
        "Errors", "Confusion matrix", "ROC curve", "Precision and recall", "Calibration", "Predicted probabilities",
        "Worst rows",
    ]  # fmt: skip
    text = text_of(html)
    assert "1 of 4 rows are wrong, 25.0%" in text and "would be wrong for 50.0%" in text
    assert "AUC 0.75 for class j" in text  # 0.6 is below 0.8: 3 of 4 pairs
    # recall 1/2 at precision 1, and 1 at precision 2/3
    assert "Average precision 0.8333; 0.5 is chance" in text
    assert "Rows per bin: 0.1–0.2: 1, 0.6–0.7: 1, 0.8–0.9: 1, 0.9–1.0: 1." in text


def test_a_class_without_rows_has_no_curve() -> None:
    text = text_of(page_of(rows_of(classes([1, 1], [[0.4, 0.6], [0.7, 0.3]], "nj"))))
    assert text.count("Undefined: one of the two classes has no row.") == 2 and "AUC" not in text
    text = text_of(page_of(rows_of(classes([0, 0], [[1, 0, 0], [0, 1, 0]], "abc"))))
    assert "Undefined: all rows are of one class." in text and "undefined" in text


def test_a_class_that_seemed_impossible_has_an_infinite_loss() -> None:
    html = page_of(rows_of(classes([1], [[1.0, 0.0]], "nj")))
    assert "<td>line0<td>j<td>n<td>∞" in html


def test_many_classes_have_a_table_of_pairs() -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    chances = np.eye(26)[[0, 1, 1, 1, 2]]
    html = page_of(rows_of(classes([0, 0, 0, 1, 2], chances, names)))
    assert heads(html)[:4] == ["Errors", "Calibration", "Most confused classes", "Classes, the worst first"]
    assert "<tr><td>a<td>b<td>2<td>66.7%" in html


def test_a_section_for_each_target_and_the_images_of_the_first() -> None:
    first = classes([0, 1], [[0.9, 0.1], [0.8, 0.2]], "nj")
    pictures = [Picture(1, b"png"), Picture(0, b"png")]
    html = page_of(rows_of(first, number([1.0, 2.0]), worst_images=pictures[:1], random_images=pictures[1:]))
    assert "Target kind" in heads(html) and "Target price" in heads(html)
    assert html.count('src="data:image/png;base64,cG5n"') == 2
    assert "<figcaption class=wrong>j → n" in html and "<figcaption>n<" in html
    more = page_of(rows_of(*(number([1.0], f"t{k}") for k in range(8))))
    assert "Other targets, left out: t4, t5, t6, t7" in more


def test_a_page_without_predictions() -> None:
    html = page_of(None, missing="rows.csv: no such file <&>")
    text = text_of(html)
    assert "The page has no predictions: rows.csv: no such file &lt;&amp;&gt;" in text
    assert "undefined test/mae 0.25 test/loss 0.5 val/loss as run.json has them" in text
    assert heads(html) == ["Curves", "loss", "auc", "Data", "Config"]


def test_single_rows_may_not_be_shown() -> None:
    columns = {"town": np.array(["Ulm"] * 5 + ["Bonn"] * 15, dtype=object)}
    target = number([4.0] * 5 + [1.0] * 15)
    html = page_of(rows_of(target, columns=columns, shows_rows=False))
    assert heads(html)[:4] == [
        "Errors",
        "Distribution of the residuals",
        "Error by slices of a column",
        "Curves",
    ]
    assert "line0" not in html and html.count("<circle") == html.count("<circle class=b") == 1


def test_a_run_that_has_not_begun() -> None:
    text = text_of(page_of(None, run={}, curves=[], missing="no checkpoint"))
    assert "data csv; not begun." in text and "The run has no epoch yet." in text
    assert "No key differs from its default." in text
    assert "The defaults can&#x27;t be composed" in text_of(page_of(None, changes=None))


def test_windows_and_validation_rows() -> None:
    assert "on 7 test windows" in text_of(page_of(rows_of(is_windows=True)))
    assert "on 7 validation rows of rows.csv; best weights up to step 20. The run has no test rows" in text_of(
        page_of(rows_of(split="val"))
    )


@pytest.mark.parametrize("num_classes", [1, 2, 12])
def test_a_page_of_many_rows_is_small(num_classes: int) -> None:
    draws = np.random.default_rng(0)
    count = 20_000
    columns = {f"column {k}": draws.normal(size=count) for k in range(30)}
    columns |= {f"text {k}": np.array(["some long text " * 40] * count, dtype=object) for k in range(3)}
    if num_classes == 1:
        target = number(draws.normal(size=count).tolist())
    else:
        chances = draws.dirichlet(np.ones(num_classes), count)
        target = classes(draws.integers(0, num_classes, count).tolist(), chances, "abcdefghijkl"[:num_classes])
    html = page_of(rows_of(target, columns=columns), config="key: value\n" * 20_000)
    assert len(html.encode()) < 400_000
    assert html.count("<circle") <= 900


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium isn't installed")
def test_a_page_in_a_browser(tmp_path: Path) -> None:
    """It is as wide as the window, and all its charts are understood."""
    columns = {f"a column with a long name {k}": np.zeros(10) for k in range(20)}
    html = page_of(rows_of(number([float(k) for k in range(10)]), columns=columns))
    measure = "<script>document.title = document.documentElement.scrollWidth - innerWidth</script>"
    (tmp_path / "page.html").write_text(html + measure)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=360,800", "--dump-dom"]
    done = subprocess.run(
        ["chromium", *flags, f"file://{tmp_path}/page.html"], capture_output=True, text=True, timeout=120
    )
    assert "<title>0</title>" in done.stdout
    assert done.stdout.count("</svg>") == html.count("<svg ") == 4 and done.stdout.count("</circle>") == 10 + 10 + 1
