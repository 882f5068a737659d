"""Runs that begin with the weights of an earlier run or of a file, and groups that stand still."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
STILL = ["optimizer.learning_rate=1e-30", "trainer.max_epochs=1"]  # the first weights are those in the checkpoint
TABLE = ["data=csv", "data.target=y", "model=wide_deep", "model.hidden_units=[4]"]


def write_towns(path: Path, towns: str, num_rows: int = 120) -> None:
    """Writes rows whose towns are letters, the first ones more frequent."""
    generator = np.random.default_rng(ord(towns[0]))
    shares = np.arange(len(towns), 0, -1.0)
    of_rows = generator.choice(list(towns), num_rows, p=shares / shares.sum())
    lines = [f"{town},{generator.normal():.4f},{ord(town) % 7}" for town in of_rows]
    path.write_text("\n".join(["town,x,y", *lines]) + "\n")


def run_of(folder: Path, name: str) -> Path:
    (run,) = folder.glob(f"outputs/{name}/*")
    return run


def weights(run: Path, role: str = "model") -> dict[str, np.ndarray]:
    """Returns the arrays of the newest checkpoint by the paths of the model's variables."""
    newest = max(run.glob("checkpoints/step-*"))
    slots = json.loads((newest / "manifest.json").read_text())["slots"]
    with np.load(newest / "state.npz") as arrays:
        names = sorted(slot for slot in slots if slot.startswith("model/"))
        values = names if role == "model" else sorted(slot for slot in slots if slot.startswith("best/"))[-len(names) :]
        return {slots[name]["path"]: arrays[value] for name, value in zip(names, values, strict=True)}


def init_of(run: Path) -> dict[str, Any]:
    init: dict[str, Any] = json.loads((run / "run.json").read_text())["init"]
    return init


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_a_run_begins_with_another_run_s_best_weights(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    done(warm_tfrun("name=first", "trainer.max_epochs=3"))
    first = run_of(tmp_path, "first")
    output = done(warm_tfrun(f"init={first}", "name=second", *STILL))
    second = run_of(tmp_path, "second")
    best, begun = weights(first, "best"), weights(second)
    assert best.keys() == begun.keys()
    for path, value in best.items():
        np.testing.assert_allclose(begun[path], value, rtol=1e-6, err_msg=path)
    recorded = init_of(second)
    assert recorded["from"] == str(first) and recorded["run_id"] == first.name and recorded["take"] == "best"
    assert (recorded["copied"], recorded["new"], recorded["unused"]) == (len(best), 0, 0)
    assert "init        " in output and f"{len(best)} of {len(best)} variables from" in output


def test_rows_follow_their_towns(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    write_towns(tmp_path / "old.csv", "abcd")
    write_towns(tmp_path / "new.csv", "dzab")
    done(warm_tfrun(*TABLE, "data.path=old.csv", "name=old", "trainer.max_epochs=3"))
    old = run_of(tmp_path, "old")
    output = done(warm_tfrun(*TABLE, "data.path=new.csv", "name=new", f"init={old}", *STILL))
    new = run_of(tmp_path, "new")

    def rows(run: Path, role: str, end: str) -> dict[str, np.ndarray]:
        towns = ["", *json.loads((run / "preprocessing.json").read_text())["vocabularies"]["town"]]
        (table,) = [value for path, value in weights(run, role).items() if path.endswith(end)]
        return {town: table[k] for k, town in enumerate(towns)}

    for end in ("deep/embeddings", "wide/category_weights"):
        if not any(path.endswith(end) for path in weights(old)):
            end = next(path for path in weights(old) if path.startswith("wide/") and weights(old)[path].shape[0] == 5)
        before, now = rows(old, "best", end), rows(new, "model", end)
        assert now.keys() - before.keys() == {"z"}
        for town in ("", "a", "b", "d"):
            np.testing.assert_allclose(now[town], before[town], rtol=1e-6, err_msg=f"{end} {town}")
    assert "warning: init: x are scaled by other means" in output


def test_the_same_preprocessing_needs_the_earlier_run_only_at_the_beginning(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    write_towns(tmp_path / "old.csv", "abcd")
    write_towns(tmp_path / "new.csv", "dzab")
    done(warm_tfrun(*TABLE, "data.path=old.csv", "name=old", "trainer.max_epochs=1"))
    old = run_of(tmp_path, "old")
    words = [*TABLE, "data.path=new.csv", "name=new", f"init={old}", "init.preprocessing=same"]
    done(warm_tfrun(*words, "trainer.max_epochs=1"))
    new = run_of(tmp_path, "new")
    assert (new / "preprocessing.json").read_bytes() == (old / "preprocessing.json").read_bytes()
    shutil.rmtree(old)
    done(warm_tfrun("resume", str(new), "trainer.max_epochs=2"))
    assert init_of(new)["from"] == str(old)  # what the run began with stays on record
    done(warm_tfrun("evaluate", str(new)))
    done(warm_tfrun("predict", str(new), "data.path=new.csv", "out=predicted.csv"))


def test_a_fine_tune_that_is_killed_ends_as_an_undisturbed_one(runs: Any, tmp_path: Path) -> None:
    words = ["model=mlp", "model.batch_normalization=true", "optimizer=adam", "checkpoint.every_steps=4"]
    assert runs.call(tmp_path, *words, "name=first", "trainer.max_epochs=1")[0] == 0
    first = run_of(tmp_path, "first")
    words += [f"init={first}", "trainer.max_epochs=3", "trainer.compile=graph"]
    code, output = runs.call(tmp_path, *words, "name=whole")
    assert code == 0, output
    code, output = runs.call(tmp_path, *words, "name=killed", failpoint="checkpoint.rename:2")
    assert code == -signal.SIGKILL, output
    shutil.rmtree(first)
    killed = run_of(tmp_path, "killed")
    code, output = runs.call(tmp_path, "resume", str(killed))
    assert code == 0, output
    expected = weights(run_of(tmp_path, "whole"))
    for path, value in weights(killed).items():
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


FROZEN = [
    "model=mlp", "model.hidden_units=[8, 4]", "model.batch_normalization=true", "model.dropout=0.3",
    "optimizer.groups={all: null, lower: {match: '_1/', frozen: true}, upper: {match: '_2/|output/', name: adam}}",
]  # fmt: skip


@pytest.mark.parametrize("mode", ["xla", "graph"])
def test_a_frozen_group_stands_still(warm_tfrun: Tfrun, tmp_path: Path, mode: str) -> None:
    done(warm_tfrun(*FROZEN, "trainer.max_epochs=3", f"trainer.compile={mode}", "name=frozen"))
    found = weights(run_of(tmp_path, "frozen"))
    of_lower = {path: value for path, value in found.items() if "normalization_1/" in path}
    assert {path.rpartition("/")[2]: set(value.tolist()) for path, value in of_lower.items()} == {
        "gamma": {1.0}, "beta": {0.0}, "moving_mean": {0.0}, "moving_variance": {1.0}
    }  # fmt: skip
    assert not np.array_equal(found["normalization_2/moving_mean"], np.zeros(4))
    moving = [*FROZEN[:-1], FROZEN[-1].replace("frozen: true", "frozen: true, statistics: moving")]
    done(warm_tfrun(*moving, "trainer.max_epochs=3", f"trainer.compile={mode}", "name=moving"))
    assert not np.array_equal(weights(run_of(tmp_path, "moving"))["normalization_1/moving_mean"], np.zeros(8))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init=outputs/nowhere"], "init.from: no such file or folder"),
        (["init=."], "init.from: the folder is neither a run's nor a SavedModel's"),
        (["init.new=[a]"], "init.new: means nothing without init.from"),
        (["init=w.npz", "init.new=['(']"], "init.new: not a regular expression"),
        (["init=w.npz", "init.map=[a]"], "init.map: must be a mapping from patterns to replacements, or a list"),
        (["init=w.npz", "init.preprocessing=same"], "init.preprocessing: same needs a run"),
        (["init=w.npz", "init.tkae=last"], "Did you mean 'init.take'?"),
    ],
)
def test_mistakes_are_found_before_tensorflow_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    from tfrun import cli

    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "w.npz", a=np.zeros(2))
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_file_that_does_not_fit_is_one_line(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"deep/output/bias": np.zeros(1, np.float32)}
    np.savez(tmp_path / "w.npz", **arrays)
    result = warm_tfrun("init=w.npz")
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if "init:" in line]
    assert "variables can't begin with" in line and "init.new names variables that begin afresh" in line
    (tmp_path / "cut.npz").write_bytes((tmp_path / "w.npz").read_bytes()[:50])
    assert warm_tfrun("init=cut.npz").returncode == 6


def test_a_sweep_over_what_to_begin_with(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    for seed in (1, 2):
        done(warm_tfrun("model=linear", f"name=first{seed}", f"seed={seed}", "trainer.max_epochs=1"))
    first, second = (run_of(tmp_path, f"first{seed}") for seed in (1, 2))
    done(warm_tfrun("-m", "model=linear", f"init={first},{second}", "name=swept", *STILL, "hydra.launcher.n_jobs=1"))
    jobs = sorted(tmp_path.glob("multirun/swept/*/[0-9]"))
    assert [init_of(job)["run_id"] for job in jobs] == [first.name, second.name]
    for job, source in zip(jobs, (first, second), strict=True):
        for path, value in weights(source, "best").items():
            np.testing.assert_allclose(weights(job)[path], value, rtol=1e-6, err_msg=path)


@pytest.mark.slow
def test_fifty_rows_of_another_task(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    """A network that knows ten digits learns their remainders modulo 5 from 50 other rows better than a fresh one."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 8, 8)
    np.savez(tmp_path / "digits.npz", x=images[:1000], y=digits[:1000])
    np.savez(tmp_path / "remainders.npz", x=images[1000:], y=digits[1000:] % 5)
    words = ["data=npz", "model=cnn", "model.filters=[16, 32]", "loss=auto", "metric=auto", "optimizer=adam"]
    done(warm_tfrun(*words, "data.path=digits.npz", "name=first", "trainer.max_epochs=15"))
    first = run_of(tmp_path, "first")
    sweep = ["-m", *words, "data.path=remainders.npz", "data.limit_rows=50", "data.batch_size=10"]
    sweep += ["trainer.max_epochs=20", "data.validation_split=0.4", "data.test_split=0.4"]
    sweep += ["seed=1,2,3,4,5", "hydra.launcher.n_jobs=2"]
    accuracies = {}
    for name, more in (("fresh", []), ("tuned", [f"init={first}", "init.new=['^output/']"])):
        done(warm_tfrun(*sweep, *more, f"name={name}"))
        runs = [json.loads(path.read_text()) for path in tmp_path.glob(f"multirun/{name}/*/[0-9]/run.json")]
        accuracies[name] = [run["metrics"]["test/accuracy"] for run in runs]
    assert len(accuracies["tuned"]) == len(accuracies["fresh"]) == 5
    assert np.mean(accuracies["tuned"]) > np.mean(accuracies["fresh"]) + 0.02


WRITE_PRESET = """
import keras, keras_hub
keras.utils.set_random_seed(0)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
network = keras_hub.models.BertBackbone(
    vocabulary_size=8, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8, max_sequence_length=8)
network.save_to_preset("bert")
keras_hub.models.BertTokenizer(vocabulary=words, lowercase=True).save_to_preset("bert")
"""


def test_a_network_of_texts_with_its_tokenizer(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    """The command of the docs: train, predict other texts, export what predicts them alone."""
    pytest.importorskip("keras_hub", reason="needs the extra `hub`")
    subprocess.run([sys.executable, "-c", WRITE_PRESET], cwd=tmp_path, check=True, capture_output=True)
    texts = ["Good film", "bad film", "good good", "bad bad film"]
    rows = [f"{texts[k % 4]},{1 - k % 2}" for k in range(80)]
    (tmp_path / "reviews.csv").write_text("\n".join(["review,stars", *rows]) + "\n")
    output = done(
        warm_tfrun(
            *("data=csv", "data.path=reviews.csv", "data.target=stars", "data.task=regression", "model=pretrained"),
            *("data.text={review: {name: tokens, tokenizer: bert, length: 5}}", "model.backbone={preset: bert}"),
            *("name=texts", "trainer.max_epochs=60", "optimizer.groups.head.learning_rate=0.03"),
        )
    )
    assert "21 of 23 variables from bert/model.weights.h5; fresh: head/output/kernel, head/output/bias" in output
    run = run_of(tmp_path, "texts")
    assert init_of(run)["copied"] == 21
    (tmp_path / "new.csv").write_text("review\ngood film\nBAD film\n")
    done(warm_tfrun("predict", str(run), "data.path=new.csv"))
    header, good, bad = (run / "predictions" / "new.csv").read_text().splitlines()
    assert header == '"stars"' and float(good) > 0.6 and float(bad) < 0.4
    output = done(warm_tfrun("export", str(run), "format=saved_model"))
    assert "before it is loaded: import tensorflow_text" in output
    done(warm_tfrun("export", str(run), "format=keras"))


def test_what_a_run_waits_for_when_a_stage_begins(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    groups = "{all: null, low: {match: '^(?!output)', name: adam, from_epoch: 1}, high: {match: '^output', name: adam}}"
    output = done(warm_tfrun(f"optimizer.groups={groups}", "model=mlp", "trainer.max_epochs=2", "name=staged"))
    num_steps = json.loads((run_of(tmp_path, "staged") / "run.json").read_text())["step"]
    assert output.count("compiling for the stage") == 1
    assert f"compiling for the stage from step {num_steps // 2} on" in output
