"""Tables that are updated by rows: where that is exact it equals the update of the whole table, in every mode."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BINS = 2500  # so that the tables are not too small to be updated by rows
ROWS = 480
SLOTS = {"sgd": 0, "adagrad": 1, "ftrl": 2}
MODES = ["graph_loop", "xla_loop", "eager"]


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with two columns of ids, of which a few are frequent, a number and a target."""
    random = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("data") / "clicks.csv"
    users, items = (random.zipf(1.3, ROWS) % 400 for _ in range(2))
    x = random.normal(size=ROWS)
    y = x + np.sin(users) + 0.5 * np.cos(items) + 0.1 * random.normal(size=ROWS)
    lines = [f"u{a},i{b},{c:.4f},{d:.4f}" for a, b, c, d in zip(users, items, x, y, strict=True)]
    path.write_text("\n".join(["user,item,x,y", *lines]) + "\n")
    return path


def words(clicks: Path, *more: str) -> list[str]:
    encoding = f"{{name: hash, bins: {BINS}}}"
    return [
        "model=wide_deep",
        "model.crosses=[]",
        "model.hidden_units=[4]",
        "optimizer=adagrad",
        "loss=mse",
        "data=csv",
        f"data.path={clicks}",
        "data.target=y",
        f"data.text={{user: {encoding}, item: {encoding}}}",
        "data.batch_size=32",
        "trainer.max_epochs=20",
        *more,
    ]


def train(small: Any, clicks: Path, *more: str, mode: str, steps: int = 24) -> tuple[Any, dict[str, np.ndarray]]:
    """Returns the pieces and the state after some steps."""
    pieces = small.pieces(*words(clicks, *more))
    program = pieces.make_program()
    program.mode = mode
    done = 0
    while done < steps:
        count = min(steps - done, program.max_steps)
        assert program.run(done, count).finite
        done += count
    return pieces, pieces.state(program).read()


def tables_of(pieces: Any) -> set[str]:
    return {variable.path for variable in pieces.parts.model.variables if variable in pieces.parts.step.tables}


def assert_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray], tolerance: float) -> None:
    assert first.keys() == second.keys()
    for slot, values in first.items():
        np.testing.assert_allclose(values, second[slot], rtol=tolerance, atol=tolerance, err_msg=slot)


SGD = ["optimizer=sgd", "optimizer.learning_rate=0.1", "optimizer.clip_norm=0.5"]
ADAGRAD = ["optimizer=adagrad", "optimizer.learning_rate=0.1"]
WIDE = ["model.deep=false", "optimizer=ftrl", "optimizer.l1_regularization_strength=0.001"]
TWO_GROUPS = [
    "optimizer=for_linear",
    "optimizer.groups.all=null",
    "+optimizer.groups.tables={match: table|embeddings, name: sgd}",
    "+optimizer.groups.rest={match: kernel|bias, name: sgd}",
]
DECAY = "optimizer.schedule={name: exponential, rate: 0.5, decay_steps: 10}"


@pytest.mark.parametrize(
    ("options", "modes"),
    [
        (SGD, MODES),
        ([*ADAGRAD, DECAY], ["graph_loop", "xla_loop"]),
        (WIDE, ["xla_loop"]),
        ([*ADAGRAD, "trainer.microbatches=2", "optimizer.clip_norm=0.1"], ["graph_loop"]),
        ([*ADAGRAD, "algorithm=sam", "algorithm.rho=0.2"], ["graph_loop", "xla_loop"]),
    ],
)
def test_an_exact_update_by_rows_is_that_of_the_whole_table(
    small: Any, clicks: Path, options: list[str], modes: list[str]
) -> None:
    options = [*options, "trainer.precision=float64"]
    whole_pieces, whole = train(small, clicks, *options, "optimizer.rows=dense", mode="graph_loop")
    assert not tables_of(whole_pieces)
    for mode in modes:
        pieces, by_rows = train(small, clicks, *options, mode=mode)
        assert tables_of(pieces) == ({"wide/table"} if options[0] == WIDE[0] else {"wide/table", "deep/embeddings"})
        assert_equal(by_rows, whole, 1e-12)


def test_float32_by_rows_stays_within_rounding_for_200_steps(small: Any, clicks: Path) -> None:
    options = [*ADAGRAD, "model.deep=false"]
    _, by_rows = train(small, clicks, *options, mode="xla_loop", steps=200)
    _, whole = train(small, clicks, *options, "optimizer.rows=dense", mode="xla_loop", steps=200)
    assert_equal(by_rows, whole, 2e-5)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_by_rows_is_that_of_the_whole_table(small: Any, clicks: Path, precision: str) -> None:
    options = [*ADAGRAD, f"trainer.precision={precision}"]
    pieces, by_rows = train(small, clicks, *options, mode="graph_loop", steps=12)
    _, whole = train(small, clicks, *options, "optimizer.rows=dense", mode="graph_loop", steps=12)
    assert tables_of(pieces) == {"wide/table", "deep/embeddings"}
    assert_equal(by_rows, whole, 1e-3)


def test_a_lazy_optimizer_leaves_the_other_rows_and_what_they_remember_as_they_are(small: Any, clicks: Path) -> None:
    """Adam: m and v of a row decay at the steps whose batch reads it; the bias correction counts all steps."""
    options = ["model.deep=false", "optimizer=adam", "optimizer.learning_rate=0.01", "optimizer.rows=lazy"]
    pieces = small.pieces(*words(clicks, *options, "trainer.precision=float64"))
    program = pieces.make_program()
    program.mode = "xla_loop"
    start = pieces.state(program).read()
    x, y, _ = pieces.examples.arrays
    ids = np.asarray(x["categories"]) + [0, BINS + 1]
    numbers, targets = np.asarray(x["numbers"], float), np.asarray(y, float)
    rows = pieces.order.block(0, 12).reshape(12, -1)
    table = np.zeros(2 * (BINS + 1))
    kernel, bias = np.zeros(1), np.zeros(1)
    slots = {name: [np.zeros_like(w), np.zeros_like(w)] for name, w in (("t", table), ("k", kernel), ("b", bias))}
    for step, batch in enumerate(rows):
        error = 2 * (bias + numbers[batch] @ kernel + table[ids[batch]].sum(1) - targets[batch, 0]) / len(batch)
        of_table = np.zeros_like(table)
        np.add.at(of_table, ids[batch].ravel(), np.repeat(error, 2))
        touched = np.unique(ids[batch])
        for name, w, gradient, where in (
            ("t", table, of_table, touched),
            ("k", kernel, numbers[batch].T @ error, [0]),
            ("b", bias, error.sum(keepdims=True), [0]),
        ):
            m, v = slots[name]
            m[where] = 0.9 * m[where] + 0.1 * gradient[where]
            v[where] = 0.999 * v[where] + 0.001 * gradient[where] ** 2
            rate = 0.01 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            w[where] -= rate * m[where] / (np.sqrt(v[where]) + 1e-7)
    assert program.run(0, 12).finite
    state = pieces.state(program)
    by_path = {slot["path"]: state.read()[key] for key, slot in state.describe().items()}
    np.testing.assert_allclose(by_path["wide/table"][:, 0], table, rtol=1e-6, atol=1e-12)  # rates are float32
    np.testing.assert_allclose(by_path["wide/kernel"][:, 0], kernel, rtol=1e-6)
    assert start.keys() == state.read().keys()


def test_a_group_of_tables_alone_counts_its_updates(small: Any, clicks: Path) -> None:
    options = ["optimizer.groups.tables.name=nadam", "optimizer.groups.tables.every=2", "optimizer.rows=lazy"]
    pieces, _ = train(small, clicks, *TWO_GROUPS, *options, mode="graph_loop", steps=6)
    counts = {group.name: int(group.optimizer.iterations.numpy()) for group in pieces.parts.step.active}
    assert counts == {"tables": 3, "rest": 6}


def test_no_table_is_copied_at_a_step(small: Any, clicks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the program as XLA has optimized it: a copy of a table would cost its size at every step."""
    pieces = small.pieces(*words(clicks, *ADAGRAD))
    program = pieces.make_program()
    program.mode = "xla_loop"
    calls: list[tuple[Any, Any]] = []
    compiled = program._compiled

    def recorded(*key: Any) -> Any:
        block = compiled(*key)

        def call(*arguments: Any) -> Any:
            calls.append((block, arguments))
            return block(*arguments)

        return call

    monkeypatch.setattr(program, "_compiled", recorded)
    program.compile()
    block, arguments = calls[0]
    text = block.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    table = f"[{2 * (BINS + 1)}"
    bodies = [body for body in text.split("\n\n") if re.search(rf"{re.escape(table)}[^=]*= ?.*scatter", body)]
    steps = [body for body in bodies if "fused_computation" not in body.split("(")[0]]
    writes = [line for body in steps for line in body.splitlines() if table in line]
    assert len([line for line in writes if "scatter" in line.split("=")[0]]) >= 4  # two tables, each with a slot
    assert not [line for line in writes if re.search(r" (copy|select|broadcast|convert)\(", line)]


@pytest.mark.parametrize("mode", ["graph_loop", "xla_loop"])
@pytest.mark.parametrize("breaks", ["loss", "tables", "rest"])
def test_a_step_that_isnt_finite_leaves_tables_and_all_else_untouched(
    small: Any, clicks: Path, breaks: str, mode: str
) -> None:
    pieces = small.pieces(*words(clicks, *TWO_GROUPS, "model.dropout=0.5"))  # whose seeds a forward pass changes
    program = pieces.make_program()
    program.mode = mode
    assert program.run(0, 3).finite
    bias = next(variable for variable in pieces.parts.model.variables if variable.path == "wide/bias")
    bias.assign([np.nan if breaks == "loss" else 100.0])  # then gradients are larger than 1
    rates = {group.name: group.base_learning_rate for group in pieces.parts.step.active}
    if breaks in rates:
        rates[breaks].assign(3e38)
    before = pieces.state(program).read()
    result = program.run(3, 5)
    assert (result.finite, len(result.losses)) == (False, 0)
    # 3e38 times a gradient of more than 1.13, which all have that the error of about 100 reaches undiminished
    broken = {"tables": ["wide/table"], "rest": ["wide/bias", "wide/kernel", "deep/output/kernel"]}.get(breaks)
    named = ", ".join(f"{path} (optimizer.groups.{breaks})" for path in broken or [])
    assert result.cause == (f"the update makes {named} infinite or NaN" if broken else "")
    after = pieces.state(program).read()
    for slot, values in before.items():
        np.testing.assert_array_equal(values, after[slot], err_msg=slot)
