"""The page of real runs, one of each kind of task."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
SHORT = ["trainer.compile=graph", "trainer.max_epochs=2", "logger=null", "data.batch_size=16"]


@pytest.fixture
def page_of(warm_tfrun: Tfrun, tmp_path: Path) -> Callable[..., str]:
    """Trains a run, and returns its page."""

    def page_of(*words: str) -> str:
        assert warm_tfrun(*SHORT, *words).returncode == 0
        done = warm_tfrun("report", "latest")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        page = tmp_path / done.stdout.strip()
        assert page.name == "report.html"
        text = page.read_text()
        assert len(text.encode()) < 1_000_000 and not re.search(r"https?:|<script|<link", text)
        return text

    return page_of


def heads(page: str) -> list[str]:
    return re.findall(r"<h[23][^>]*>(.*?)</h", page)


def write_csv(path: Path) -> None:
    draws = np.random.default_rng(0)
    lines = ["rooms,town,price,sold"]
    for rooms in draws.integers(1, 7, 160).tolist():
        town = str(draws.choice(["Bonn", "<Ulm>", ""]))
        lines.append(
            f"{rooms},{town},{rooms * 10 + draws.normal():.3f},{'yes' if rooms + draws.normal() > 3 else 'no'}"
        )
    path.write_text("\n".join(lines) + "\n")


def test_numbers(page_of: Callable[..., str], warm_tfrun: Tfrun, tmp_path: Path) -> None:
    write_csv(tmp_path / "houses.csv")
    data = ["data=csv", "data.path=houses.csv", "data.target=price", "data.exclude=[sold]"]
    page = page_of(*data, "model=linear", "optimizer=adam", "optimizer.learning_rate=0.05")
    assert heads(page)[:4] == [
        "Errors", "Predicted against true", "Residuals over predictions", "Distribution of the residuals",
    ]  # fmt: skip
    assert "on 16 test rows of houses.csv" in page and page.count("<tr><td>") >= 16
    assert "&lt;Ulm&gt;" in page and "<Ulm>" not in page
    evaluated = dict(re.findall(r"test/(\w+) +(\S+)", warm_tfrun("evaluate", "latest").stdout))
    assert {name: value for value, name in re.findall(r"<b>(\S+)</b> (\w+)", page)} == evaluated
    importance = page[page.index("Permutation importance") :]
    assert importance.index(">rooms<") < importance.index(">town<")  # the price is that of the rooms
    assert warm_tfrun("report", "latest", "data.path=houses.csv", "out=all.html").returncode == 0
    assert "on 160 rows of houses.csv" in (tmp_path / "all.html").read_text()


def test_two_classes(page_of: Callable[..., str], tmp_path: Path) -> None:
    write_csv(tmp_path / "houses.csv")
    page = page_of("data=csv", "data.path=houses.csv", "data.target=sold", "model=linear", "optimizer=adam")
    assert {"Confusion matrix", "ROC curve", "Precision and recall", "Calibration"} < set(heads(page))
    assert "<td>data.path<td>none, required<td>houses.csv" in page


def test_images_of_ten_classes(page_of: Callable[..., str]) -> None:
    page = page_of("data=digits", "data.limit_rows=352", "model=cnn", "model.filters=[4]")
    assert {"Confusion matrix", "Images of the worst rows", "Images of rows at random"} < set(heads(page))
    assert page.count("data:image/png;base64,") == 24


def test_several_targets_and_no_test_rows(page_of: Callable[..., str], tmp_path: Path) -> None:
    write_csv(tmp_path / "houses.csv")
    data = ["data=csv", "data.path=houses.csv", "data.target=[price,sold]", "data.test_split=0"]
    page = page_of(*data, "model=multi_task")
    assert {"Target price", "Target sold"} < set(heads(page))
    assert "on 16 validation rows of houses.csv" in page and "has no test rows" in page


def test_windows_of_a_series(page_of: Callable[..., str], tmp_path: Path) -> None:
    lines = [f"{k},{np.sin(k / 3):.4f}" for k in range(200)]
    (tmp_path / "series.csv").write_text("\n".join(["hour,load", *lines]) + "\n")
    window = "data.window={length: 8, horizon: 2, time: hour}"
    page = page_of("data=csv", "data.path=series.csv", "data.target=load", "model=linear", "optimizer=adam", window)
    assert "test windows of series.csv" in page and "Error by steps ahead" in page
    assert page.count("<h3>Forecast ") == 4
    assert heads(page)[:2] == ["Forecasts of load", "Error by steps ahead"]


def test_a_generator(page_of: Callable[..., str]) -> None:
    page = page_of("experiment=gan_digits", "data.limit_rows=352")
    assert "doesn&#x27;t learn the target of the data" in page and heads(page)[0] == "Curves"
