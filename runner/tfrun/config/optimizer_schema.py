"""Checks the `optimizer` section: one optimizer for every variable, or groups of variables with one each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.component_schema import component, named_component, parameters
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.keys import check_name, check_pattern, refuse_unknown, require_mapping
from tfrun.config.settings import GROUP_KEYS, OPTIMIZER_KEYS, GroupSettings, field_types
from tfrun.config.types import check_value
from tfrun.errors import ConfigError, near_miss

ONE_GROUP = "all"  # the name of the group that a single optimizer becomes
MIN_FLOAT32, MAX_FLOAT32 = 1.1754943508222875e-38, 3.4028234663852886e38  # rates are float32 at any precision


def optimizer_groups(value: Any, catalog: Catalog, *, overrides: Sequence[str]) -> dict[str, GroupSettings]:
    """Returns the optimizer groups by name; a single optimizer is one group for every variable.

    Args:
        value: the config's `optimizer`.
        catalog: the components that exist.
        overrides: the command line's, for the mistakes that only it shows.

    Raises:
        ConfigError: a key, name, type or range is wrong, or a key is set both for every group and for one.
    """
    value = require_mapping("optimizer", value)
    groups = value.get("groups")
    shared = {key: value.get(key) for key in OPTIMIZER_KEYS}
    if value.get("name") is not None:
        if groups:
            raise ConfigError(
                f"optimizer: either one for everything or groups. Received: name {value['name']!r} and groups "
                f"{', '.join(groups)}. Drop the groups, or choose some with optimizer=for_<model>"
            )
        return {ONE_GROUP: _single(value, catalog)}
    refuse_unknown("optimizer", value, known=["name", *OPTIMIZER_KEYS, "groups"])
    if not groups:
        raise ConfigError(f"optimizer: needs a name or groups. Known: {', '.join(catalog.names('optimizer'))}.")
    # null drops a group
    groups = {name: group for name, group in require_mapping("optimizer.groups", groups).items() if group is not None}
    _refuse_shared_and_single(groups, overrides)
    for name, group in groups.items():
        check_name(f"optimizer.groups.{name}", name)
        if isinstance(group, dict) and not _is_complete(group):
            whole = [other for other, item in groups.items() if isinstance(item, dict) and _is_complete(item)]
            raise ConfigError(
                f"optimizer.groups.{name}: a group needs match, and name or frozen. Received: {group}. "
                f"Known groups: {', '.join(whole) or 'none'}.{near_miss(name, whole)}"
            )
    return {
        name: _group(f"optimizer.groups.{name}", group, shared=shared, catalog=catalog)
        for name, group in groups.items()
    }


def _single(value: dict[str, Any], catalog: Catalog) -> GroupSettings:
    """Returns the group of a single optimizer, which matches every variable."""
    chosen = named_component("optimizer", "optimizer", value=value, catalog=catalog)
    rest = {key: item for key, item in value.items() if key not in ("schedule", "clip_norm", "rows", "groups", "name")}
    group = {
        **rest,
        "match": ".*",
        "name": chosen.name,
        "schedule": value.get("schedule"),
        "clip_norm": value.get("clip_norm"),
        "rows": value.get("rows"),
    }
    known = ["name", *OPTIMIZER_KEYS, "groups", *(param.name for param in chosen.params)]
    refuse_unknown("optimizer", rest, known=known)
    return _group("optimizer", group, shared={}, catalog=catalog)


def _is_complete(group: dict[str, Any]) -> bool:
    return "match" in group and ("name" in group or group.get("frozen") is True)


def _refuse_shared_and_single(groups: dict[str, Any], overrides: Sequence[str]) -> None:
    """Raises ConfigError if the command line sets a key for every group and for one of them."""
    keys = [override.partition("=")[0].lstrip("+~") for override in overrides]
    for group in groups:
        for key in OPTIMIZER_KEYS:
            both = f"optimizer.{key}", f"optimizer.groups.{group}.{key}"
            if all(path in keys for path in both):
                raise ConfigError(f"{both[0]} goes to every group, so it can't be given together with {both[1]}")


def _group(where: str, value: Any, *, shared: dict[str, Any], catalog: Catalog) -> GroupSettings:
    given = {**require_mapping(where, value), **{key: item for key, item in shared.items() if item is not None}}
    frozen, optional = (
        check_value("bool", given.get(key, False), where=f"{where}.{key}") for key in ("frozen", "optional")
    )
    match = check_value("str", given.get("match"), where=f"{where}.match")
    check_pattern(f"{where}.match", match)
    rate: float | None = None
    params: dict[str, Any] = {}
    if given.get("name") is not None or not frozen:
        params = _optimizer_parameters(where, given, catalog=catalog)
        rate = _checked_rate(f"{where}.learning_rate", params.pop("learning_rate", None))
    from_epoch, until_epoch = _epochs(where, given)
    return GroupSettings(
        match=match,
        name=given.get("name"),
        learning_rate=rate,
        schedule=_schedule(f"{where}.schedule", given.get("schedule"), catalog=catalog),
        clip_norm=check_value(
            field_types(GroupSettings)["clip_norm"], given.get("clip_norm"), where=f"{where}.clip_norm"
        ),
        every=check_value(GROUP_KEYS["every"], given.get("every", 1), where=f"{where}.every"),
        from_epoch=from_epoch,
        until_epoch=until_epoch,
        frozen=frozen,
        optional=optional,
        params=params,
        rows=check_value(field_types(GroupSettings)["rows"], given.get("rows") or "auto", where=f"{where}.rows"),
        statistics=check_value(
            GROUP_KEYS["statistics"], given.get("statistics") or "auto", where=f"{where}.statistics"
        ),
        layer_decay=_layer_decay(where, given),
        where=where,
    )


def _layer_decay(where: str, given: dict[str, Any]) -> Any:
    decay = check_value(GROUP_KEYS["layer_decay"], given.get("layer_decay"), where=f"{where}.layer_decay")
    if decay is not None and given.get("name") == "ftrl":
        raise ConfigError(
            f"{where}.layer_decay: ftrl's updates aren't proportional to its rate. Choose another optimizer"
        )
    return decay


def _checked_rate(where: str, rate: Any) -> Any:
    """Returns a learning rate. Raises ConfigError if float32 would make it infinite, or 0, so that nothing trains."""
    if isinstance(rate, float) and rate and not MIN_FLOAT32 <= abs(rate) <= MAX_FLOAT32:
        raise ConfigError(f"{where}: must be from 1.2e-38 to 3.4e+38, as float32 is. Received: {rate}")
    return rate


def _optimizer_parameters(where: str, given: dict[str, Any], *, catalog: Catalog) -> dict[str, Any]:
    chosen = named_component(where, "optimizer", value=given, catalog=catalog)
    rest = {
        key: item for key, item in given.items() if key not in (*GROUP_KEYS, "name", "schedule", "clip_norm", "rows")
    }
    if rest.get("learning_rate", ...) is None:  # not set: the optimizer's own default
        del rest["learning_rate"]
    also = ["name", *OPTIMIZER_KEYS, *GROUP_KEYS]
    return parameters(where, chosen, value=rest, catalog=catalog, also=also)


def _epochs(where: str, given: dict[str, Any]) -> tuple[int, int | None]:
    """Returns the epochs between which a group is updated."""
    begin, end = (
        check_value(GROUP_KEYS[key], given.get(key, default), where=f"{where}.{key}")
        for key, default in (("from_epoch", 0), ("until_epoch", None))
    )
    if end is not None and end <= begin:
        raise ConfigError(f"{where}.until_epoch: must be > from_epoch, {begin}. Received: {end}")
    return begin, end


def _schedule(where: str, value: Any, *, catalog: Catalog) -> ComponentSettings | None:
    if value is None:
        return None
    return component(where, "schedule", value={"name": value} if isinstance(value, str) else value, catalog=catalog)
