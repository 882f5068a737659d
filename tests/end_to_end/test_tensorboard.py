"""A run and the rows of a sweep, as a real TensorBoard serves them to its page."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfrun import cli
from tfrun.config.catalog import load_catalog
from tfrun.config.hparam_columns import columns
from tfrun.engine.recording.tensorboard import TensorBoard

RUN = ["data=digits", "model=mlp", "model.hidden_units=[8]", "trainer.compile=graph", "trainer.max_epochs=2"]
ROWS: list[dict[str, Any]] = [
    {"optimizer.clip_norm": None, "trainer.max_epochs": "auto", "trainer.deterministic": True},
    {"optimizer.clip_norm": 5.0, "trainer.max_epochs": 3, "trainer.deterministic": False},
    {"optimizer.clip_norm": 0.5, "trainer.max_epochs": 20, "trainer.deterministic": True},
]
Get = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with everything on, and of three rows of the HParams table."""
    root = tmp_path_factory.mktemp("tensorboard")
    assert cli.main([*RUN, "logger.histograms_every_epochs=1", f"output_root={root}"]) == 0
    catalog = load_catalog()
    for number, row in enumerate(ROWS):
        board = TensorBoard(root / "outputs" / "sweep" / str(number) / "tensorboard")
        board.write_hparams(f"#{number}", columns(row, catalog), metrics={"val/loss_best": number})
        board.close()
    return root / "outputs"


@pytest.fixture(scope="module")
def get(folder: Path) -> Iterator[Get]:
    """A function that asks a TensorBoard on loopback, on a port that the system chooses."""
    words = ["--logdir", str(folder), "--port", "0", "--host", "127.0.0.1", "--load_fast", "false"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *words, "--reload_interval", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = next(line[line.index("http://") :].split()[0].rstrip("/") for line in process.stderr if "http://" in line)
    threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it

    def ask(path: str, body: Any = None, **query: str) -> Any:
        url = f"{address}/data/{path}?{urllib.parse.urlencode(query)}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if content[:1] in (b"{", b"[") else content.decode()

    deadline = time.monotonic() + 120
    while len(ask("runs")) < 3 + len(ROWS):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    yield ask
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def run(get: Get) -> str:
    """The name of the run, without the split."""
    (name,) = {name.rpartition("/")[0] for name in get("runs") if name.startswith("default/")}
    return name


def test_a_run_s_name_says_what_it_trains(run: str) -> None:
    assert run.rpartition("/")[2].startswith("mlp digits compile=graph max_epochs=2 at ")


def test_charts_are_grouped(get: Get, run: str) -> None:
    tags = get("plugin/scalars/tags")[f"{run}/train"]
    assert {tag.partition("/")[0] for tag in tags} == {"epoch", "step", "lr"}
    assert {"epoch/loss", "step/loss", "step/grad_norm", "lr/all"} <= set(tags)
    assert set(get("plugin/scalars/tags")[f"{run}/val"]) < set(tags)


@pytest.mark.parametrize("plugin", ["histograms", "distributions"])
def test_histograms(get: Get, run: str, plugin: str) -> None:
    tags = get(f"plugin/{plugin}/tags")[f"{run}/train"]
    assert {tag.partition("/")[0] for tag in tags} == {"weights", "gradients"}
    weight = next(tag for tag in tags if tag.startswith("weights/") and tag.endswith("kernel"))
    points = get(f"plugin/{plugin}/{plugin}", run=f"{run}/train", tag=weight)
    assert len(points) == 2  # a look after each epoch


def test_the_graph(get: Get, run: str) -> None:
    info = get("plugin/graphs/info")
    assert [name for name, about in info.items() if about["run_graph"]] == [f"{run}/train"]
    graph = get("plugin/graphs/graph", run=f"{run}/train", conceptual="false")
    assert graph.count("node {") > 10 and 'op: "MatMul"' in graph and 'name: "loss/' in graph


def test_curves_of_precision_and_recall(get: Get, run: str) -> None:
    tags = get("plugin/pr_curves/tags")
    assert sorted(tags[f"{run}/val"]) == sorted(tags[f"{run}/test"]) == [f"digit/{k}" for k in range(10)]
    curves = get("plugin/pr_curves/pr_curves", tag="digit/3", run=f"{run}/val")
    (curve,) = curves[f"{run}/val"]
    assert len(curve["precision"]) == len(curve["recall"]) > 10  # as many as there are thresholds with such a score
    positives = [sum(counts) for counts in zip(curve["true_positives"], curve["false_positives"], strict=True)]
    assert (max(curve["recall"]), max(positives)) == (1, 180)  # all rows reach a threshold of 0


def test_images(get: Get, run: str) -> None:
    tags = get("plugin/images/tags")[f"{run}/test"]
    assert {"report/confusion_matrix", "report/roc_curve", "report/calibration", "report/examples"} <= set(tags)


def rows(get: Get, **column: Any) -> list[tuple[str, Any]]:
    """Returns the rows of the HParams table with one of their columns, sorted and filtered by it."""
    query = {"allowedStatuses": ["STATUS_SUCCESS"], "sliceSize": 100, "startIndex": 0, "colParams": [column]}
    groups = get("plugin/hparams/session_groups", query)["sessionGroups"]
    return [(group["name"], group["hparams"].get(column["hparam"])) for group in groups]


def test_a_column_with_nulls_is_sorted_and_filtered(get: Get) -> None:
    column = "optimizer.clip_norm"
    assert rows(get, hparam=column, order="ORDER_ASC") == [("#2", 0.5), ("#1", 5), ("#0", None)]
    last = rows(get, hparam=column, order="ORDER_DESC", missingValuesFirst=True)
    assert last == [("#0", None), ("#1", 5), ("#2", 0.5)]
    interval = {"filterInterval": {"minValue": 1.0, "maxValue": "Infinity"}, "excludeMissingValues": True}
    assert rows(get, hparam=column, order="ORDER_ASC", **interval) == [("#1", 5)]


def test_a_column_of_numbers_stays_one_if_a_run_has_a_word(get: Get) -> None:
    assert rows(get, hparam="trainer.max_epochs", order="ORDER_ASC") == [("#1", 3), ("#2", 20), ("#0", None)]
    words = rows(get, hparam="trainer.max_epochs (text)", order="ORDER_ASC")
    assert words == [("#0", "auto"), ("#1", None), ("#2", None)]


def test_a_column_of_true_and_false(get: Get) -> None:
    chosen = rows(get, hparam="trainer.deterministic", order="ORDER_ASC", filterDiscrete=[False])
    assert chosen == [("#1", False)]
