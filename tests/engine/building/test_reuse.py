"""Runs of one process that share programs, rows and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest

from tfrun.data.table import Table
from tfrun.engine.building import assembly
from tfrun.engine.building import reuse as reuse_module
from tfrun.engine.building.parts import build_parts
from tfrun.engine.building.pieces import Beginning, Pieces
from tfrun.engine.building.reuse import KeptProgram, Reuse
from tfrun.engine.training.program import Program

CLIP = "optimizer.groups.deep.clip_norm"
RATE = "optimizer.groups.{}.learning_rate={}"


@pytest.fixture(autouse=True)
def _restore_float32() -> Any:
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """The programs that were made so far."""
    made: list[Program] = []
    make_program = Pieces.make_program

    def make(pieces: Pieces, **options: Any) -> Program:
        made.append(make_program(pieces, **options))
        return made[-1]

    monkeypatch.setattr(Pieces, "make_program", make)
    return made


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were built so far."""
    names: list[str] = []

    def build(settings: Any, *args: Any, **options: Any) -> Any:
        names.append(settings.model.name)
        return build_parts(settings, *args, **options)

    monkeypatch.setattr(assembly, "build_parts", build)
    return names


def trial(small: Any, reuse: Reuse, *overrides: str) -> str:
    """Trains a run, and returns the lines of its metrics."""
    words = ["model=wide_deep", "loss=huber", "model.hidden_units=[8]"]
    return small.train(*words, *overrides, reuse=reuse).metrics_jsonl.read_text()


def test_a_second_trial_of_the_same_structure_uses_the_same_program(small: Any, programs: list[Program]) -> None:
    words = ["trainer.compile=xla", f"{CLIP}=5.0", "optimizer.groups.deep.schedule.name=cosine"]
    others = [
        *words, f"{CLIP}=0.1", "optimizer.groups.deep.beta_1=0.8", "optimizer.groups.deep.schedule.final=0.5",
        "loss.delta=0.3", "seed=7", "trainer.max_epochs=4", RATE.format("wide", 0.1),
    ]  # fmt: skip
    reuse = Reuse()
    first = trial(small, reuse, *words)
    second = trial(small, reuse, *others)
    assert second.splitlines()[0] != first.splitlines()[0]
    assert trial(small, reuse, *words) == first  # nothing of the second trial is left
    (program,) = programs
    assert program.traces.reasons["block, xla_loop"] == ["first"]
    assert trial(small, Reuse(), *others) == second  # as in a new process

    trial(small, reuse, *others, "model.hidden_units=[5]", "trainer.compile=eager")
    assert len(programs) == 3
    with pytest.raises(AssertionError, match="start"):
        _ = program.feed  # a program that is kept keeps no examples


def test_trials_that_differ_in_learning_rates_are_built_once(small: Any, built: list[str]) -> None:
    words = ["optimizer.groups.deep.schedule.name=cosine", "model.dropout=0.2", "loss.delta=0.5"]
    rates = [RATE.format("deep", 0.003), RATE.format("wide", 0.1)]
    reuse = Reuse()
    first = trial(small, reuse, *words)
    assert trial(small, reuse, *words) == first and len(built) == 2  # the beginning of the second one is kept
    other = trial(small, reuse, *words, *rates)
    assert other != first
    assert trial(small, reuse, *words) == first and len(built) == 2  # nothing of the other rates is left
    for change in ("seed=3", "loss.delta=0.4", "data.validation_split=0.3"):
        trial(small, reuse, *words, change)
    assert len(built) == 5
    assert trial(small, Reuse(), *words, *rates) == other  # as in a new process


def test_beginnings_are_kept_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def beginning(num_floats: int) -> Beginning:
        return Beginning({"model/0": np.zeros(num_floats, np.float32)}, {}, ((), ()))

    monkeypatch.setattr(reuse_module, "BEGINNINGS_BYTES", 1000)
    kept = KeptProgram("", cast(Pieces, None), cast(Program, None), choices={}, lanes={}, beginnings={})
    for key, num_floats in (("a", 100), ("b", 100), ("c", 100)):  # 400 bytes each
        kept.remember(key, beginning(num_floats))
    assert list(kept.beginnings) == ["b", "c"]
    kept.remember("d", beginning(300))
    assert list(kept.beginnings) == []  # it is too large even alone


def test_encoded_rows_are_used_again(small: Any) -> None:
    reuse, table = Reuse(), small.table()
    settings = small.settings("model=linear")
    first = reuse.build_pieces(settings, small.catalog, table=table)
    assert reuse.build_pieces(settings, small.catalog, table=table).examples is first.examples
    assert reuse.build_pieces(settings, small.catalog, table=small.table()).examples is not first.examples


def test_rows_are_encoded_again_for_another_precision(small: Any) -> None:
    """As in a sweep over trainer.precision, whose jobs share the table."""
    reuse, dtypes = Reuse(), []
    for precision in ("float32", "float64"):
        settings = small.settings("model=linear", f"trainer.precision={precision}")
        table = reuse.table(settings, small.table)
        dtypes.append(reuse.build_pieces(settings, small.catalog, table=table).examples.targets.dtype.name)
    assert dtypes == ["float32", "float64"]


def test_a_table_is_read_again_if_its_config_or_its_file_has_changed(tmp_path: Path, small: Any) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n1,2\n")
    reuse, tables = Reuse(), []

    def read() -> Table:
        tables.append(Table({}, np.zeros(0), "y", "regression", "rows.csv"))
        return tables[-1]

    def table(*words: str) -> Table:
        settings = small.settings("data=csv", f"data.path={path}", "data.target=y", *words)
        return reuse.table(settings, read)

    assert table() is table() is tables[0]
    assert table("data.batch_size=7") is tables[1]
    path.write_text("x,y\n1,2\n3,4\n")
    assert table("data.batch_size=7") is tables[2]


def fold(small: Any, number: int, *words: str) -> Any:
    return small.settings("model=linear", "data.folds=3", f"data.fold={number}", *words)


def test_folds_are_encoded_from_one_table(small: Any) -> None:
    """Each from a copy of it, as encoding releases columns."""
    reuse, tables = Reuse(), [small.table()]

    def build(number: int) -> Pieces:
        settings = fold(small, number)
        return reuse.build_pieces(settings, small.catalog, table=reuse.table(settings, tables.pop))

    first = build(0)
    assert build(0).examples is first.examples  # of a run with other learning rates
    second = build(1)
    assert (list(second.table.columns), tables) == ([], [])
    assert second.examples.fingerprint == first.examples.fingerprint
    assert second.examples.splits["val"].tolist() != first.examples.splits["val"].tolist()
    np.testing.assert_array_equal(build(0).examples.inputs["numbers"], first.examples.inputs["numbers"])


def test_a_table_of_folds_is_kept_if_there_is_memory_and_the_rows_are_the_same(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reuse, tables = Reuse(), []

    def read() -> Table:
        tables.append(small.table())
        return tables[-1]

    def num_read(number: int, *words: str) -> int:
        reuse.table(fold(small, number, *words), read)
        return len(tables)

    num_bytes = small.table().num_bytes
    assert num_bytes > 10 * 442 * 8  # nine columns of numbers, one of texts
    assert [num_read(0), num_read(1), num_read(1, "data.split_seed=1"), num_read(2, "data.split_seed=1")] == [
        1,
        1,
        2,
        2,
    ]
    monkeypatch.setenv("TFRUN_DATA_MEMORY", str(4 * num_bytes - 1))
    assert [num_read(0), num_read(0), num_read(1), num_read(2)] == [3, 3, 4, 5]


PLANTS = ["data=csv", "data.path=plants.csv", "data.batch_size=16"]


@pytest.mark.parametrize(
    ("words", "num_programs"),
    [
        (["metric=[mae,r2]"], 1),
        (
            [
                *PLANTS,
                "data.target=kind",
                "data.class_weight=balanced",
                "loss=sparse_categorical_crossentropy",
                "metric=accuracy",
            ],
            1,
        ),
        ([*PLANTS, "data.target=height", "loss=mse", "metric=mae"], 1),
        (["metric=mae", "model=wide_deep", "model.crosses=[[age,bmi]]"], 3),
    ],
    ids=["numbers", "classes", "far from 0", "model that reads deciles"],
)
def test_folds_share_a_program(
    small: Any, tmp_path: Path, programs: list[Program], words: list[str], num_programs: int
) -> None:
    """Each with the bits of a run that has its process to itself."""
    dice = np.random.default_rng(0)
    kinds = dice.choice(["tree", "bush", "herb"], 81, p=[0.6, 0.25, 0.15])
    lines = [f"{dice.normal()},{dice.choice(['a', 'b'])},{kind},{1e5 + dice.normal()}" for kind in kinds]
    (tmp_path / "plants.csv").write_text("x,soil,kind,height\n" + "\n".join(lines) + "\n")
    words = [word.replace("plants.csv", f"{tmp_path}/plants.csv") for word in words]
    if "model=wide_deep" not in words:
        words += ["model=mlp", "model.batch_normalization=true"]

    def train(number: int, reuse: Reuse) -> tuple[bytes, bytes]:
        options = ["model.hidden_units=[4]", "trainer.compile=graph", "data.folds=3", f"data.fold={number}"]
        run = small.train(*words, *options, reuse=reuse)
        (state,) = run.checkpoints.glob("step-*/state.npz")
        return run.metrics_jsonl.read_bytes(), state.read_bytes()

    reuse = Reuse()
    first, second, again = (train(number, reuse) for number in (0, 1, 0))
    assert len(programs) == num_programs
    assert first == again != second == train(1, Reuse())
