from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Result = tuple[int, str, str]


def test_show_component_has_all_there_is_to_know(run: Callable[..., Result]) -> None:
    code, out, _ = run("show", "loss=huber")
    assert code == 0
    assert "regression.py:" in out
    assert "delta: Annotated[float, Gt(0)] = 1.0" in out
    assert "linear" in out  # from the docstring
    assert out.endswith("loss:\n  name: huber\n  delta: 1.0\n")


def test_show_file_and_schedule_and_groups(run: Callable[..., Result], root: Path) -> None:
    assert (root / "conf/trainer/default.yaml").read_text() in run("show", "trainer=default")[1]
    assert "optimizer:\n  schedule:\n    name: cosine\n" in run("show", "schedule=cosine")[1]
    assert "match: ^wide/" in run("show", "optimizer=for_wide_deep")[1]


def test_plugin_is_listed_and_shown(run: Callable[..., Result], tmp_path: Path) -> None:
    source = "@register.loss('mine')\ndef mine(y_true, y_pred, weight: float = 2.0):\n  'My own.'\n"
    (tmp_path / "own.py").write_text(f"raise SystemExit\n{source}")
    assert "  mine                             My own." in run("list", "loss", "plugins=own")[1]
    assert "own.py:3" in run("show", "loss=mine", "plugins=[own]")[1]
    code, out, _ = run("--cfg", "job", "plugins=[own]", "loss=mine", "-p", "loss")
    assert (code, out) == (0, "# @package loss\nname: mine\nweight: 2.0\n")


def test_a_name_alone_is_enough_if_one_group_has_it(run: Callable[..., Result]) -> None:
    assert run("show", "wide_deep") == run("show", "model=wide_deep")
    for word, message in (
        ("linear", "show: several groups have this name: model=linear or schedule=linear"),
        ("wide_deap", "Did you mean 'wide_deep'?"),
        ("loss", "show: needs GROUP=NAME. tfrun list loss has the names"),
    ):
        code, _, err = run("show", word)
        assert code == 2 and message in err
