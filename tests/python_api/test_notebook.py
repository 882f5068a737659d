"""Each snippet of docs/python.md in a notebook with a real kernel, on the file that the page names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# what the page leaves to its reader: what a cell shows, as text
VALUES = """
import json
from tfrun.errors import Interrupted
by_hand = json.loads((run.path / "run.json").read_text())
frame = pd.read_csv("houses.csv")
predicted = run.predict(frame)
raw = model({"rooms": frame[["rooms"]].to_numpy("float32"), "district": frame[["district"]].to_numpy()})
print(json.dumps({
    "status": by_hand["status"],
    "epochs": [len(run.history()), int(run.history()["epoch"].iloc[-1]), by_hand["epoch"]],
    "val/loss": [run.metrics["val/loss"], float(run.history()["val/loss"].iloc[-1]), by_hand["metrics"]["val/loss"]],
    "runs": [len(table), table["val/loss"].is_monotonic_increasing, best.path.samefile(table["run"][0])],
    "index": list(run.predict(new).index),
    "file": float(abs(run.predict("houses.csv")["price"] - predicted["price"]).max()),
    "model": float(abs(np.array(raw)[:, 0] - predicted["price"].to_numpy()).max()),
    "price": [float(predicted["price"].mean()), float(frame["price"].mean())],
    "open": open.__module__,
}))
"""
# an interrupt reaches the kernel as a signal, as that of the stop button does
INTERRUPT = """
import pathlib, signal, threading, time, os
def stop():
    while not list(pathlib.Path("outputs/long").glob("*/checkpoints/step-*")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=stop).start()
try:
    tfrun.run(
        "model=linear", "loss=huber", "name=long", "trainer.max_epochs=10000000", "trainer.compile=eager",
        "checkpoint.every_steps=20",
    )
except Interrupted as error:
    print(error)
(folder,) = pathlib.Path("outputs/long").glob("*")
stopped = tfrun.open(folder)
before = stopped.status
stopped.resume(f"trainer.max_epochs={len(stopped.history()) + 2}", show=False)
print(before, stopped.status)
"""


@pytest.fixture(scope="module")
def executed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Returns the outputs of the cells of a notebook, by their source."""
    folder = tmp_path_factory.mktemp("notebook")
    rows = [(1 + k % 4, ("north", "south")[k % 2], 100 + 25 * (k % 4) + 10 * (k % 2)) for k in range(80)]
    lines = [f"{rooms},{district},{price}" for rooms, district, price in rows]
    (folder / "houses.csv").write_text("\n".join(["rooms,district,price", *lines]) + "\n")
    sources = [*BLOCK.findall((root / "docs" / "python.md").read_text()), VALUES, INTERRUPT]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))  # no profile of the person who tests
        client.execute()  # raises the error of a cell
    return {cell.source: cell.outputs for cell in notebook.cells}


def text_of(outputs: list[Any]) -> str:
    return "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.mark.slow
def test_a_bar_shows_the_progress(executed: dict[str, Any]) -> None:
    outputs = next(iter(executed.values()))
    (bar,) = [output.data for output in outputs if output.output_type == "display_data"]
    # 64 of 80 rows are trained on, in batches of 32 or fewer
    done = re.search(r'<progress .*value="(\d+)" max="(\d+)"', bar["text/html"])
    assert done is not None and done[1] == done[2]
    assert bar["text/plain"].startswith(f"epoch 20/20  step {done[1]}/{done[1]}  train/loss ")
    text = text_of(outputs)
    assert "target      price, numbers" in text and "default: completed at step" in text
    assert "epoch 20/20" not in text and "\x1b" not in text


@pytest.mark.slow
def test_the_page_shows_what_is_there(executed: dict[str, Any]) -> None:
    errors = [text_of(outputs) for source, outputs in executed.items() if "los=huber" in source]
    assert errors[0].startswith("los: unknown key.") and "Did you mean 'loss'?" in errors[0]
    values = json.loads(text_of(executed[VALUES]))
    assert values["status"] == "completed"
    assert values["epochs"] == [30, 30, 30]
    assert len(set(values["val/loss"])) == 1
    assert values["runs"] == [2, True, True]
    assert values["index"] == ["a", "b"]
    assert values["file"] < 1e-6
    assert values["model"] < 1e-3
    assert values["price"][0] == pytest.approx(values["price"][1], rel=0.2)  # in the target's unit
    assert values["open"] in ("io", "_io")


@pytest.mark.slow
def test_an_interrupt_stops_the_run_with_its_state_saved(executed: dict[str, Any]) -> None:
    lines = text_of(executed[INTERRUPT]).splitlines()
    assert any("SIGINT: stopping after this block, saving the state" in line for line in lines)
    assert any("tfrun resume outputs/long/" in line for line in lines)
    assert lines[-1] == "stopped completed"
