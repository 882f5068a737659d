"""All config keys and registered names, in a file: changing one is a conscious diff.

After a wanted change: `python tests/config/test_config_keys.py > tests/config/config_keys.txt`.
"""

from __future__ import annotations

from pathlib import Path

from tfrun.config.catalog import load_catalog
from tfrun.config.compose import open_configs
from tfrun.config.registry import KINDS
from tfrun.config.settings import GROUP_KEYS, OPTIMIZER_KEYS, config_keys


def current() -> str:
    """Returns the snapshot: the keys with their types, each group's options, each component's parameters."""
    catalog = load_catalog()
    lines = [f"{key}: {annotation}" for key, annotation in config_keys().items()]
    lines += [f"optimizer.{key}" for key in OPTIMIZER_KEYS]
    lines += [f"optimizer.groups.*.{key}" for key in ("name", *OPTIMIZER_KEYS, *GROUP_KEYS)]
    with open_configs([]) as configs:
        lines += [f"{group}={option}" for group in configs.groups() for option in configs.options(group)]
    for kind in KINDS:
        for name in catalog.names(kind):
            params = catalog.get(kind, name, where=kind).params
            lines.append(f"{kind} {name}({', '.join(param.name for param in params)})")
    return "\n".join(lines) + "\n"


def test_keys_and_names_are_those_of_the_snapshot() -> None:
    assert current() == Path(__file__).with_name("config_keys.txt").read_text()


if __name__ == "__main__":
    print(current(), end="")
