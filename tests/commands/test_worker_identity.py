"""What must be the same for all workers: the code and the runs that each reads on its own machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrun.commands.command_line import CommandLine
from tfrun.commands.inputs import compose, read_inputs
from tfrun.commands.worker_identity import MISSING, identity_of
from tfrun.workers.meeting import Identity

LOSS = '''
import keras
from helping import FACTOR
from tfrun import register


@register.loss("doubled")
class Doubled(keras.losses.Loss):
    """Twice the squared error."""

    def call(self, y_true, y_pred):
        return FACTOR * keras.ops.mean((y_true - y_pred) ** 2, axis=-1)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{k},{2 * k}.5\n" for k in range(40)))
    (tmp_path / "losses.py").write_text(LOSS)
    (tmp_path / "helping.py").write_text("FACTOR = 2.0\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def identity(*words: str) -> Identity:
    all_words = ("data=csv", "data.path=rows.csv", "data.target=y", "strategy=multi_worker", "model=linear", *words)
    configs, composed = compose(CommandLine(all_words))
    return identity_of(read_inputs(composed.config, configs.catalog, overrides=all_words), configs.catalog)


def differing(first: Identity, second: Identity) -> list[str]:
    return [name for name in first.files if first.files[name] != second.files.get(name)]


def test_a_module_of_a_plugin_and_what_it_imports_must_be_the_same(folder: Path) -> None:
    words = "plugins=[losses]", "loss=doubled"
    before = identity(*words)
    assert set(before.files) == {"tfrun", "plugin losses", "import helping"}
    assert before == identity(*words) and before.refusal(vars(before), "worker 1") is None
    (folder / "helping.py").write_text("FACTOR = 3.0\n")
    after = identity(*words)
    assert differing(before, after) == ["import helping"]
    refusal = str(before.refusal(vars(after), "worker 1"))
    assert refusal.startswith("strategy: all workers must have the same files. Received: import helping: '")


def test_the_code_of_tfrun_must_be_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder / "other"
    (other / "components").mkdir(parents=True)
    (other / "components" / "loss.py").write_text("1")
    monkeypatch.setattr("tfrun.__path__", [str(other)])
    before = identity()
    (other / "components" / "loss.py").write_text("2")
    assert differing(before, identity()) == ["tfrun"]


def test_paths_and_names_may_differ_but_not_the_rows(folder: Path) -> None:
    before = identity()
    (folder / "there.csv").write_bytes((folder / "rows.csv").read_bytes())
    assert identity("data.path=there.csv", "name=other", "strategy.meeting_seconds=5") == before
    (folder / "there.csv").write_text((folder / "rows.csv").read_text().replace("7,14.5", "7,14.6"))
    other = identity("data.path=there.csv")
    assert other.data != before.data and "must read the same rows" in str(before.refusal(vars(other), "worker 1"))


def test_a_teacher_may_be_elsewhere_but_must_be_the_same(folder: Path) -> None:
    def teacher(name: str, **files: Any) -> str:
        (folder / name).mkdir()
        for file in ("config.yaml", "preprocessing.json"):
            (folder / name / file).write_text(files.get(file.partition(".")[0], "{}"))
        return f"algorithm.teacher={name}"

    words = ["algorithm=distill", teacher("a"), teacher("b"), teacher("c", preprocessing='{"means": 1}')]
    first, same, other = (identity(words[0], word) for word in words[1:])
    assert first == same and first.files["algorithm.teacher"] != MISSING
    assert differing(first, other) == ["algorithm.teacher"]
