"""`tfrun find`: its words, with the engine where it counts, and the real command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.commands import find_batch_size
from tfrun.commands.command_line import CommandLine
from tfrun.commands.find_config import pop_options
from tfrun.errors import ConfigError
from tfrun.finding import tries
from tfrun.finding.tries import Outcome
from tfrun.reports.range_curve import RangeCurve

Result = tuple[int, str, str]
LR, SIZE = ("find", "lr"), ("find", "batch_size")


class Trial:
    """What a size that fits has shown."""

    def __init__(self, batch_size: int):
        self.batch_size = min(batch_size, 354)
        self.train_rows, self.peak_bytes, self.mode = 354, 2**30, "graph_loop"
        self.steps_per_second = 100 / (1 + self.batch_size / 64)
        self.examples_per_second = self.batch_size * self.steps_per_second


@pytest.fixture
def ranges(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in for the engine, whose range test falls from 2 to 1 at a rate of 1e-2, and then grows."""
    engine.losses = [2 - k / 50 for k in range(50)] + [1 + k for k in range(10)]

    def range_test(settings: Any, catalog: Any, *, table: Any, options: dict[str, Any]) -> Any:
        engine.calls.append(("range_test", settings, None, options))
        rates = [1e-7 * 10 ** (k / 10) for k in range(len(engine.losses))]
        tested = [name for name in settings.groups if options["group"] in (None, name)]
        fields = {"ratios": dict.fromkeys(tested, 1.0), "untested": (), "epochs": 1.0, "seconds": 1.0}
        curve = RangeCurve(rates, engine.losses, "grew" if engine.losses else "undefined", 0.0, 10.0)
        return type("Result", (), {"curve": curve, "warnings": ("a warning",), **fields})

    monkeypatch.setattr(engine, "range_test", range_test, raising=False)
    monkeypatch.setattr(engine, "RangeOptions", lambda **options: options, raising=False)
    return engine


@pytest.fixture
def memory(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes sizes up to 150 fit; returns the list of those that are tried."""
    tried: list[int] = []

    def attempt(compute: Callable[[], Any], **_: Any) -> Outcome:
        tried.append(compute())
        return Outcome(Trial(tried[-1])) if tried[-1] <= 150 else Outcome(why_not="it took too much")

    def try_batch_size(settings: Any, catalog: Any, *, table: Any) -> int:
        return settings.data.batch_size

    monkeypatch.setattr(tries, "attempt", attempt)
    monkeypatch.setattr(engine, "try_batch_size", try_batch_size, raising=False)
    return tried


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["find"], "find: needs what to find, lr or batch_size"),
        ([*SIZE, "strategy=multi_worker", "strategy.workers=2"], "tries sizes in one process, and each worker"),
        (["find", "foo"], "find: unknown name. Received: 'foo'. Known: batch_size, lr."),
        (["find", "batchsize"], "Did you mean 'batch_size'?"),
        ([*LR, "outputs/default/1"], "find lr: takes a config's overrides, no runs or folders"),
        ([*LR, "-m"], "--multirun: one at a time, and only to train"),
        ([*LR, "seed=1,2"], "seed: several values are a sweep and need -m"),
        ([*LR, "hparams_search=optuna"], "find lr: takes one config, and this is a sweep"),
        ([*LR, "step=50"], "find lr: unknown option. Received: 'step'"),
        ([*LR, "memory=4GB"], "find lr: unknown option. Received: 'memory'"),
        ([*LR, "from=0"], "from: must be a learning rate from 1e-30 to 1e30. Received: '0'"),
        ([*LR, "to=nan"], "to: must be a number. Received: 'nan'"),
        ([*LR, "from=1", "to=1"], "to: must be > from, 1. Received: 1"),
        ([*LR, "steps=9"], "steps: must be a whole number from 10 to 100,000. Received: '9'"),
        ([*LR, "steps=10.5"], "steps: must be a whole number"),
        ([*LR, "smoothing=1"], "smoothing: must be from 0, which smooths nothing, to 0.999"),
        ([*LR, "smoothing=0.98"], "steps: smoothing=0.98 averages about 50 steps, and needs three times as many"),
        ([*LR, "group=shallow"], "group: unknown optimizer group. Received: 'shallow'. Known: deep, embeddings, wide."),
        ([*LR, "group=deep", "optimizer.groups.deep.frozen=true"], "group: it is frozen"),
        ([*LR, "out=curve.pdf"], "out: must be an .html file. Received: 'curve.pdf'"),
        ([*LR, "out=folder.html"], "out: must be a file, not a folder. Received: 'folder.html'"),
        ([*LR, "out=mine.html"], "out: the file exists; overwrite=true replaces it"),
        ([*LR, "overwrite=true"], "overwrite: only together with out=FILE.html"),
        ([*LR, "model=mpl"], "model: unknown option. Received: 'mpl'"),
        ([*SIZE, "memory=lots"], "memory: must be a size such as 4GB or 512MiB. Received: 'lots'"),
        ([*SIZE, "memory=1MB"], "memory: must be 256MiB or more"),
        ([*SIZE, "max=0"], "max: must be a number of rows, 1 or more. Received: '0'"),
        ([*SIZE, "max=2", "trainer.microbatches=4"], "max: must be >= 4"),
        ([*SIZE, "out=curve.html"], "find batch_size: unknown option. Received: 'out'. Known: max, memory."),
        ([*SIZE, "data.folds=3"], "data.folds: each fold is a run of its own"),
    ],
)
def test_mistakes_are_one_line(
    run: Callable[..., Result], ranges: Any, memory: list[int], tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "mine.html").touch()
    code, out, err = run(*words)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert ranges.calls == [] and memory == [] and len(list(tmp_path.iterdir())) == 2


def test_a_page_that_can_not_be_written_is_found_before_the_test(
    run: Callable[..., Result], ranges: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, out, err = run(*LR, "out=file/curve.html")
    assert (code, out, ranges.calls) == (5, "", [])
    assert err.endswith("file/curve.html: can't be written: Not a directory\n")


def test_a_word_that_is_no_option_is_an_override() -> None:
    line = CommandLine(("from=1e-6", "name=mine", "loss.to=3", "+tag=1", "~model.x"))
    options, rest = pop_options(line, ("from", "to"), where="find lr")
    assert options == {"from": "1e-6"} and rest.words == ("name=mine", "loss.to=3", "+tag=1", "~model.x")
    with pytest.raises(ConfigError, match="Did you mean 'from'"):
        pop_options(CommandLine(("form=1",)), ("from", "to"), where="find lr")


def test_the_suggestion_ends_the_output(run: Callable[..., Result], ranges: Any, tmp_path: Path) -> None:
    code, out, err = run(*LR, "model=mlp", "optimizer.learning_rate=5", "from=1e-6", "steps=60", "tags=[a b]")
    assert (code, err) == (0, "warning: a warning\n")
    assert out.splitlines()[-1] == "tfrun model=mlp 'tags=[a b]' optimizer.learning_rate=1e-3"
    options = ranges.calls[0][3]
    assert (options["first_rate"], options["last_rate"], options["num_steps"]) == (1e-6, 10.0, 60)
    assert (options["smoothing"], options["group"]) == (0.9, None)
    assert list(tmp_path.iterdir()) == []


def test_each_group_is_named(run: Callable[..., Result], ranges: Any) -> None:
    code, out, _ = run(*LR, "optimizer.learning_rate=0.1")
    groups = "optimizer.groups.{}.learning_rate=1e-3"
    assert code == 0
    assert out.splitlines()[-1] == " ".join(["tfrun", *map(groups.format, ("wide", "embeddings", "deep"))])
    code, out, _ = run(*LR, "group=deep", "optimizer.groups.wide.learning_rate=0.1")
    expected = "tfrun optimizer.groups.wide.learning_rate=0.1 optimizer.groups.deep.learning_rate=1e-3"
    assert out.splitlines()[-1] == expected


def test_the_page(run: Callable[..., Result], ranges: Any) -> None:
    for words in (["out=pages/curve.html"], ["out=pages/curve.html", "overwrite=true"]):
        code, out, _ = run(*LR, "model=mlp", *words)
        assert code == 0 and out.endswith("pages/curve.html\n")
    text = Path("pages/curve.html").read_text()
    assert text.startswith("<!doctype html>") and "tfrun model=mlp optimizer.learning_rate=1e-3" in text


def test_no_suggestion(run: Callable[..., Result], ranges: Any) -> None:
    ranges.losses = [1 + k for k in range(30)]
    code, out, err = run(*LR, "out=curve.html")
    assert code == 2 and "find lr: no suggestion: the loss grows before it has clearly fallen" in err
    assert "█" in out and "No suggestion" in Path("curve.html").read_text()
    ranges.losses = []
    code, out, err = run(*LR, "out=none.html")
    assert code == 4 and "the first loss is not finite" in err and not Path("none.html").exists()


def test_the_largest_batch_and_the_fast_one(run: Callable[..., Result], memory: list[int], tmp_path: Path) -> None:
    code, out, err = run(*SIZE, "model=mlp", "data.batch_size=16")
    assert (code, err) == (0, "") and memory == [16, 32, 64, 128, 256, 192, 160, 144]
    assert "fits  144, the largest found; 160 does not: it took too much" in out
    assert [line for line in out.splitlines() if line.startswith("tfrun")] == [
        "tfrun model=mlp data.batch_size=144",
        "tfrun model=mlp data.batch_size=128",  # 128 / 3 is 96 % of 144 / 3.25
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_greatest_size_to_try(run: Callable[..., Result], memory: list[int]) -> None:
    code, out, _ = run(*SIZE, "max=100")
    assert code == 0 and memory == [32, 64, 100] and "100, the largest found; the greatest that was tried" in out


def test_no_size_fits(run: Callable[..., Result], memory: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "attempt", lambda compute, **_: Outcome(why_not="it took too much"))
    code, out, err = run(*SIZE, "data.batch_size=4")
    assert code == 5 and err == "tfrun: error: find batch_size: not even data.batch_size=1 fits: it took too much\n"
    assert out.count("too much") == 3


def test_an_interrupt_shows_what_is_known(
    run: Callable[..., Result], memory: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = tries.attempt

    def interrupted(compute: Callable[[], Any], **options: Any) -> Outcome:
        if len(memory) == 2:
            raise KeyboardInterrupt
        return attempt(compute, **options)

    monkeypatch.setattr(tries, "attempt", interrupted)
    code, out, err = run(*SIZE)
    assert (code, err) == (130, "tfrun: interrupted\n")
    assert [line.split()[0] for line in out.splitlines()] == ["batch", "32", "64"]


@pytest.mark.parametrize(
    ("text", "expected"), [("4GB", 4e9), ("512MiB", 2**29), ("1.5g", 1.5e9), ("300000000", 3e8), ("1 TB", 1e12)]
)
def test_sizes_of_memory(text: str, expected: float) -> None:
    assert find_batch_size.parse_bytes(text) == expected


def test_help_of_its_own(run: Callable[..., Result]) -> None:
    code, out, _ = run("find", "--help")
    assert code == 0 and "smoothing=0.9" in out and "memory=4GB" in out and "Groups:" not in out


def test_the_real_range_test_in_a_folder_that_cannot_be_written(warm_tfrun: Callable[..., Any], tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o555)
    try:
        done = warm_tfrun("find", "lr", "model=linear", "data=digits", "optimizer=sgd", "to=1e4")
    finally:
        os.chmod(tmp_path, 0o755)
    assert done.returncode == 0, done.stderr
    rate = float(done.stdout.splitlines()[-1].rpartition("optimizer.learning_rate=")[2])
    assert 1e-3 < rate < 100 and "learning rate" in done.stdout and list(tmp_path.iterdir()) == []


def test_the_real_search(warm_tfrun: Callable[..., Any], tmp_path: Path) -> None:
    done = warm_tfrun("find", "batch_size", "model=linear", "trainer.compile=graph", "data.batch_size=200")
    assert done.returncode == 0, done.stderr
    assert "fits  354, the largest found; all training rows" in done.stdout
    assert "tfrun model=linear trainer.compile=graph data.batch_size=354" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_real_mistake_in_a_try_is_one_line(warm_tfrun: Callable[..., Any]) -> None:
    done = warm_tfrun("find", "batch_size", "model=linear", "optimizer.groups.all.match=nothing")
    assert done.returncode == 2 and "matches no variable" in done.stderr and done.stderr.count("\n") == 1
