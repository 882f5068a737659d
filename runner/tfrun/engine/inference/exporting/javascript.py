"""Predicting with an exported model in Node, by TensorFlow.js: its backends `cpu` and, if it is installed, `wasm`.

Node looks for the packages as a program would that lies in the current folder, or in the one with the export: in
`node_modules` there and in the folders above, and in NODE_PATH.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.engine.inference.exporting.format import ExportError
from tfrun.files import strict_json

PACKAGES = {"cpu": "@tensorflow/tfjs", "wasm": "@tensorflow/tfjs-backend-wasm"}
INSTALL = "npm install @tensorflow/tfjs @tensorflow/tfjs-backend-wasm"

# Prints the file and the version of each package that can be found.
FIND = """
const [folders, ...names] = process.argv.slice(1).map((word) => JSON.parse(word));
const { createRequire } = require("node:module");
const packages = {};
for (const name of names) {
  try {
    const file = require.resolve(name, { paths: folders });
    packages[name] = { file, version: createRequire(file)(`${name}/package.json`).version };
  } catch {}
}
console.log(JSON.stringify(packages));
"""

# Predicts batches of rows on each backend, with the functions that lie beside the model.
PREDICT = """
const { readFileSync, writeFileSync } = require("node:fs");
const { pathToFileURL } = require("node:url");
const [folder, file, out, packages] = process.argv.slice(1);
const files = JSON.parse(packages);
const tf = require(files.cpu);
if (files.wasm) require(files.wasm);
(async () => {
  const { predict, modelFrom } = await import(pathToFileURL(`${folder}/predict.mjs`));
  const { rows, batches } = JSON.parse(readFileSync(file, "utf8"));
  const computed = {};
  for (const backend of Object.keys(files)) {
    if (!(await tf.setBackend(backend))) throw new Error(`the backend ${backend} can't be used`);
    const model = await modelFrom(tf, (name) => readFileSync(`${folder}/${name}`));
    computed[backend] = [];
    for (const size of batches) {
      const batch = Object.entries(rows).map(([name, cells]) => [
        name,
        Array.from({ length: size }, (_, k) => cells[k % cells.length]),
      ]);
      computed[backend].push(await predict(tf, model, Object.fromEntries(batch)));
    }
  }
  writeFileSync(out, JSON.stringify(computed));
})();
"""


@dataclass(frozen=True)
class Node:
    """Node with TensorFlow.js.

    Attributes:
        program: the path of `node`.
        files: what to load for each backend.
        version: of TensorFlow.js.
    """

    program: str
    files: dict[str, str]
    version: str


def find(folder: Path) -> Node | None:
    """Returns Node with TensorFlow.js, as a program in the current folder, or in the given one, would find them."""
    program = shutil.which("node")
    if program is None:
        return None
    words = [strict_json.dumps(word) for word in ([str(Path.cwd()), str(folder.absolute())], *PACKAGES.values())]
    done = subprocess.run([program, "-e", FIND, "--", *words], capture_output=True, text=True)
    packages = json.loads(done.stdout) if done.returncode == 0 else {}
    files = {backend: packages[name]["file"] for backend, name in PACKAGES.items() if name in packages}
    return Node(program, files, packages[PACKAGES["cpu"]]["version"]) if "cpu" in files else None


def place_of_check(folder: Path) -> str:
    """Returns where a model in a folder is compared with its run, for a person."""
    node = find(folder)
    if node is not None:
        return f"in Node by TensorFlow.js {node.version} on {' and '.join(node.files)}"
    missing = "no node" if shutil.which("node") is None else f"no {PACKAGES['cpu']}; {INSTALL}"
    return f"in a clean process, but not in JavaScript ({missing})"


def outputs(
    node: Node, path: Path, *, rows: Mapping[str, np.ndarray], batches: Sequence[int], names: Sequence[str]
) -> dict[str, list[np.ndarray]]:
    """Returns the outputs of an exported model on each backend.

    Args:
        node: Node with TensorFlow.js.
        path: the folder of the model.
        rows: raw rows by column.
        batches: how many rows are predicted together, one number after the other; rows are repeated as needed.
        names: the outputs.

    Returns:
        The outputs of the first batch, those of the next, and so on, by backend.

    Raises:
        ExportError: the model can't be loaded, or can't predict.
    """
    with tempfile.TemporaryDirectory() as temporary:
        given, out = Path(temporary, "rows.json"), Path(temporary, "outputs.json")
        cells = {name: values.tolist() for name, values in rows.items()}
        given.write_text(strict_json.dumps({"rows": cells, "batches": list(batches)}))
        words = [str(path.absolute()), str(given), str(out), strict_json.dumps(node.files)]
        done = subprocess.run([node.program, "-e", PREDICT, "--", *words], capture_output=True, text=True)
        if done.returncode or not out.exists():
            lines = [line for line in done.stderr.splitlines() if "Error" in line] or ["Node ended without a message"]
            raise ExportError(f"{path.name}: can't be used in Node by TensorFlow.js {node.version}: {lines[0][:300]}")
        computed: dict[str, list[dict[str, Any]]] = json.loads(out.read_text())
    return {
        backend: [np.array(of_batch[name], float) for of_batch in of_backend for name in names]  # null becomes nan
        for backend, of_backend in computed.items()
    }
