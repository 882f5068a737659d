"""TensorFlow.js predicts what a run does, on the backends cpu and wasm, in Node and in a browser."""

from __future__ import annotations

import functools
import json
import math
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference.exporting import clean_process, ids, javascript, tfjs
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.exporting.names import tensor_names
from tfrun.engine.inference.outputs import sizes

pytestmark = pytest.mark.usefixtures("warm_checks")

KINDS = (
    "data.kinds={size: {name: ordered, values: [low, mid, high]}, flag: boolean, street: {name: hashed, bins: 8}, "
    "note: {name: tokens, length: 3}, hashed: {name: tokens, bins: 9, length: 3}}"
)
ONLY_NOTE = "data.exclude=['a b',far,city,street,hashed,flag,size,day,kind]"
DIGITS = ("data=digits", "loss=sparse_categorical_crossentropy", "metric=none")
CLASSES = ("data.target=kind", "data.exclude=[y,far,day]", "loss=sparse_categorical_crossentropy", "metric=none")
ATTENTION = "model.layers=[{name: attention_block, num_heads: 2}, layer_normalization]"
SEVERAL = "loss.losses={output: huber, kind: sparse_categorical_crossentropy}"
CLOSE = 5e-6  # of the predictions' size; a loop that ends once nothing changes much adds to float32's rounding
MODELS = {
    "wide_deep": ("model=wide_deep", "data.target=y", "data.exclude=[kind,far,day]", KINDS),
    "classes": ("model=mlp", *CLASSES, KINDS),
    "targets": ("model=multi_task", "data.target=[y,kind]", "data.exclude=[far,day]", "loss=per_output", SEVERAL,
                "metric=none", KINDS),
    "images": (*DIGITS, "model=cnn", "model.filters=[4]"),
    "gru": ("model=sequence", "data.target=y", ONLY_NOTE, "data.kinds={note: {name: tokens, length: 4}}"),
    "convolution": (*DIGITS, "model=sequence", "model.cell=causal_convolution", "model.num_layers=3"),
    "attention": (*DIGITS, "model=sequential", "model.flatten=false", ATTENTION),
    "fixed_draws": ("model=mc_dropout", "data.target=y", "data.exclude=[kind,far,day,note,hashed,street]"),
    "loop": ("model=fixed_point", "data.target=y", "data.exclude=[kind,far,day,note,hashed,street,city]"),
    "windows": ("model=linear", "data.target=y", "data.exclude=[kind,far,day,note,hashed,street,city,size,flag]",
                "data.window={length: 6, horizon: 2}", "data.batch_size=8"),
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """An untrained model in a folder, and what the run predicts for raw rows."""

    folder: Path
    rows: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]
    sizes: Mapping[str, float]
    difference: float


@pytest.fixture(scope="module")
def export(
    node_packages: Path, tmp_path_factory: pytest.TempPathFactory, untrained: Callable[..., Any]
) -> Callable[[str], Exported]:
    """Exports a model of `MODELS`, once."""
    root = tmp_path_factory.mktemp("tfjs")
    (root / "node_modules").symlink_to(node_packages)

    @cache
    def export(name: str) -> Exported:
        (root / name).mkdir()
        of_run = untrained(*MODELS[name])
        difference = of_run.export("tfjs", root / name)
        measured = sizes(of_run.expected, of_run.fitted)
        return Exported(root / name / "tfjs", of_run.rows, of_run.expected, measured, difference)

    return export


@pytest.mark.parametrize("name", MODELS)
def test_node_predicts_what_the_run_does(name: str, export: Callable[[str], Exported]) -> None:
    """Raw rows with gaps, empty and unknown texts, in batches of 1, 7, 80 and 300, on cpu and wasm."""
    exported = export(name)
    assert javascript.place_of_check(exported.folder) == "in Node by TensorFlow.js 4.22.0 on cpu and wasm"
    assert exported.difference <= CLOSE * max(exported.sizes.values())
    model = json.loads((exported.folder / "model.json").read_text())
    assert set(model["signature"]["inputs"]) == set(exported.rows)  # the columns' own names
    assert model["userDefinedMetadata"]["isAsynchronous"] == (name == "loop")


IN_PAGE = """
(async () => {
  const load = (src) => new Promise((resolve, reject) => {
    document.head.append(Object.assign(document.createElement("script"), { src, onload: resolve, onerror: reject }));
  });
  const packages = "/node_modules/@tensorflow";
  await load(`${packages}/tfjs/dist/tf.min.js`);
  await load(`${packages}/tfjs-backend-wasm/dist/tf-backend-wasm.min.js`);
  tf.wasm.setWasmPaths(`${packages}/tfjs-backend-wasm/dist/`);
  const predicted = [];
  for (const name of NAMES) {
    const { predict } = await import(`/${name}/tfjs/predict.mjs`);
    const rows = await (await fetch(`/${name}/rows.json`)).json();
    for (const backend of ["cpu", "wasm"]) {
      await tf.setBackend(backend);
      const model = await tf.loadGraphModel(`/${name}/tfjs/model.json`);
      predicted.push([name, tf.getBackend(), await predict(tf, model, rows)]);
    }
  }
  return predicted;
})()
"""


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves a folder on the loopback interface, and returns its address."""
    servers = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    def serve(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_browser_predicts_what_the_run_does(
    export: Callable[[str], Exported], serve: Callable[[Path], str], browser: Callable[..., Any], tmp_path: Path
) -> None:
    """All models in one page; then the example page of one of them, as a person uses it."""
    exported = {name: export(name) for name in MODELS}
    for of_model in exported.values():
        cells = {name: values.tolist() for name, values in of_model.rows.items()}
        of_model.folder.with_name("rows.json").write_text(json.dumps(cells).replace("NaN", "null"))
    address = serve(exported["classes"].folder.parents[1])
    with browser(tmp_path / "profile", size=(800, 900)) as page:
        page.open(f"{address}/classes/rows.json")
        wait_for(page, "document.readyState === 'complete' && location.pathname.endsWith('rows.json')")
        predicted = page.evaluate(IN_PAGE.replace("NAMES", json.dumps(list(MODELS))))
        assert [(name, backend) for name, backend, _ in predicted] == [
            (name, backend) for name in MODELS for backend in ("cpu", "wasm")
        ]
        for name, backend, outputs in predicted:
            for output, right in exported[name].expected.items():
                size = exported[name].sizes[output]
                np.testing.assert_allclose(
                    outputs[output], right, rtol=0, atol=CLOSE * size, err_msg=f"{name} {backend}"
                )
        check_example_page(page, address, exported["classes"])


def wait_for(page: Any, condition: str) -> None:
    """Waits until a JavaScript expression is true, or says what the page shows."""
    script = """
      (async () => {
        for (let k = 0; k < 300 && !(CONDITION); k++) await new Promise((resolve) => setTimeout(resolve, 100));
        return (CONDITION) ? "" : document.body.innerText;
      })()
    """
    shown = page.evaluate(script.replace("CONDITION", condition))
    assert shown == "", shown


def check_example_page(page: Any, address: str, exported: Exported) -> None:
    """Types a row into the form and reads the probabilities; the packages lie in the folder above the model's."""
    (exported.folder.parent / "node_modules").symlink_to(exported.folder.parents[1] / "node_modules")
    page.open(f"{address}/classes/tfjs/")
    wait_for(page, "document.querySelectorAll('output td').length > 0")
    row = 3
    cells = {name: values[row, 0] for name, values in exported.rows.items()}
    typed = {name: "" if str(cell) == "nan" else str(cell) for name, cell in cells.items()}
    page.evaluate(
        """
        for (const [name, text] of Object.entries(TYPED)) {
          const label = [...document.querySelectorAll("label")].find((label) => label.textContent === name);
          label.control.value = text;
          label.control.dispatchEvent(new Event("input", { bubbles: true }));
        }
        """.replace("TYPED", json.dumps(typed))
    )
    right = [f"{p:.4f}" for p in exported.expected["output"][row]]
    wait_for(page, f"{json.dumps(right)}.every((p) => document.querySelector('output').innerText.includes(p))")
    assert page.evaluate("document.querySelector('output').innerText").split()[:2] == ["output", "u"]
    assert page.evaluate("document.querySelector('#message').innerText") == ""
    page.evaluate("for (const name of ['label', 'td']) document.querySelector(name).textContent = 'x'.repeat(200)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # the longest names are broken


def test_without_packages_the_page_says_how_to_get_them(
    export: Callable[[str], Exported], serve: Callable[[Path], str], browser: Callable[..., Any], tmp_path: Path
) -> None:
    address = serve(export("windows").folder)
    with browser(tmp_path / "profile") as page:
        page.open(f"{address}/index.html")
        wait_for(page, "document.querySelector('#message')?.innerText.includes('npm install')")
        message = page.evaluate("document.querySelector('#message').innerText")
    root = Path(__file__).parents[3]
    pinned = json.loads((root / "javascript" / "package.json").read_text())["dependencies"]
    assert all(f"{name}@{version}" in message for name, version in pinned.items())


def test_the_files_are_read_back_where_there_is_no_javascript(
    export: Callable[[str], Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = export("wide_deep")
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert javascript.place_of_check(exported.folder) == "in a clean process, but not in JavaScript (no node)"
    compared: dict[str, Any] = {"rows": exported.rows, "expected": exported.expected, "sizes": exported.sizes}
    assert clean_process.largest_difference(exported.folder, tfjs.FORMAT, **compared) < 1e-5
    specs = json.loads((exported.folder / "model.json").read_text())["weightsManifest"][0]["weights"]
    ends = np.cumsum([math.prod(spec["shape"]) * np.dtype(spec["dtype"]).itemsize for spec in specs])
    end = ends[max(range(len(specs)), key=lambda k: (specs[k]["dtype"] == "float32", math.prod(specs[k]["shape"])))]
    weights = exported.folder / "weights-1-of-1.bin"
    data = weights.read_bytes()
    try:
        weights.write_bytes(data[: end - 400] + np.full(100, 7.0, "<f4").tobytes() + data[end:])
        with pytest.raises(ExportError, match="gives other predictions than the run"):
            clean_process.largest_difference(exported.folder, tfjs.FORMAT, **compared)
    finally:
        weights.write_bytes(data)


def test_weights_are_cut_into_shards(
    export: Callable[[str], Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfjs, "SHARD_BYTES", 10)
    inputs = {"x": keras.Input((1,), name="x")}
    model: Any = keras.Model(inputs, keras.layers.Dense(4, kernel_initializer="ones")(inputs["x"]))
    tfjs.write(model, tmp_path / "tfjs", {"text": {}, "classes": {}, "structuredOutputKeys": ["output"]})
    shards = sorted((tmp_path / "tfjs").glob("weights-*"))  # of 4 floats, and of the shape of nothing else
    assert [shard.stat().st_size for shard in shards] == [10, 6]
    node = javascript.find(export("windows").folder)
    assert node is not None
    rows = {"x": np.array([[2.0]], "float32")}
    outputs = javascript.outputs(node, tmp_path / "tfjs", rows=rows, batches=[1], names=["output"])
    assert outputs["cpu"][0].tolist() == outputs["wasm"][0].tolist() == [[2.0] * 4]


def test_names_that_every_object_of_javascript_has(export: Callable[[str], Exported], tmp_path: Path) -> None:
    """Columns and targets `constructor` and `__proto__`, and targets whose keys JavaScript orders by their size."""
    names = ("__proto__", "constructor", "toString", "length")
    text = {"toString": {"kind": "category", "values": ["__proto__", "constructor"]}}
    cells = {
        name: keras.Input((1,), name=tensor, dtype="int32" if name in text else "float32")
        for name, tensor in tensor_names(names).items()
    }
    known = keras.ops.cast(cells["toString"], "float32")
    total = cells["__proto__"] + 10.0 * cells["constructor"] + 100.0 * known + 1000.0 * cells["length"]
    outputs = {"__proto__": 1.0 * total, "10": 2.0 * total, "9": 3.0 * total, "output": 4.0 * total}
    fitted = Preprocessing(columns=(), targets={name: FittedTarget("regression") for name in outputs})
    tfjs.write(keras.Model(cells, outputs), tmp_path / "tfjs", ids.metadata(fitted, text))
    rows = {name: np.array([[k], [2 * k]], "float32") for k, name in enumerate(names)}
    rows["toString"] = np.array([["constructor"], ["valueOf"]])
    compared: dict[str, Any] = {
        "rows": rows,
        "expected": {
            name: np.array([[k * (0 + 10 + 200 + 3000)], [k * (0 + 20 + 0 + 6000)]], float)
            for k, name in enumerate(outputs, start=1)
        },
        "sizes": dict.fromkeys(outputs, 1.0),
    }
    (tmp_path / "node_modules").symlink_to(export("windows").folder.parents[1] / "node_modules")
    assert clean_process.largest_difference(tmp_path / "tfjs", tfjs.FORMAT, **compared) == 0.0
    node = javascript.find(tmp_path)
    assert node is not None
    program = """
      const tf = require(process.argv[1]);
      import(`${process.argv[2]}/predict.mjs`).then(async ({ modelFrom }) => {
        const { readFileSync } = require("node:fs");
        const model = await modelFrom(tf, (name) => readFileSync(`${process.argv[2]}/${name}`));
        const number = tf.tensor2d([[1]]);
        const text = tf.tensor2d([[1]], undefined, "int32");
        const inputs = { ["__proto__"]: number, constructor: number, toString: text, length: number };
        const outputs = model.predict(inputs);
        console.log(JSON.stringify([outputs[9], outputs[10], outputs.output].map((y) => y.dataSync()[0])));
      });
    """
    words = [node.program, "-e", program, "--", node.files["cpu"], str(tmp_path / "tfjs")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [3 * 1111, 2 * 1111, 4 * 1111]


def test_float64_is_refused(tmp_path: Path) -> None:
    far = keras.Input((1,), dtype="float64", name="far")
    model = keras.Model({"far": far}, keras.layers.Rescaling(1.0, 0.0, dtype="float64")(far))
    with pytest.raises(ExportError, match=r"format=tfjs: can't compute in float64, .*: far, the target\. Use"):
        tfjs.write(model, tmp_path / "tfjs", {})


def test_what_is_beside_the_model(export: Callable[[str], Exported]) -> None:
    """The keys that a program in another language reads."""
    model = json.loads((export("classes").folder / "model.json").read_text())
    text = model["userDefinedMetadata"]["text"]
    assert text["size"] == {"kind": "numbers", "values": {"low": 0, "mid": 1, "high": 2}, "lower": False}
    assert text["street"] == {"kind": "hashed", "bins": 8}
    assert text["hashed"] == {"kind": "hashed_words", "bins": 9, "length": 3}
    assert text["note"]["kind"] == "words" and {"good", "bad", "é"} <= set(text["note"]["values"])
    assert sorted(text["city"]["values"]) == ["Aix", "Nîmes", "Ulm"]
    assert model["userDefinedMetadata"]["classes"] == {"output": ["u", "v", "w"]}
