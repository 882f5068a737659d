"""TensorBoard's HParams table over a sweep of 100 trials, as the real TensorBoard shows it in a browser."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfrun.engine.recording.tensorboard import TensorBoard

ALL_TEXT = """
(function texts(root) {
  let found = [];
  for (const node of root.childNodes) {
    if (node.nodeType === Node.TEXT_NODE && node.textContent.trim()) found.push(node.textContent.trim());
    if (node.nodeType === Node.ELEMENT_NODE && !["SCRIPT", "STYLE"].includes(node.tagName)) {
      if (node.shadowRoot) found = found.concat(texts(node.shadowRoot));
      found = found.concat(texts(node));
    }
  }
  return found;
})(document)
"""


TRIALS = 100
MARKED = {7: " failed", 8: " pruned"}
FAILED = (7,)  # they have no metrics
KEYS = ("optimizer.learning_rate", "seed")


def texts_with(page: Any, text: str, seconds: float = 60) -> list[str]:
    """Returns all pieces of text of a page, in its order, once one of them contains the given one."""
    deadline = time.monotonic() + seconds
    while True:
        texts: list[str] = page.evaluate(ALL_TEXT) or []
        if any(text in shown for shown in texts):
            return texts
        assert time.monotonic() < deadline, f"{text!r} never came: {texts[:80]}"
        time.sleep(0.3)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The event files of a sweep; `test_multirun.py` shows that a real sweep writes such files."""
    root = tmp_path_factory.mktemp("2026-01-01_sweep")
    for number in range(TRIALS):
        board = TensorBoard(root / str(number) / "tensorboard")
        status = MARKED.get(number, " completed").strip()
        board.write_epoch(1, 10, values={"train": {"loss": 1.0}, "val": {"loss": 0.5}})
        metrics = {} if number in FAILED else {"val/loss_best": number / 1000, "val/loss_last": 0.9}
        hparams = {KEYS[0]: 0.001 * (number + 1), KEYS[1]: number % 5}
        board.write_hparams(f"sweep/{number}", hparams, metrics=metrics, status=status)
        board.close()
    return root


@pytest.fixture(scope="module")
def address(sweep: Path) -> Iterator[str]:
    """The address of a TensorBoard on loopback, on a port that the system chooses."""
    script = Path(sys.executable).with_name("tensorboard")
    words = ["--logdir", str(sweep), "--port", "0", "--load_fast", "false", "--reload_interval", "1"]
    process = subprocess.Popen([script, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        if "http://" in line:
            url = line[line.index("http://") :].split()[0].rstrip("/")
            break
    deadline = time.monotonic() + 60
    while len(json.load(urllib.request.urlopen(f"{url}/data/runs"))) < 3 * TRIALS:  # train, val, hparams
        assert time.monotonic() < deadline
        time.sleep(0.5)
    yield url
    process.terminate()
    process.wait(30)


def test_the_table_in_a_browser(address: str, browser: Callable[..., Any], tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page.open(f"{address}/#hparams")
        texts_with(page, f"sweep/{TRIALS - 1}")
        texts = texts_with(page, "")
    table = texts[texts.index("Show Metrics") + 1 : texts.index("Color by")]  # which begins the next view
    assert table[:4] == [*KEYS, "val/loss_best", "val/loss_last"]
    rows: dict[str, list[str]] = {}
    for text in table[4:]:
        if text.startswith("sweep/"):
            assert text not in rows  # one row a trial
            rows[text] = []
        else:
            rows[list(rows)[-1]].append(text)
    assert len(rows) == TRIALS
    for number in range(TRIALS):
        metrics = [] if number in FAILED else [number / 1000, 0.9]
        expected = [0.001 * (number + 1), number % 5, *metrics]
        cells = rows[f"sweep/{number}{MARKED.get(number, '')}"]
        assert [float(cell) for cell in cells if cell] == pytest.approx(expected, rel=1e-4)


def test_failed_trials_can_be_filtered(address: str) -> None:
    def groups(*statuses: str) -> list[str]:
        query = {"allowedStatuses": statuses, "sliceSize": 200, "startIndex": 0, "colParams": []}
        url, kind = f"{address}/data/plugin/hparams/session_groups", {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(query).encode(), kind)
        with urllib.request.urlopen(request) as answer:
            return [group["name"] for group in json.load(answer)["sessionGroups"]]

    assert groups("STATUS_FAILURE") == ["sweep/7 failed"]
    assert len(groups("STATUS_SUCCESS")) == TRIALS - 1
