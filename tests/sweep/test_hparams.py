"""TensorBoard's HParams table over a sweep of 100 trials, as the real TensorBoard shows it in a browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tfrun.engine.recording.tensorboard import TensorBoard

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium isn't installed")
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


class Page:
    """A page of the browser."""

    def __init__(self, requests: int, answers: int):
        self._requests = requests
        self._answers = os.fdopen(answers, "rb")
        self._id = 0
        self._configs = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._configs = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def texts(self) -> list[str]:
        """Returns all pieces of text, those in shadow roots too, in the page's order."""
        return self._call("Runtime.evaluate", expression=ALL_TEXT, returnByValue=True)["result"].get("value", [])

    def wait_for(self, text: str, seconds: float = 60) -> list[str]:
        """Returns the texts once one of them contains the given one."""
        deadline = time.monotonic() + seconds
        while True:
            texts = self.texts()
            if any(text in shown for shown in texts):
                return texts
            assert time.monotonic() < deadline, f"{text!r} never came: {texts[:80]}"
            time.sleep(0.3)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        message |= {"sessionId": self._configs} if self._configs else {}
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._id:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> bytes:
        piece = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "chromium has ended"
            piece += byte
        return bytes(piece)


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Starts Chromium without a window, controlled over a pipe (DevTools' protocol), without a driver or a port."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    flags = [
        "--headless",
        "--window-size=1600,4500",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}",
        "--remote-debugging-pipe",
    ]
    shell = f"exec chromium {' '.join(flags)} 3<&{theirs_in} 4>&{theirs_out}"
    process = subprocess.Popen(
        ["bash", "-c", shell], pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(ours_out, ours_in)
    finally:
        process.terminate()
        process.wait(30)
        os.close(ours_out)


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


@needs_chromium
def test_the_table_in_a_browser(address: str, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page.open(f"{address}/#hparams")
        page.wait_for(f"sweep/{TRIALS - 1}")
        texts = page.texts()
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
