"""What is recorded of the code of a run: the modules of its plugins, and the YAML files that its config is from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfrun.config.catalog import Catalog
from tfrun.config.settings import ProvenanceSettings
from tfrun.config.sources import shipped_configs
from tfrun.files.provenance.recording import Subject


def subject_of(settings: ProvenanceSettings, catalog: Catalog, folders: Sequence[Path] | None = None) -> Subject:
    """Returns what is recorded when a run or a sweep starts.

    Args:
        settings: what is asked for.
        catalog: the components, which knows the modules of plugins.
        folders: those in which the config's files were looked for; None if it wasn't composed.
    """
    shipped = shipped_configs()
    return Subject(
        modules=[(module.name, module.file) for module in catalog.plugins],
        config_folders=None if folders is None else [folder for folder in folders if folder.resolve() != shipped],
        patch=settings.patch,
        sources=settings.sources,
    )
