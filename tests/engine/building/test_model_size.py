"""What a model and its optimizers need, counted by hand, before a variable has memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import keras
import pytest

from tfrun import cli, host_memory
from tfrun.config.catalog import load_catalog
from tfrun.config.settings import Settings
from tfrun.data.kinds import NumberColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.building import model_size
from tfrun.errors import ResourceError

NUMBERS = tuple(NumberColumn(f"x{k}", 0.0, 1.0, 0.0, (0.0,) * 9) for k in range(4))
FITTED = Preprocessing(columns=cast(Any, NUMBERS), targets={"output": FittedTarget("regression")})


class Dense(keras.Model):
    """A kernel of 4 x 1024 and a bias, 20 KiB."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(1024)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs["numbers"])


@pytest.fixture
def check(settings: Callable[..., Settings]) -> Callable[..., None]:
    """Checks the model above with the config of a command line."""

    def check(free_kib: float, *words: str, build: Callable[[], Any] = Dense, num_replicas: int = 1) -> None:
        chosen = settings("model=linear", *words)
        kib = 2**10 * free_kib
        model_size.check(
            kib, chosen, catalog=load_catalog(), preprocessing=FITTED, build=build, num_replicas=num_replicas
        )

    return check


@pytest.mark.parametrize(
    ("words", "copies"),
    [
        (["optimizer=sgd", "optimizer.momentum=0"], 2),  # the weights and the best ones
        (["optimizer=sgd", "optimizer.momentum=0.9"], 3),
        (["optimizer=adagrad"], 3),
        (["optimizer=ftrl"], 4),
        (["optimizer=adam"], 4),
        (["optimizer=adam", "optimizer.amsgrad=true"], 5),
        (["optimizer=adam", "trainer.ema_decay=0.9"], 5),
    ],
)
def test_the_sum_of_all_variables_is_what_counts(words: list[str], copies: int, check: Callable[..., None]) -> None:
    check(20 * copies, *words)
    with pytest.raises(ResourceError, match="the memory has no room for it"):
        check(20 * copies - 1, *words)
    check(2 * 20 * copies, *words, num_replicas=2)
    with pytest.raises(ResourceError):
        check(2 * 20 * copies - 1, *words, num_replicas=2)


def test_a_model_that_needs_values_or_a_memory_that_is_not_known_raises_nothing(check: Callable[..., None]) -> None:
    def fail() -> Any:
        raise ValueError("no values")

    check(0.0, build=fail)
    check(float("inf"), build=fail)


def test_names_in_the_thread_that_builds_stay(check: Callable[..., None]) -> None:
    keras.utils.clear_session()
    assert keras.layers.Dense(1).name == "dense"
    with pytest.raises(ResourceError):
        check(1.0)
    assert keras.layers.Dense(1).name == "dense_1"


def test_the_message_says_what_is_needed_and_what_makes_it_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"u{k % 7},{k},{k % 5}" for k in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["user,x,y", *rows]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(host_memory, "free_bytes", lambda: 2.0**34)
    words = ["data=csv", "data.path=rows.csv", "data.target=y", "data.text={user: {name: hash, bins: 1000000000}}"]
    assert cli.main([*words, "model=wide_deep", "model.crosses=[]", "trainer.max_epochs=1"]) == 5
    # 10^9 + 1 rows: one weight with the two variables of FTRL, eight with one of AdaGrad; 10^9 numbers are 3.725 GiB
    assert capsys.readouterr().err == (
        "tfrun: error: model: the memory has no room for it. Received: 104.3 GiB (33.5 GiB of weights, 37.3 GiB of "
        "optimizer variables, 33.5 GiB of best weights), and 16.0 GiB are free. The largest variable is "
        "deep/embeddings of the shape (1000000001, 8), 29.8 GiB. A smaller data.text.user.bins makes it smaller\n"
    )
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["rows.csv"]
