"""The columns of TensorBoard's HParams table.

A run writes its row without knowing the other runs, and TensorBoard can neither sort nor filter a column that holds
values of two types. So the type of a column follows from the key, by what the config's rules allow there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tfrun.config.catalog import NOT_LITERAL, Catalog
from tfrun.config.settings import (
    COMPONENT_SECTIONS,
    LORA_KEYS,
    SHARED_KEYS,
    SPLIT_KEYS,
    WINDOW_KEYS,
    GroupSettings,
    config_keys,
    field_types,
)
from tfrun.config.types import column_kind

NESTED = {"data.split": SPLIT_KEYS, "data.window": WINDOW_KEYS, "model.lora": LORA_KEYS}
WORDS = "(text)"  # ends the name of the column with the words of a key that has numbers too


def columns(values: Mapping[str, Any], catalog: Catalog) -> dict[str, bool | float | str]:
    """Returns a run's row of the HParams table, in which each column has one type, whatever the other runs have.

    A key whose rule allows numbers is a column of numbers. There, null is left out, and a word such as `auto` is in a
    column of its own, `<key> (text)`. The same goes for keys of true and false. All other keys are columns of texts, in
    which a list is written as text and null is the word `null`. A key without a rule, of a plugin for example, is a
    column of numbers.

    Args:
        values: by config key, plain values.
        catalog: the components that exist.
    """
    result: dict[str, bool | float | str] = {}
    for key, value in values.items():
        kind = key_kind(key, catalog)
        if kind == "text":
            result[key] = _as_text(value)
        elif value is not None:
            result |= {key: value} if _kind_of(value) == kind else {f"{key} {WORDS}": _as_text(value)}
    return result


def key_kind(key: str, catalog: Catalog) -> str:
    """Returns the kind of a key's values, "number", "bool" or "text", by its rule; "number" without a rule."""
    if "." not in key and key not in config_keys():
        return "text"  # model=mlp names an option of a config group
    kinds = {column_kind(source, default) for source, default in _rules(key, catalog)}
    return next((kind for kind in ("number", "bool", "text") if kind in kinds), "number")


def _rules(key: str, catalog: Catalog) -> Iterator[tuple[str | None, Any]]:
    """Yields the annotations that a key may have, each with a default: those of all components with such a parameter.

    Which component it belongs to may differ from run to run.
    """
    section, _, name = key.partition(".")
    parent, _, last = key.rpartition(".")
    keys = NESTED.get(parent, {}) | (SHARED_KEYS["metric"] if section == "metric" else {})
    if source := config_keys().get(key) or keys.get(last):
        yield source, None
    elif section == "optimizer":
        in_group = name.split(".", 2)[-1] if name.startswith("groups.") else name
        if source := field_types(GroupSettings).get(in_group):
            yield ("str" if in_group == "schedule" else source), None
        else:
            yield from _parameters(
                "schedule" if in_group.startswith("schedule.") else "optimizer", last, catalog=catalog
            )
    elif section in (*COMPONENT_SECTIONS, "metric"):
        yield from _parameters(COMPONENT_SECTIONS.get(section, section), last, catalog=catalog)


def _parameters(kind: str, name: str, *, catalog: Catalog) -> Iterator[tuple[str | None, Any]]:
    for component in filter(None, (catalog.find(kind, each) for each in catalog.names(kind))):
        for param in component.params:
            if param.name == name:
                yield param.type, None if param.default is NOT_LITERAL else param.default


def _kind_of(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "text"


def _as_text(value: Any) -> str:
    """Returns a value as a person types it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
