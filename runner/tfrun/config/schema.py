"""Checks a composed config, before TensorFlow loads, and returns it as `Settings`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfrun.config import automatic
from tfrun.config.automatic import AUTO
from tfrun.config.catalog import Catalog
from tfrun.config.class_weight import class_weight
from tfrun.config.column_kinds import COLUMN_KINDS, check_kind
from tfrun.config.component_schema import component
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.cross_checks import check_together, known_task
from tfrun.config.data_paths import check_paths
from tfrun.config.data_settings import TEXT_ENCODINGS, AugmentationSettings, DataSettings, SplitSettings, WindowSettings
from tfrun.config.directions import require_mode, with_mode
from tfrun.config.init_schema import init_settings
from tfrun.config.keys import (
    check_name,
    check_pattern,
    refuse_missing,
    refuse_other_encodings,
    refuse_unknown,
    require_mapping,
)
from tfrun.config.optimizer_schema import optimizer_groups
from tfrun.config.settings import (
    COMPONENT_SECTIONS,
    GLOBAL_GROUPS,
    LORA_KEYS,
    OPTIONAL_KEYS,
    OPTIONAL_SECTIONS,
    PLAIN_SECTIONS,
    PROVENANCE_KEYS,
    SECTIONS,
    SHARED_KEYS,
    SPLIT_KEYS,
    STRATEGY_KEYS,
    TOP_LEVEL_KEYS,
    WINDOW_KEYS,
    CheckpointSettings,
    EarlyStoppingSettings,
    LoraSettings,
    MetricSettings,
    ModelSettings,
    ProvenanceSettings,
    Settings,
    TrainerSection,
    TrainerSettings,
    field_types,
)
from tfrun.config.types import check_value
from tfrun.errors import ConfigError, near_miss, unknown
from tfrun.protocols import MAIN_OUTPUT


def build_settings(
    config: dict[str, Any],
    catalog: Catalog,
    *,
    overrides: Sequence[str] = (),
    reads_data: bool = True,
    begins: bool = False,
) -> Settings:
    """Checks a composed config and returns it as settings: defaults filled in, optimizers as groups.

    Args:
        config: plain containers, interpolations resolved.
        catalog: the components that exist.
        overrides: the command line's, for the mistakes that only it shows.
        reads_data: whether the data set will be read, so that its file has to be there.
        begins: whether a run begins, so that the source of its first weights has to be there.

    Raises:
        ConfigError: a key, name, type or range is wrong.
        DataError: the data set's path does not exist.
    """
    known = [*TOP_LEVEL_KEYS, *SECTIONS]
    for group in GLOBAL_GROUPS:
        if group in config:
            raise ConfigError(f"{group}: the first line of its YAML file must be '# @package _global_'")
    refuse_unknown("", config, known=[*known, "init", "provenance"])
    _refuse_chosen_by_name(overrides)
    if reads_data:
        check_paths(config.get("data"), catalog)  # before missing values: a typo in the path is the likelier mistake
    refuse_missing(config)
    refuse_other_encodings(config)
    fields: dict[str, Any] = {}
    for key in known:
        if key not in config and key not in OPTIONAL_KEYS:
            raise ConfigError(f"{key}: must be given")
        value = config.get(key)
        if key in TOP_LEVEL_KEYS:
            fields[key] = _top_level(key, value)
        elif key == "data":
            fields[key] = _data(value, catalog)
        elif key == "model":
            fields[key] = model_settings(value, catalog)
        elif key == "loss" and automatic.is_auto_loss(value):
            fields[key] = automatic.ANY_LOSS
        elif key in COMPONENT_SECTIONS:
            fields[key] = component(key, COMPONENT_SECTIONS[key], value=value, catalog=catalog)
        elif key == "metric":
            fields[key] = _metrics(value, catalog, task=known_task(fields["data"], catalog))
        elif key == "optimizer":
            fields["groups"] = optimizer_groups(value, catalog, overrides=overrides)
        else:
            _refuse_keys_of_null(key, value, overrides=overrides)
            fields[key] = None if value is None and key in OPTIONAL_SECTIONS else _plain_section(key, value)
    fields["init"] = init_settings(config.get("init"), begins=begins)
    fields["provenance"] = provenance_settings(config.get("provenance", {}))
    settings = Settings(**fields | _modes(fields, catalog) | {"trainer": _trainer(fields["trainer"])})
    check_together(settings, catalog, metrics_are_known=AUTO not in (config.get("metric") or {}))
    return settings


def model_settings(value: Any, catalog: Catalog) -> ModelSettings:
    """Returns the config's `model`, checked. Raises ConfigError."""
    lora = require_mapping("model", value).get("lora")
    model = component("model", "model", value=value, catalog=catalog, shared={"lora": lora})
    return ModelSettings(model.name, model.params, _lora(lora))


def _lora(value: Any) -> LoraSettings | None:
    if value is None:
        return None
    refuse_unknown("model.lora", require_mapping("model.lora", value), known=LORA_KEYS)
    if "rank" not in value:
        raise ConfigError(f"model.lora.rank: must be given, for example 'model.lora={{rank: 8}}'. Received: {value}")
    lora = LoraSettings(
        **{key: check_value(LORA_KEYS[key], item, where=f"model.lora.{key}") for key, item in value.items()}
    )
    check_pattern("model.lora.match", lora.match)
    return lora


def component_alone(kind: str, value: Any, *, catalog: Catalog) -> ComponentSettings:
    """Returns a component that no config section names, checked. Raises ConfigError."""
    return component(kind, kind, value=value, catalog=catalog)


def _top_level(key: str, value: Any) -> Any:
    annotation = TOP_LEVEL_KEYS[key]
    is_single = annotation == "list[str]" and isinstance(value, str)  # plugins=my_losses
    return check_value(annotation, [value] if is_single else value, where=key)


def _refuse_keys_of_null(section: str, value: Any, *, overrides: Sequence[str]) -> None:
    """Raises ConfigError for `logger=null logger.graph=true`, which would leave no other key than the second one."""
    words = [word for word in overrides if word.lstrip("+").startswith(f"{section}.")]
    if f"{section}=null" in overrides and words and not set(field_types(PLAIN_SECTIONS[section])) <= set(value or ()):
        raise ConfigError(f"{section}: null has no keys. Received: {section}=null {words[0]}")


def _plain_section(section: str, value: Any) -> Any:
    keys = field_types(PLAIN_SECTIONS[section])
    if section == "strategy" and isinstance(value, dict):
        keys = {key: keys[key] for key in ("name", *STRATEGY_KEYS.get(str(value.get("name")), ()))}
    refuse_unknown(section, require_mapping(section, value), known=keys)
    return PLAIN_SECTIONS[section](**_checked(section, value, keys=keys))


def provenance_settings(value: Any) -> ProvenanceSettings:
    """Returns the section `provenance` as settings; keys that an older config lacks have their defaults.

    Raises:
        ConfigError: a key or a type is wrong.
    """
    refuse_unknown("provenance", require_mapping("provenance", value), known=PROVENANCE_KEYS)
    keys = {key: text for key, text in PROVENANCE_KEYS.items() if key in value}
    return ProvenanceSettings(**_checked("provenance", value, keys=keys))


def _trainer(section: TrainerSection) -> TrainerSettings:
    """Returns the section as settings; one of its limits must be set.

    Raises:
        ConfigError: none is.
    """
    if section.max_epochs is None and section.max_steps is None and section.max_seconds is None:
        raise ConfigError(
            "trainer: one of max_epochs, max_steps and max_seconds must be set. Received: null for all three"
        )
    is_auto = section.max_epochs == AUTO
    return TrainerSettings(**vars(section) | {"max_epochs": None if is_auto else section.max_epochs})


def _modes(fields: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Returns the fields in which a `mode` that is null becomes that of the monitored metric."""
    metrics = fields["metric"]
    resolved: dict[str, Any] = {
        "groups": {
            name: with_mode(f"optimizer.groups.{name}.schedule", group, metrics=metrics, catalog=catalog)
            for name, group in fields["groups"].items()
        }
    }
    for key, kind in (("checkpoint", CheckpointSettings), ("early_stopping", EarlyStoppingSettings)):
        section = fields[key]
        if section is not None:
            given, where = section.mode, f"{key}.mode"
            mode = require_mode(where, section.monitor, given=given, metrics=metrics, catalog=catalog)
            resolved[key] = kind(**vars(section) | {"mode": mode})
    return resolved


def _checked(section: str, value: Any, *, keys: Mapping[str, str]) -> dict[str, Any]:
    """Returns the values of a section's keys, each checked against its annotation."""
    value = require_mapping(section, value)
    for key in keys:
        if key not in value:
            raise ConfigError(f"{section}.{key}: must be given")
    return {key: check_value(text, value[key], where=f"{section}.{key}") for key, text in keys.items()}


def _data(value: Any, catalog: Catalog) -> DataSettings:
    shared = _checked("data", value, keys=SHARED_KEYS["data"])
    dataset = component("data", "dataset", value=value, catalog=catalog, shared=shared)
    text = {
        column: _of_column(f"data.text.{column}", value, what="encoding", known=TEXT_ENCODINGS)
        for column, value in shared["text"].items()
    }
    kinds = {
        column: _of_column(f"data.kinds.{column}", value, what="kind", known=COLUMN_KINDS)
        for column, value in shared["kinds"].items()
    }
    augment = [_augmentation(f"data.augment.{k}", item, catalog) for k, item in enumerate(shared["augment"])]
    shared |= {"text": text, "kinds": kinds, "split": _split(shared["split"]), "augment": augment}
    shared["window"] = _window(shared["window"])
    shared["class_weight"] = class_weight(shared["class_weight"])
    data = DataSettings(dataset.name, dataset.params, **shared)
    for column, encoding in text.items():
        check_kind(f"data.text.{column}", encoding.kind)
    for column, kind in kinds.items():
        check_kind(f"data.kinds.{column}", kind)
        for key, columns in (("data.text", data.text), ("data.text_columns", data.text_columns)):
            if column in columns:
                raise ConfigError(f"data.kinds.{column}: {key} names the column too. Received: {kind.name!r}")
    return data


def _split(value: Any) -> SplitSettings:
    """Returns the rule that splits the rows."""
    if isinstance(value, str):
        raise ConfigError(
            f"data.split: must be a mapping with the keys under it: data.split.by={value}. Received: {value!r}"
        )
    refuse_unknown("data.split", require_mapping("data.split", value), known=SPLIT_KEYS)
    if "by" not in value:
        raise ConfigError(
            f"data.split.by: must be given, for example data.split.by=group. Received: data.split={value}"
        )
    return SplitSettings(**_checked("data.split", value, keys=SPLIT_KEYS))


def _window(value: Any) -> WindowSettings | None:
    """Returns the windows of a series that `data.window` describes, or None if the examples are single rows."""
    if value is None:
        return None
    refuse_unknown("data.window", require_mapping("data.window", value), known=WINDOW_KEYS)
    for key in ("length", "horizon"):
        if key not in value:
            raise ConfigError(
                f"data.window.{key}: must be given, for example 'data.window={{length: 48, horizon: 12}}'. "
                f"Received: {value}"
            )
    keys = {key: check_value(WINDOW_KEYS[key], item, where=f"data.window.{key}") for key, item in value.items()}
    if keys.get("by") is not None and keys["by"] == keys.get("time"):
        raise ConfigError(f"data.window: by and time must be two columns. Received: {keys['by']!r}")
    return WindowSettings(**keys)


def _of_column(where: str, value: Any, *, what: str, known: Mapping[str, Any]) -> Any:
    """Returns what a config says of a column: one of the classes that are known, with its parameters."""
    given = {"name": value} if isinstance(value, str) else require_mapping(where, value)
    name = given.get("name")
    if not isinstance(name, str) or name not in known:
        raise unknown(where, what, name=str(name), known=known)
    chosen = known[name]
    keys = field_types(chosen)
    refuse_unknown(where, given, known=["name", *keys])
    for field in dataclasses.fields(chosen):
        if field.default is dataclasses.MISSING and field.name not in given:
            raise ConfigError(f"{where}.{field.name}: must be given for the {what} {name!r}")
    return chosen(
        **{key: check_value(text, given[key], where=f"{where}.{key}") for key, text in keys.items() if key in given}
    )


def _augmentation(where: str, value: Any, catalog: Catalog) -> AugmentationSettings:
    given = {"name": value} if isinstance(value, str) else require_mapping(where, value)
    keys = SHARED_KEYS["augment"]
    shared = {key: check_value(text, given.get(key), where=f"{where}.{key}") for key, text in keys.items()}
    chosen = component(where, "augmentation", value=given, catalog=catalog, shared=shared)
    return AugmentationSettings(chosen.name, chosen.params, **shared)


def _metrics(value: Any, catalog: Catalog, *, task: str | None) -> dict[str, MetricSettings]:
    metrics = automatic.with_all_metrics(require_mapping("metric", value if value is not None else {}), task)
    for key in metrics:
        check_name(f"metric.{key}", key)
        if key == "loss":
            raise ConfigError("metric.loss: the name is taken by the loss itself, which is always reported")
        if not isinstance(metrics[key], dict):
            others = [other for other in metrics if other != key]
            raise ConfigError(
                f"metric.{key}: a metric is a mapping with a name, as +metric.{key}={{name: mae}}, or a name in "
                f"metric=[mae]. Received: {metrics[key]!r}. Known: {', '.join(others) or 'none'}."
                f"{near_miss(key, others)}"
            )
    return {key: _metric(f"metric.{key}", item, catalog=catalog) for key, item in metrics.items()}


def _metric(where: str, value: dict[str, Any], *, catalog: Catalog) -> MetricSettings:
    output = check_value("str", value.get("output", MAIN_OUTPUT), where=f"{where}.output")
    metric = component(where, "metric", value=value, catalog=catalog, shared={"output": output})
    return MetricSettings(metric.name, metric.params, output)


def _refuse_chosen_by_name(overrides: Sequence[str]) -> None:
    """Raises ConfigError for `model.name=mlp`, which would leave the parameters of another model."""
    for override in overrides:
        key, _, name = override.lstrip("+").partition("=")
        section, _, last = key.partition(".")
        if last == "name" and section in (*COMPONENT_SECTIONS, "optimizer"):
            raise ConfigError(f"{key}: choose it with {section}={name}, so that its parameters come with it")
