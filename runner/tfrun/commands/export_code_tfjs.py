"""JavaScript that loads an export for TensorFlow.js, for a person to copy."""

from __future__ import annotations

import math
from typing import Any

from tfrun.commands.export_code import example
from tfrun.data.kinds import ArrayColumn, Column
from tfrun.data.preprocessing import Preprocessing
from tfrun.files import strict_json

LOAD = """\
import { readFile } from "node:fs/promises";
import tf from "@tensorflow/tfjs";
import { modelFrom, predict } from "./tfjs/predict.mjs";

const model = await modelFrom(tf, (name) => readFile(`tfjs/${name}`));"""


def loading_code(fitted: Preprocessing, *, floatx: str) -> str:
    """Returns code for Node that loads an export from the current folder and predicts one row; see `export_code`."""
    rows = [f"  {_key(column.name)}: {_cells(column, fitted, floatx)}," for column in fitted.columns]
    return "\n".join([LOAD, "const rows = {", *rows, "};", "console.log(await predict(tf, model, rows));"])


def _key(name: str) -> str:
    """Returns the name of a column as a key of an object; `__proto__` without brackets would not be one."""
    return f"[{_literal(name)}]" if name == "__proto__" else _literal(name)


def _cells(column: Column, fitted: Preprocessing, floatx: str) -> str:
    """Returns code for a column's cells in one example."""
    if isinstance(column, ArrayColumn):
        zeros = "0"
        for size in reversed(column.raw_shape):
            zeros = f"Array({size}).fill({zeros})"
        return f"[{zeros}]"
    value = example(column, column.raw_dtype(floatx))
    cell = _literal(None if isinstance(value, float) and math.isnan(value) else value)
    return f"[{cell}]" if fitted.window is None else f"[Array({fitted.window.length}).fill({cell})]"


def _literal(value: Any) -> str:
    """Returns a value as JavaScript: printable texts as they are, as JSON has them escaped if they aren't ASCII."""
    return repr(value) if isinstance(value, str) and value.isprintable() else strict_json.dumps(value)
