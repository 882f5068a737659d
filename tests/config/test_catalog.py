from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tfrun.config import catalog
from tfrun.config.catalog import NOT_LITERAL, Catalog, Param, load_catalog, read_module
from tfrun.config.plugins import Module
from tfrun.errors import ConfigError, TfrunError

SOURCE = '''
from typing import Annotated
import keras
from annotated_types import Gt
from tfrun import register
import tfrun

Positive = Annotated[float, Gt(0)]
SIZES = (4, 2)

class Base:
    task = "regression"
    higher: bool = False
    def __init__(self, delta: Positive = 1.0, name="base", *, sizes=SIZES, eps=keras.config.epsilon()):
        """Args:
            delta: the base's.
        """

@register.loss("first")
@keras.saving.register_keras_serializable("mine")
class First(Base):
    """Gives a loss.

    Args:
        delta: where it turns,
            in the target's unit.
        sizes (tuple): of layers.

    Raises:
        ValueError: never.
    """
    task = "classification"

if True:
    @tfrun.register.metric("second")
    def second(y_true, y_pred, factor: int, sample_weight=None, **kwargs):
        "A metric."
'''


def read(folder: Path, source: str, name: str = "mine") -> list[catalog.Component]:
    file = folder / f"{name}.py"
    file.write_text(source)
    return read_module(Module(name, file))


def test_reads_components_without_running_the_file(tmp_path: Path) -> None:
    first, second = read(tmp_path, SOURCE + "\nraise SystemExit\n")
    assert (first.kind, first.name, first.qualname, first.line) == ("loss", "first", "First", 21)
    assert first.summary == "Gives a loss."
    assert first.params == (
        Param("delta", "Annotated[float, Gt(0)]", 1.0, False, "where it turns, in the target's unit."),
        Param("sizes", None, (4, 2), False, "of layers."),
        Param("eps", None, NOT_LITERAL, False, ""),
    )
    assert first.attributes == {"task": "classification", "higher": False}
    assert first.defaults() == {"delta": 1.0, "sizes": (4, 2)}
    assert (second.kind, second.name) == ("metric", "second")
    assert second.params == (Param("factor", "int", None, True, ""),)
    assert second.defaults() == {"factor": "???"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = register.loss\nx = = 2", "mine.py:2: not valid Python: invalid syntax"),
        (
            "@register.los('a')\ndef f(): ...",
            "mine.py:1: unknown kind of component. Received: 'los'.*Did you mean 'loss'",
        ),
        ("@register.loss(NAME)\ndef f(): ...", "mine.py:1: the name must be a literal string"),
        ("@register.loss('a-b')\ndef f(): ...", "mine.py:1: a name has letters, digits and _ only. Received: 'a-b'"),
        (
            "@register.metric('a', higher_is_beter=True)\ndef f(): ...",
            "mine.py:1: unknown attribute of metric. Received: 'higher_is_beter'.*Did you mean 'higher_is_better'",
        ),
        (
            "@register.metric('a', higher_is_better=BEST)\ndef f(): ...",
            "mine.py:1: higher_is_better must be a literal",
        ),
        ("@register.optimizer('a', task='regression')\ndef f(): ...", "mine.py:1: unknown attribute of optimizer"),
    ],
)
def test_tells_what_is_wrong_with_a_file_and_where(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, source)


def test_attributes_are_in_the_class_or_in_the_decorator(tmp_path: Path) -> None:
    source = (
        "@register.metric('gain', higher_is_better=True)\ndef gain(y_true, y_pred): ...\n"
        "@register.metric('r2')\nclass R2:\n    higher_is_better = True\n"
        "@register.metric('mae')\ndef mae(y_true, y_pred): ...\n"
    )
    components = {component.name: component for component in read(tmp_path, source)}
    assert {name: own.declared("higher_is_better") for name, own in components.items()} == {
        "gain": True,
        "r2": True,
        "mae": None,  # says nothing
    }
    assert components["mae"].declared("task") is None
    with pytest.raises(KeyError):
        components["mae"].declared("tasks")


def test_a_metric_that_is_derived_from_one_of_keras_has_its_direction(tmp_path: Path) -> None:
    source = (
        "@register.metric('a')\nclass A(keras.metrics.AUC): ...\n"
        "class Base(tf.keras.metrics.MeanAbsoluteError): ...\n@register.metric('b')\nclass B(Base): ...\n"
        "@register.metric('c')\nclass C(AUC):\n    higher_is_better = False\n"
        "@register.metric('d')\nclass D(keras.metrics.Mean): ...\n"
        "@register.loss('e')\nclass E(keras.losses.Poisson): ...\n"
    )
    components = {component.name: component for component in read(tmp_path, source)}
    assert {name: components[name].declared("higher_is_better") for name in "abcd"} == {
        "a": True,
        "b": False,
        "c": False,
        "d": None,
    }
    assert components["e"].attributes == {}


def test_unknown_name_gives_the_near_miss_and_the_known_names(tmp_path: Path) -> None:
    known = Catalog(read(tmp_path, SOURCE))
    with pytest.raises(ConfigError) as error:
        known.get("loss", "frist", where="loss")
    assert str(error.value) == "loss: unknown loss. Received: 'frist'. Known: first. Did you mean 'first'?"
    with pytest.raises(ConfigError, match="Received: \\['first'\\]"):
        known.get("loss", ["first"], where="loss")


def test_same_name_twice_names_both_places(tmp_path: Path) -> None:
    line = "@register.loss('twin')\ndef twin(y_true, y_pred): ..."
    components = read(tmp_path, line, "one") + read(tmp_path, f"\n{line}", "two")
    with pytest.raises(ConfigError, match=r"loss=twin is registered twice: .*one\.py:2 and .*two\.py:3"):
        Catalog(components)


@pytest.mark.wheel
def test_own_components_are_there() -> None:
    own = load_catalog()
    assert {"huber", "mse"} <= set(own.names("loss"))
    huber = own.get("loss", "huber", where="loss")
    assert huber.module == "tfrun.components.losses.regression"
    assert huber.defaults() == {"delta": 1.0}
    assert own.get("model", "wide_deep", where="model").attributes["optimizer_groups"]["wide"]["match"] == "^wide/"
    assert "tensorflow" not in sys.modules or "keras" in sys.modules  # other tests may have imported both


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, undone afterwards: load() puts it onto sys.path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_finds_and_loads_a_plugin_of_the_current_folder(importable: Path) -> None:
    (importable / "my_plugin_a").mkdir()
    (importable / "my_plugin_a" / "losses.py").write_text(
        "from tfrun import register\n"
        "@register.loss('from_plugin_a', task='regression')\ndef mine(y_true, y_pred): return 5\n"
    )
    component = load_catalog(["my_plugin_a"]).get("loss", "from_plugin_a", where="loss")
    assert component.module == "my_plugin_a.losses"
    assert component.load()(None, None) == 5
    assert component.load().task == component.declared("task") == "regression"
    assert load_catalog(["my_plugin_a.losses"]).names("loss").count("from_plugin_a") == 1


def test_a_direction_that_is_not_in_the_source_is_refused(importable: Path) -> None:
    base = "class Score:\n    higher_is_better = True\nclass Loss:\n    higher_is_better = False\n"
    (importable / "plugin_base.py").write_text(base)
    head = "import keras; from plugin_base import Loss, Score; from tfrun import register\n\n"
    source = "@register.metric('inherited_score')\nclass Mine(Score): ...\n"
    silent = "@register.metric('silent_score')\nclass Silent(Loss): ...\n"  # a config must give its mode
    kept = "@register.metric('auc_of_keras')\nclass Auc(keras.metrics.AUC): ...\n"  # says it in no attribute
    named = "@register.metric('named_score', higher_is_better=True)\nclass Named(Score): ...\n"
    (importable / "plugin_scores.py").write_text(head + source + named + silent + kept)
    components = load_catalog(["plugin_scores"])
    assert components.get("metric", "named_score", where="metric").load().higher_is_better
    for name, declared in (("silent_score", None), ("auc_of_keras", True)):
        component = components.get("metric", name, where="metric")
        assert component.declared("higher_is_better") is declared and component.load()
    with pytest.raises(ConfigError, match=r"plugin_scores\.py:4: higher_is_better must be True or False in the class"):
        components.get("metric", "inherited_score", where="metric").load()


def test_missing_plugin_gives_the_near_miss(importable: Path) -> None:
    (importable / "my_losses.py").touch()
    with pytest.raises(
        ConfigError, match=r"no module named 'my_loses' .*Known here: my_losses\. Did you mean 'my_losses'"
    ):
        load_catalog(["my_loses"])


def test_the_components_that_ship_are_no_plugin(importable: Path) -> None:
    shipped = Path(catalog.__file__).resolve().parents[1] / "components"
    (importable / "components").symlink_to(shipped.resolve())
    with pytest.raises(ConfigError, match=r"plugins: the components in .*components are always there"):
        load_catalog(["components"])
    with pytest.raises(ConfigError, match="no module named 'componets' .*Known here: none"):
        load_catalog(["componets"])


@pytest.mark.parametrize(
    ("name", "fault", "kind", "message"),
    [
        ("plugin_value", "raise ValueError('broken')", ConfigError, "plugin_value.py:4: .*ValueError: broken"),
        (
            "plugin_import",
            "import no_such_module_x",
            ConfigError,
            "plugin_import.py:4: .*No module named 'no_such_module_x'",
        ),
        ("plugin_exit", "raise SystemExit(0)", TfrunError, r"plugin_exit.py:4: sys.exit\(0\)"),
    ],
)
def test_fault_while_importing_a_plugin(
    importable: Path, name: str, fault: str, kind: type[TfrunError], message: str
) -> None:
    head = f"from tfrun import register\n@register.loss('in_{name}')\ndef mine(y_true, y_pred): ...\n"
    (importable / f"{name}.py").write_text(head + fault)
    component = load_catalog([name]).get("loss", f"in_{name}", where="loss")
    with pytest.raises(kind, match=message) as error:
        component.load()
    assert error.value.__cause__ is not None
    assert error.value.exit_code == (2 if kind is ConfigError else 1)


def test_registration_that_does_not_happen_is_told(importable: Path) -> None:
    lines = "from tfrun import register\nif False:\n  @register.loss('never')\n  def mine(y_true, y_pred): ...\n"
    (importable / "plugin_never.py").write_text(lines)
    with pytest.raises(ConfigError, match=r"plugin_never\.py:4: importing plugin_never did not register loss=never"):
        load_catalog(["plugin_never"]).get("loss", "never", where="loss").load()
