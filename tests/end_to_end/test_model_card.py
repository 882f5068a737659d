"""The code of a card, as a person copies it into a new process: it predicts what `tfrun predict` does.

The process has imported Keras and TensorFlow, and nothing of tfrun: see `tests/warm_processes.py`.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
Run = Callable[..., tuple[int, str, str]]
Load = Callable[..., tuple[dict[str, list[Any]], np.ndarray]]
TRAIN = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=2", "logger=null"]

# follows the code of a card: what it has predicted for which cells
REPORT = """
import json, sys
import numpy

def _plain(cells):
    return [cell.decode() if isinstance(cell, bytes) else cell for cell in numpy.asarray(cells).reshape(-1).tolist()]

with open(sys.argv[1], "w") as file:
    cells = {name: _plain(values) for name, values in rows.items()}
    json.dump({"rows": cells, "predicted": numpy.asarray(PREDICT, float).tolist()}, file)
"""


@pytest.fixture
def trained(warm_tfrun: Tfrun, tmp_path: Path) -> Callable[..., Path]:
    """Trains a run on the rows that are given, and returns its folder."""

    def train(rows: Sequence[Mapping[str, Any]], *words: str) -> Path:
        write_csv(tmp_path / "rows.csv", rows)
        done = warm_tfrun("data=csv", "data.path=rows.csv", *words, *TRAIN)
        assert done.returncode == 0, done.stderr
        (folder,) = (tmp_path / "outputs/default").iterdir()
        return folder

    return train


@pytest.fixture
def load(warm_tfrun: Tfrun, run: Run, warm_checks: None, warm_server: Callable[[str], Any], tmp_path: Path) -> Load:
    """Exports a run, runs the code of its card, and returns the cells that it has and what it predicts for them."""

    def export(folder: Path, format: str) -> str:
        words = ("export", str(folder), f"format={format}")
        if format != "keras":
            code, out, err = run(*words)
        else:  # in a process in which no other test has registered components, which the code would import
            done = warm_tfrun(*words)
            code, out, err = done.returncode, done.stdout, done.stderr
        assert code == 0, err
        return out

    def load(folder: Path, format: str, *, search: Path | None = None) -> tuple[dict[str, list[Any]], np.ndarray]:
        assert "MODEL_CARD.md describes it" in export(folder, format)
        card = (folder / "export" / "MODEL_CARD.md").read_text()
        heading = {"serving": "serving/default"}.get(format, format)
        blocks = re.findall(rf"\n### {heading}\n\nNeeds .*\n\n(`{{3,}})python\n(.*?)\n\1\n", card, re.DOTALL)
        ((_, code),) = blocks
        predict = code.splitlines()[-1].removeprefix("print(").removesuffix(")")
        before = f"import sys; sys.path.insert(0, {str(search)!r})" if search else ""
        words = [code + REPORT.replace("PREDICT", predict), str(tmp_path / "loaded.json")]
        process = warm_server("keras").process(words, cwd=folder / "export", before=before)
        done = process.completed(120)
        assert done.returncode == 0 and done.stdout, done.stderr  # it has printed a prediction
        loaded = json.loads((tmp_path / "loaded.json").read_text())
        return loaded["rows"], np.array(loaded["predicted"])

    return load


@pytest.fixture
def predict(warm_tfrun: Tfrun, tmp_path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Returns what `tfrun predict` gives for rows, by column."""

    def predict(run: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        write_csv(tmp_path / "new.csv", rows)
        done = warm_tfrun("predict", str(run), "data.path=new.csv", "out=predicted.parquet", "overwrite=true")
        assert done.returncode == 0, done.stderr
        table = parquet.read_table(tmp_path / "predicted.parquet")
        return {name: table[name].to_numpy() for name in table.column_names}

    return predict


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_numbers_with_strange_names_in_every_format(
    trained: Callable[..., Path], load: Load, predict: Callable[..., dict[str, np.ndarray]]
) -> None:
    random = np.random.default_rng(0)
    names = ["area | m²", 'ro\'oms "n"', "self", "$x_0$", "`tick`"]
    rows = []
    for _ in range(120):
        numbers = random.normal(50, 10, len(names)).round(3)
        rows.append({**dict(zip(names, numbers, strict=True)), "price": round(1000 * numbers.sum() + 7, 2)})
    run = trained(rows, "data.target=price", "model=mlp", "model.hidden_units=[8]")
    medians = json.loads((run / "preprocessing.json").read_text())["medians"]
    expected = predict(run, [medians])["price"]
    keys = {
        "litert": {**{name: name for name in names}, "self": "self_"},
        "onnx": {name: f"{name}:0" for name in names},
    }
    for format in ("saved_model", "keras", "litert", "onnx", *with_openvino()):
        cells, predicted = load(run, format)
        assert {keys.get(format, {}).get(name, name) for name in names} == set(cells)
        np.testing.assert_allclose([cells[keys.get(format, {}).get(name, name)][0] for name in names],
                                   [medians[name] for name in names], rtol=1e-6)  # fmt: skip
        assert predicted.shape == (1, 1)
        np.testing.assert_allclose(predicted[0], expected, rtol=1e-4)


def test_texts_dates_and_classes(
    trained: Callable[..., Path], load: Load, predict: Callable[..., dict[str, np.ndarray]]
) -> None:
    random = np.random.default_rng(0)
    rows = [
        {
            "size": round(random.normal(), 3),
            "cit|y": random.choice(["Aix", "Ulm", '"Nîmes"']),
            "listed": f"{random.integers(1, 29):02d}.{random.integers(1, 13):02d}.2023",
            "words": " ".join(random.choice(["good", "bad", "red"], random.integers(1, 5))),
            "code": random.choice(["k1", "k2"]),
            "new": random.choice(["yes", "no", ""]),
            "sold": random.choice(["no", "yes", "may | be"]),
        }
        for _ in range(120)
    ]
    kinds = (
        "data.kinds={listed: {name: date, format: '%d.%m.%Y'}, words: {name: tokens, length: 6}, "
        "code: {name: hashed, bins: 7}, new: boolean}"
    )
    options = ["data.target=sold", "model=wide_deep", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]
    run = trained(rows, kinds, *options)
    for format in ("saved_model", "keras", "serving"):
        cells, predicted = load(run, format)
        row = {name: values[0] for name, values in cells.items()}
        assert re.fullmatch(r"\d\d\.\d\d\.2023", row["listed"]) and row["words"] in ("good", "bad", "red")
        expected = predict(run, [row])
        classes = ["may | be", "no", "yes"]
        assert predicted.shape == (1, 3)
        np.testing.assert_allclose(predicted[0], [expected[f"sold={name}"][0] for name in classes], atol=1e-5)


def with_openvino() -> list[str]:
    """Returns the format openvino if it is installed."""
    return ["openvino"] if find_spec("openvino") else []


def test_texts_as_ids_and_in_node(
    trained: Callable[..., Path],
    load: Load,
    run: Run,
    predict: Callable[..., dict[str, np.ndarray]],
    node_packages: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trained run, exported by the command as a person does, and the code of its card."""
    random = np.random.default_rng(0)
    rows = [
        {
            "size": round(random.normal(), 3),
            "cit|y": random.choice(["Aix", "Ulm", '"Nîmes"', ""]),
            "words": " ".join(random.choice(["good", "bad", "red"], random.integers(1, 5))),
            "new": random.choice(["yes", "no", ""]),
            "price": round(random.normal(50, 10), 2),
        }
        for _ in range(120)
    ]
    folder = trained(rows, "data.target=price", "model=wide_deep",
                     "data.kinds={words: {name: tokens, length: 6}, new: boolean}")  # fmt: skip
    for format in with_openvino():
        cells, predicted = load(folder, format)
        first = {"cit|y": 1, "words": 2}  # ids of the most frequent texts
        assert all(cells[name][0] == value for name, value in first.items()) and np.isnan(cells["new"][0])
        texts = json.loads((folder / "preprocessing.json").read_text())
        row = {"size": cells["size"][0], "cit|y": texts["vocabularies"]["cit|y"][0], "new": ""}
        expected = predict(folder, [{**row, "words": texts["tokens"]["words"][0]}])
        np.testing.assert_allclose(predicted[0], expected["price"], rtol=1e-4)

    monkeypatch.setenv("NODE_PATH", str(node_packages))
    code, out, _ = run("export", str(folder), "format=tfjs")
    assert code == 0 and "checked in Node by TensorFlow.js 4.22.0 on cpu and wasm: 64 stored rows of " in out
    card = (folder / "export" / "MODEL_CARD.md").read_text()
    ((script,),) = (re.findall(r"\n### tfjs\n\nNeeds .*\n\n```javascript\n(.*?)\n```\n", card, re.DOTALL),)
    (folder / "export" / "node_modules").symlink_to(node_packages)  # where imports look, unlike NODE_PATH
    (folder / "export" / "card.mjs").write_text(f"{script}\nconsole.log(JSON.stringify(rows));\n")
    done = subprocess.run(["node", "card.mjs"], cwd=folder / "export", capture_output=True, text=True, timeout=120)
    printed, cells_of_card = done.stdout.splitlines()[-2:]
    row = {name: cell for name, (cell,) in json.loads(cells_of_card).items()}
    (value,) = re.findall(r"output: \[ \[ (\S+) \] \]", printed)
    np.testing.assert_allclose(float(value), predict(folder, [row])["price"][0], rtol=1e-4)


def test_windows_of_a_series(
    trained: Callable[..., Path], load: Load, predict: Callable[..., dict[str, np.ndarray]]
) -> None:
    random = np.random.default_rng(0)
    rows = [
        {"month": f"{2000 + k // 12}-{k % 12 + 1:02d}", "sold": round(100 + k + random.normal(), 2), "staff": k % 7}
        for k in range(120)
    ]
    run = trained(rows, "data.target=sold", "data.window={length: 6, horizon: 2, time: month}", "data.batch_size=8",
                  "model=linear", "metric=regression")  # fmt: skip
    for format, end in (("saved_model", ""), ("onnx", ":0")):
        cells, predicted = load(run, format)
        sold, staff = (cells[name + end] for name in ("sold", "staff"))
        window = [{**rows[k], "sold": sold[k], "staff": staff[k]} for k in range(6)]
        assert predicted.shape == (1, 2)
        np.testing.assert_allclose(predicted[0], predict(run, window)["sold"], rtol=1e-4)


PLUGIN = '''
import keras

from tfrun import register


@register.model("doubled")
@keras.saving.register_keras_serializable("mine")
class Doubled(keras.Model):
    """Twice a linear function of the numbers."""

    def __init__(self, outputs=1, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(outputs)

    def call(self, inputs):
        return 2.0 * self.dense(inputs["numbers"])
'''


def test_the_model_of_a_plugin_is_loaded_with_its_module(
    trained: Callable[..., Path], load: Load, predict: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """In a package, where importing the package alone would not be enough."""
    (tmp_path / "mine" / "nets").mkdir(parents=True)
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "nets" / "__init__.py").touch()
    (tmp_path / "mine" / "nets" / "doubled.py").write_text(PLUGIN)
    rows = [{"x": k, "z": k % 5, "y": 3 * k + 1} for k in range(100)]
    run = trained(rows, "data.target=y", "plugins=[mine]", "model=doubled")
    cells, predicted = load(run, "keras", search=tmp_path)
    card = (run / "export" / "MODEL_CARD.md").read_text()
    assert "\nimport mine.nets.doubled\n" in card
    assert "and where Python looks for modules (PYTHONPATH, for example): mine.nets.doubled.\n" in card
    row = {name: values[0] for name, values in cells.items()}
    np.testing.assert_allclose(predicted[0], predict(run, [row])["y"], rtol=1e-4)
