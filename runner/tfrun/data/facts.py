"""What `auto` in a config becomes once the data set has been read."""

from __future__ import annotations

from typing import Any

from tfrun.config import automatic
from tfrun.config.automatic import DataFacts
from tfrun.config.catalog import Catalog
from tfrun.config.data_settings import DataSettings
from tfrun.config.settings import Settings
from tfrun.data.epochs import steps_per_epoch
from tfrun.data.preprocessing import output_names
from tfrun.data.table import Table
from tfrun.data.windows import split_examples


def resolve_config(config: dict[str, Any], settings: Settings, catalog: Catalog, *, table: Table) -> dict[str, Any]:
    """Returns a config with what `auto` becomes for its data; the same object if it has none.

    Args:
        config: in plain containers.
        settings: the same, checked.
        catalog: the components.
        table: the raw rows.

    Raises:
        DataError: no row is left for training.
    """
    if not automatic.is_used(config):
        return config
    return automatic.resolve(config, settings, catalog, facts=facts_of(table, settings.data))


def facts_of(table: Table, data: DataSettings) -> DataFacts:
    """Returns what is known of a table before it is encoded.

    Raises:
        DataError: no row is left for training.
    """
    counts = [
        len(set(target.values.tolist())) if target.task == "classification" else 0 for target in table.targets.values()
    ]
    return DataFacts(
        classes=dict(zip(output_names(table), counts, strict=True)),
        steps_per_epoch=steps_per_epoch(len(split_examples(table, data).rows["train"]), data.batch_size),
    )
