from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError

from tfrun.config.catalog import Catalog, Component, Param
from tfrun.config.catalog_source import catalog_options, catalog_source

GROUPS = {"wide": {"match": "^wide/", "name": "ftrl", "optional": True}}


def component(kind: str, name: str, *params: Param, **attributes: object) -> Component:
    return Component(kind, name, "own", name, Path("own.py"), 1, params, "", dict(attributes))


@pytest.fixture
def catalog() -> Catalog:
    rate = Param("learning_rate", "float", 0.01, required=False, doc="")
    units = Param("units", "int", None, required=True, doc="")
    return Catalog(
        [
            component("loss", "huber"),
            component("metric", "mae"),
            component("optimizer", "adam", rate),
            component("model", "deep", units),
            component("model", "wide_deep", optimizer_groups=GROUPS),
            component("layer", "dense"),
        ]
    )


def test_each_component_is_an_option_with_its_defaults(catalog: Catalog) -> None:
    options = catalog_options(catalog, [])
    assert options["loss/huber"] == {"name": "huber"}
    assert options["metric/mae"] == {"mae": {"name": "mae"}}
    assert options["model/deep"] == {"name": "deep", "units": "???"}
    assert options["optimizer/adam"] == {
        "name": "adam", "learning_rate": 0.01, "schedule": None, "clip_norm": None, "rows": None,
        "groups": None,
    }  # fmt: skip
    assert "layer/dense" not in options  # it is no group


def test_each_model_has_its_optimizer_groups(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "small.yaml").write_text("name: wide_deep\n")
    options = catalog_options(catalog, [tmp_path])
    filled = {
        "schedule": None,
        "clip_norm": None,
        "every": 1,
        "from_epoch": 0,
        "until_epoch": None,
        "frozen": False,
        "rows": "auto",
        "statistics": "auto",
        "layer_decay": None,
    }
    assert options["optimizer/for_wide_deep"] == {
        "learning_rate": None, "schedule": None, "clip_norm": None, "rows": None,
        "groups": {"wide": {**GROUPS["wide"], **filled}},
    }  # fmt: skip
    assert options["optimizer/for_small"] == options["optimizer/for_wide_deep"]
    assert list(options["optimizer/for_deep"]["groups"]) == ["all"]


def test_a_source_offers_options_that_are_filled_in_later(catalog: Catalog) -> None:
    options: dict[str, dict[str, object]] = {}
    source = catalog_source(options)("tfrun", "catalog://")
    assert source.list("loss", ObjectType.CONFIG) == []
    options.update(catalog_options(catalog, []))
    assert source.list("loss", ObjectType.CONFIG) == ["huber"]
    assert source.list("loss", ObjectType.GROUP) == source.list("", ObjectType.CONFIG) == []
    assert "optimizer" in source.list("", ObjectType.GROUP)
    assert source.is_group("loss") and not source.is_group("layer")
    assert source.is_config("loss/huber.yaml") and not source.is_config("loss/hubber")
    assert source.load_config("loss/huber.yaml").config == {"name": "huber"}
    with pytest.raises(ConfigLoadError, match="no component for loss/hubber"):
        source.load_config("loss/hubber")
