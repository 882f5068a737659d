"""Every config key and its type, and the check of a whole config before TensorFlow loads."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrun.config.catalog import NOT_LITERAL, Catalog, Component
from tfrun.config.keras_names import KERAS_NAMES, WITHOUT_PARAMETERS
from tfrun.config.types import check_value, map_references
from tfrun.errors import ConfigError, DataError, near_miss, unknown

# The keys that are not a component's parameters. Those under `data` stand beside the data set's own.
SCHEMA = {
    "name": "str",
    "seed": "Annotated[int, Ge(0), Le(4294967295)]",
    "tags": "list[str]",
    "plugins": "list[str]",
    "output_root": "str",
    "data.batch_size": "Annotated[int, Ge(1)]",
    "data.validation_split": "Annotated[float, Ge(0), Lt(1)]",
    "data.test_split": "Annotated[float, Ge(0), Lt(1)]",
    "data.split_seed": "Annotated[int, Ge(0), Le(4294967295)]",
    "data.target_scaling": "Literal['standard', 'none']",
    "data.residency": "Literal['auto', 'device', 'stream']",
    "data.limit_rows": "Annotated[int, Ge(1)] | None",
    "data.sample_weight": "str | None",
    "data.text": "dict[str, Any]",
    "trainer.max_epochs": "Annotated[int, Ge(1)] | None",
    "trainer.max_steps": "Annotated[int, Ge(1)] | None",
    "trainer.max_seconds": "Annotated[float, Gt(0)] | None",
    "trainer.compile": "Literal['auto', 'xla', 'graph', 'eager']",
    "trainer.microbatches": "Annotated[int, Ge(1)]",
    "trainer.ema_decay": "Annotated[float, Gt(0), Lt(1)] | None",
    "trainer.on_divergence": "Literal['stop', 'skip', 'rollback']",
    "trainer.threads": "Annotated[int, Ge(1)] | None",
    "trainer.precision": "Literal['float32', 'mixed_bfloat16', 'mixed_float16', 'float64']",
    "trainer.deterministic": "bool",
    "strategy.name": "Literal['auto', 'cpu', 'gpu', 'mirrored']",
    "strategy.devices": "list[str] | None",
    "strategy.logical_cpus": "Annotated[int, Ge(2)] | None",
    "checkpoint.every_epochs": "Annotated[int, Ge(1)] | None",
    "checkpoint.every_steps": "Annotated[int, Ge(1)] | None",
    "checkpoint.every_seconds": "Annotated[float, Gt(0)] | None",
    "checkpoint.keep": "Annotated[int, Ge(1)]",
    "checkpoint.monitor": "str",
    "checkpoint.mode": "Literal['min', 'max']",
    "logger.name": "Literal['tensorboard']",
    "logger.every_steps": "Annotated[int, Ge(1)] | None",
    "early_stopping.monitor": "str",
    "early_stopping.mode": "Literal['min', 'max']",
    "early_stopping.patience": "Annotated[int, Ge(0)]",
    "early_stopping.min_delta": "Annotated[float, Ge(0)]",
}
OPTIONAL = ("logger", "early_stopping")  # sections that may be null
COMPONENTS = {"data": "dataset", "model": "model", "loss": "loss", "algorithm": "algorithm"}  # section -> kind
SECTIONS = (*COMPONENTS, "metric", "optimizer", "trainer", "strategy", "checkpoint", *OPTIONAL)

GLOBAL_GROUPS = ("experiment", "hparams_search", "debug")  # in the order in which they overrule each other

OPTIMIZER_KEYS = ("learning_rate", "schedule", "clip_norm", "groups")  # beside a single optimizer's own
GROUP_KEYS = {
    "match": "str",
    "every": "Annotated[int, Ge(1)]",
    "from_epoch": "Annotated[int, Ge(0)]",
    "until_epoch": "Annotated[int, Ge(1)] | None",
    "frozen": "bool",
    "optional": "bool",
}
TEXT_ENCODINGS: dict[str, dict[str, tuple[str, int | None]]] = {  # name -> its parameters' types and defaults
    "vocabulary": {"max_ids": ("Annotated[int, Ge(1)] | None", None)},
    "hash": {"bins": ("Annotated[int, Ge(1)]", 1000)},
    "tokens": {"length": ("Annotated[int, Ge(1)]", 32), "max_ids": ("Annotated[int, Ge(1)] | None", 10000)},
}
SHARED_KEYS = ("learning_rate", "schedule", "clip_norm")  # at the top of `optimizer` they go to every group
SHORT_NAMES = {  # what people type -> the key
    "accumulate_grad_batches": "microbatches",
    "bs": "batch_size",
    "ema": "ema_decay",
    "epochs": "max_epochs",
    "gradient_accumulation_steps": "microbatches",
    "lr": "learning_rate",
    "steps": "max_steps",
}
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"


class MissingValueError(ConfigError):
    """A key that must be given is still `???`."""


def normalize(config: dict[str, Any], catalog: Catalog, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Checks a composed config and returns it as the engine takes it: defaults filled in, optimizers as groups.

    Args:
        config: plain containers, interpolations resolved.
        catalog: the components that there are.
        overrides: the command line's, for the mistakes that only it shows.

    Raises:
        ConfigError: a key, name, type or range is wrong.
        DataError: the data set's path does not exist.
    """
    known = [*(key for key in SCHEMA if "." not in key), *SECTIONS]
    for group in GLOBAL_GROUPS:
        if group in config:
            raise ConfigError(f"{group}: the first line of its YAML file must be '# @package _global_'")
    _refuse_unknown("", config, known)
    _refuse_chosen_by_name(overrides)
    _check_path(config.get("data"), catalog)  # before what is missing: a typo in the path is the likelier mistake
    _refuse_missing(config)
    result: dict[str, Any] = {}
    for key in known:
        if key not in config and key not in OPTIONAL:
            raise ConfigError(f"{key}: must be given")
        value = config.get(key)
        if key in SCHEMA:
            value = [value] if SCHEMA[key] == "list[str]" and isinstance(value, str) else value  # plugins=my_losses
            result[key] = check_value(SCHEMA[key], value, key)
        elif key in COMPONENTS:
            result[key] = _component(
                key, COMPONENTS[key], value, catalog, shared=_schema_values(key, value, _keys(key))
            )
            if key == "data":
                result[key]["text"] = _text_encodings(result[key]["text"])
        elif key == "metric":
            result[key] = _metrics(value, catalog)
        elif key == "optimizer":
            result[key] = _optimizer(value, catalog, overrides)
        else:
            result[key] = None if value is None and key in OPTIONAL else _plain_section(key, value)
    _check_together(result, catalog)
    return result


def component(kind: str, value: Any, catalog: Catalog) -> dict[str, Any]:
    """Checks a component that stands alone and returns its name and every parameter. Raises ConfigError."""
    return _component(kind, kind, value, catalog)


def _plain_section(section: str, value: Any) -> dict[str, Any]:
    keys = _keys(section)
    if section == "strategy" and isinstance(value, dict) and value.get("name") != "mirrored":
        keys = ["name"]
    _refuse_unknown(section, _mapping(section, value), keys)
    return _schema_values(section, value, keys)


def _schema_values(section: str, value: Any, keys: Sequence[str]) -> dict[str, Any]:
    value = _mapping(section, value)
    for key in keys:
        if key not in value:
            raise ConfigError(f"{section}.{key}: must be given")
    return {key: check_value(SCHEMA[f"{section}.{key}"], value[key], f"{section}.{key}") for key in keys}


def _component(
    where: str, kind: str, value: Any, catalog: Catalog, shared: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Returns {name, shared keys, every parameter of the component}, all checked."""
    shared = shared or {}
    value = _mapping(where, value)
    component = _named(where, kind, value, catalog)
    clash = shared.keys() & {param.name for param in component.params}
    if clash:
        raise ConfigError(
            f"{component.origin}: a {kind} can't have a parameter {min(clash)!r}; {where}.{min(clash)} is taken"
        )
    own = {key: item for key, item in value.items() if key not in shared and key != "name"}
    return {"name": component.name, **shared, **_parameters(where, component, own, catalog, also=["name", *shared])}


def _named(where: str, kind: str, value: dict[str, Any], catalog: Catalog) -> Component:
    if value.get("name") is None:
        raise ConfigError(f"{where}.name: must be given. Known: {', '.join(catalog.names(kind))}.")
    return catalog.get(kind, value["name"], f"{where}.name")


def _parameters(
    where: str, component: Component, value: dict[str, Any], catalog: Catalog, also: Iterable[str] = ()
) -> dict[str, Any]:
    _refuse_unknown(where, value, [*also, *(param.name for param in component.params)])
    result: dict[str, Any] = {}
    for param in component.params:
        path = f"{where}.{param.name}"
        if param.name in value:
            default = None if param.default is NOT_LITERAL else param.default
            result[param.name] = check_value(param.type, value[param.name], path, default)
            if value[param.name] is None and param.default is NOT_LITERAL:
                del result[param.name]
        elif param.required:
            raise MissingValueError(
                f"{path}: must be given: {param.doc or f'{component.kind}={component.name} needs it'}"
            )
        elif param.default is not NOT_LITERAL:
            result[param.name] = param.default
        if param.name in result:
            result[param.name] = map_references(
                param.type, result[param.name], path, lambda kind, item, place: _reference(kind, item, place, catalog)
            )
    return result


def _reference(kind: str, value: Any, where: str, catalog: Catalog) -> str | dict[str, Any]:
    """Returns what a parameter names: {name, every parameter} of a registered component, or a name of Keras' own.

    One of Keras' with parameters stays a mapping; Keras checks them.
    """
    given = {"name": value} if isinstance(value, str) else _mapping(where, value)
    name, keras_names = given.get("name"), KERAS_NAMES.get(kind, ())
    if name not in keras_names or catalog.find(kind, name):
        if name is None or not catalog.find(kind, name):
            raise unknown(where, kind, str(name), {*catalog.names(kind), *keras_names})
        return _component(where, kind, given, catalog)
    if len(given) > 1 and kind in WITHOUT_PARAMETERS:
        raise ConfigError(f"{where}: Keras' {name} takes no parameters. Received: {given}")
    return given if len(given) > 1 else name


def _text_encodings(columns: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns {text column: {name, every parameter}}."""
    result = {}
    for column, value in columns.items():
        where = f"data.text.{column}"
        given = {"name": value} if isinstance(value, str) else _mapping(where, value)
        name = given.get("name")
        if not isinstance(name, str) or name not in TEXT_ENCODINGS:
            raise unknown(where, "encoding", str(name), TEXT_ENCODINGS)
        params = TEXT_ENCODINGS[name]
        _refuse_unknown(where, given, ["name", *params])
        checked = {
            key: check_value(kind, given.get(key, default), f"{where}.{key}") for key, (kind, default) in params.items()
        }
        result[column] = {"name": name, **checked}
    return result


def _metrics(value: Any, catalog: Catalog) -> dict[str, dict[str, Any]]:
    metrics = _mapping("metric", value if value is not None else {})
    for key in metrics:
        _check_name(f"metric.{key}", key)
        if key == "loss":
            raise ConfigError("metric.loss: the name is taken by the loss itself, which is always reported")
        if not isinstance(metrics[key], dict):  # metric.dleta=2 with no such metric
            raise _unknown_key("metric", key, metrics)
    return {
        key: _component(f"metric.{key}", "metric", item, catalog, shared=_metric_output(f"metric.{key}", item))
        for key, item in metrics.items()
    }


def _metric_output(where: str, metric: Mapping[str, Any]) -> dict[str, Any]:
    """Returns which output of a model with several a metric is of; `output` is the main one."""
    return {"output": check_value("str", metric.get("output", "output"), f"{where}.output")}


def _optimizer(value: Any, catalog: Catalog, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns {"groups": {name: {match, name, learning_rate, schedule, clip_norm, every, frozen, params}}}."""
    value = _mapping("optimizer", value)
    groups = value.get("groups")
    shared = {key: value.get(key) for key in SHARED_KEYS}
    if value.get("name") is not None:
        if groups:
            raise ConfigError(
                f"optimizer: either one for everything or groups. Received: name {value['name']!r} and groups "
                f"{', '.join(groups)}. Drop the groups, or choose some with optimizer=for_<model>"
            )
        component = _named("optimizer", "optimizer", value, catalog)
        own = {key: item for key, item in value.items() if key not in ("schedule", "clip_norm", "groups", "name")}
        single = {
            **own,
            "match": ".*",
            "name": component.name,
            "schedule": shared["schedule"],
            "clip_norm": shared["clip_norm"],
        }
        _refuse_unknown("optimizer", own, ["name", *OPTIMIZER_KEYS, *(p.name for p in component.params)])
        return {"groups": {"all": _group("optimizer", single, {}, catalog)}}
    _refuse_unknown("optimizer", value, ["name", *OPTIMIZER_KEYS])
    if not groups:
        raise ConfigError(f"optimizer: needs a name or groups. Known: {', '.join(catalog.names('optimizer'))}.")
    groups = {
        name: own for name, own in _mapping("optimizer.groups", groups).items() if own is not None
    }  # null drops it
    _refuse_both(groups, overrides)
    for name, group in groups.items():
        _check_name(f"optimizer.groups.{name}", name)
        if isinstance(group, dict) and not _complete(group):
            whole = [other for other, item in groups.items() if isinstance(item, dict) and _complete(item)]
            raise ConfigError(
                f"optimizer.groups.{name}: a group needs match, and name or frozen. Received: {group}. "
                f"Known groups: {', '.join(whole) or 'none'}.{near_miss(name, whole)}"
            )
    checked = {name: _group(f"optimizer.groups.{name}", group, shared, catalog) for name, group in groups.items()}
    return {"groups": checked}


def _complete(group: dict[str, Any]) -> bool:
    return "match" in group and ("name" in group or group.get("frozen") is True)


def _refuse_both(groups: dict[str, Any], overrides: Sequence[str]) -> None:
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    for group in groups:
        for key in SHARED_KEYS:
            both = f"optimizer.{key}", f"optimizer.groups.{group}.{key}"
            if all(path in keys for path in both):
                raise ConfigError(f"{both[0]} goes to every group, so it can't be given together with {both[1]}")


def _group(where: str, value: Any, shared: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    given = {**_mapping(where, value), **{key: item for key, item in shared.items() if item is not None}}
    flags = {key: check_value("bool", given.get(key, False), f"{where}.{key}") for key in ("frozen", "optional")}
    frozen = flags["frozen"]
    match = check_value("str", given.get("match"), f"{where}.match")
    try:
        re.compile(match)
    except re.error as error:
        raise ConfigError(f"{where}.match: not a regular expression: {error}. Received: {match!r}") from error
    rate, params, name = None, {}, given.get("name")
    own = {key: item for key, item in given.items() if key not in (*GROUP_KEYS, "name", "schedule", "clip_norm")}
    if name is not None or not frozen:
        component = _named(where, "optimizer", given, catalog)
        also = ["name", "learning_rate", "schedule", "clip_norm", *GROUP_KEYS]
        if own.get("learning_rate", ...) is None:  # not set: the optimizer's own default
            del own["learning_rate"]
        params = _parameters(where, component, own, catalog, also=also)
        rate = params.pop("learning_rate", None)
    return {
        "match": match,
        "name": name,
        "learning_rate": rate,
        "schedule": _schedule(f"{where}.schedule", given.get("schedule"), catalog),
        "clip_norm": check_value("Annotated[float, Gt(0)] | None", given.get("clip_norm"), f"{where}.clip_norm"),
        "every": check_value(GROUP_KEYS["every"], given.get("every", 1), f"{where}.every"),
        **_stage(where, given),
        **flags,
        "params": params,
    }


def _stage(where: str, given: dict[str, Any]) -> dict[str, int | None]:
    begin, end = (
        check_value(GROUP_KEYS[key], given.get(key, default), f"{where}.{key}")
        for key, default in (("from_epoch", 0), ("until_epoch", None))
    )
    if end is not None and end <= begin:
        raise ConfigError(f"{where}.until_epoch: must be > from_epoch, {begin}. Received: {end}")
    return {"from_epoch": begin, "until_epoch": end}


def _schedule(where: str, value: Any, catalog: Catalog) -> dict[str, Any] | None:
    if value is None:
        return None
    return _component(where, "schedule", {"name": value} if isinstance(value, str) else value, catalog)


def _check_together(config: dict[str, Any], catalog: Catalog) -> None:
    """Checks what no key shows alone."""
    _check_name("name", config["name"])
    data, trainer = config["data"], config["trainer"]
    if data["validation_split"] + data["test_split"] >= 1:
        raise ConfigError(
            "data.validation_split + data.test_split: must be < 1, or nothing is left to train on. "
            f"Received: {data['validation_split']} + {data['test_split']}"
        )
    if trainer["max_epochs"] is None and trainer["max_steps"] is None and trainer["max_seconds"] is None:
        raise ConfigError(
            "trainer: one of max_epochs, max_steps and max_seconds must be set. Received: null for all three"
        )
    monitors = monitored_values(config)
    monitoring = {section: config[section] for section in ("checkpoint", "early_stopping")}
    monitoring |= {
        f"optimizer.groups.{name}.schedule": group["schedule"] for name, group in config["optimizer"]["groups"].items()
    }
    for where, own in monitoring.items():
        monitor = (own or {}).get("monitor", monitors[0])
        if monitor not in monitors:
            raise ConfigError(
                f"{where}.monitor: no such value. Received: {monitor!r}. Known: {', '.join(monitors)}."
                f"{near_miss(monitor, monitors)}"
            )
        has_rows = data["validation_split"] > 0 or where == "checkpoint"  # which then has nothing to compare
        if own and monitor.startswith("val/") and "monitor" in own and not has_rows:
            raise ConfigError(f"{where}.monitor: {monitor} needs validation rows. Received: data.validation_split=0")
    dataset = catalog.get("dataset", data["name"], "data.name")
    check_task(config, catalog, data.get("task") or dataset.attributes.get("task"))


def monitored_values(config: Mapping[str, Any]) -> list[str]:
    """Returns the names of the values that a run has of each epoch, `val/loss` first."""
    return [f"{split}/{value}" for split in ("val", "train") for value in ("loss", *config["metric"])]


def is_comparable(value: str, keys: Collection[str]) -> bool:
    """Returns whether a value that is monitored means the same in runs that differ in the given keys.

    The loss doesn't where losses differ: a smaller one only says that it counts in a smaller unit.
    """
    return not (value.endswith("/loss") and any(key.partition(".")[0] == "loss" for key in keys))


def check_task(config: Mapping[str, Any], catalog: Catalog, task: str | None) -> None:
    """Refuses a loss or a metric of the other task; the engine asks again when the data has told its task."""
    algorithm = catalog.get("algorithm", config["algorithm"]["name"], "algorithm.name")
    if algorithm.attributes.get("own_targets"):
        if config["metric"]:
            raise ConfigError(
                f"metric: algorithm={algorithm.name} doesn't learn the data's target, which metrics compare with. "
                f"Received: {', '.join(config['metric'])}. Use metric=none"
            )
        return
    used = {"loss": ("loss", config["loss"]["name"])}
    used |= {
        f"metric.{key}": ("metric", metric["name"])
        for key, metric in config["metric"].items()
        if metric["output"] == "output"  # of the others only the model tells
    }
    for where, (kind, name) in used.items():
        theirs = catalog.get(kind, name, where).attributes.get("task")
        if task in ("regression", "classification") and theirs not in (None, task):
            fitting = [
                other for other in catalog.names(kind) if catalog.get(kind, other, where).attributes.get("task") == task
            ]
            raise ConfigError(
                f"{where}: {name} is for {theirs}, and the target of data={config['data']['name']} is for {task}. "
                f"Known {kind} for {task}: {', '.join(fitting)}; metric={task} sets fitting metrics"
            )


def _check_path(data: Any, catalog: Catalog) -> None:
    """Looks whether the data is there, so that a typo is told at once; the data set itself says everything else."""
    dataset = catalog.find("dataset", data.get("name")) if isinstance(data, dict) else None
    for param in dataset.params if dataset else ():
        if param.name == "path" and "str" in (param.type or "") and data.get("path") not in (None, "???"):
            check_value(param.type, data["path"], "data.path")
            path = Path(data["path"]).expanduser()
            if not path.exists():
                folder = path.parent
                there = sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []
                close = difflib.get_close_matches(path.name, there, n=1)
                hint = f" Did you mean '{folder / close[0]}'?" if close else ""
                raise DataError(f"data.path: no such file. Received: {data['path']!r}, in {folder.resolve()}.{hint}")


def _check_name(where: str, name: Any) -> None:
    if not (isinstance(name, str) and re.fullmatch(NAME, name)):
        raise ConfigError(
            f"{where}: a name has 1 to 100 letters, digits and ._- and can't start with . or -. Received: {name!r}"
        )


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping with the keys under it. Received: {value!r}")
    return value


def _keys(section: str) -> list[str]:
    return [key.partition(".")[2] for key in SCHEMA if key.startswith(f"{section}.")]


def _refuse_chosen_by_name(overrides: Sequence[str]) -> None:
    for override in overrides:
        key, _, name = override.lstrip("+").partition("=")
        section, _, last = key.partition(".")
        if last == "name" and section in (*COMPONENTS, "optimizer"):
            raise ConfigError(f"{key}: choose it with {section}={name}, so that its parameters come with it")


def _refuse_missing(config: dict[str, Any]) -> None:
    missing = [path for path, value in flatten(config) if value == "???"]
    if missing:
        paths = ", ".join(missing)
        raise MissingValueError(f"{paths}: must be given, for example {missing[0]}=<value>")


def flatten(config: Any, where: str = "") -> list[tuple[str, Any]]:
    """Returns a nested mapping's leaves as (dotted path, value)."""
    if not isinstance(config, dict) or not config:
        return [(where, config)]
    return [leaf for key, value in config.items() for leaf in flatten(value, f"{where}.{key}" if where else str(key))]


def _refuse_unknown(where: str, value: dict[str, Any], known: Iterable[str]) -> None:
    known = list(known)
    for key in value:
        if key not in known:
            raise _unknown_key(where, key, known)


def _unknown_key(where: str, key: Any, known: Iterable[str]) -> ConfigError:
    """The error for a key that isn't there, with the near miss at its place or, failing that, anywhere else."""
    prefix = f"{where}." if where else ""
    here = {name: f"{prefix}{name}" for name in known}
    others = ["optimizer.learning_rate", "optimizer.clip_norm", *SCHEMA]
    elsewhere = {path.rpartition(".")[2]: path for path in others if path != f"{prefix}{key}"}
    hint = ""
    for places, cutoff in ((here, 0.6), (elsewhere, 0.75)):
        close = difflib.get_close_matches(SHORT_NAMES.get(key, str(key)), list(places), n=1, cutoff=cutoff)
        if close:
            hint = f" Did you mean '{places[close[0]]}'?"
            break
    return ConfigError(f"{prefix}{key}: unknown key. Known: {', '.join(sorted(here.values()))}.{hint}")
