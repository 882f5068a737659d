"""What a worker would train: what must be the same for all workers of a run, whose machines may differ."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tfrun
from tfrun.commands.inputs import Inputs
from tfrun.config.catalog import Catalog
from tfrun.config.changes import recorded
from tfrun.config.keys import flatten
from tfrun.config.settings import Settings
from tfrun.data.fingerprint import fingerprint
from tfrun.errors import TfrunError
from tfrun.files import checkpoints, runs
from tfrun.files.digests import file_sha256
from tfrun.files.provenance import sources
from tfrun.files.provenance.versions import versions
from tfrun.folders import code_folder
from tfrun.workers.meeting import Identity

# keys that may differ between machines, or say what worker 0 alone does
OF_ONE_WORKER = (
    *("name", "output_root", "tags", "provenance", "logger", "checkpoint.keep"),
    *("data.path", "data.validation_path", "data.test_path", "data.cache", "data.keep_samples"),
    *("init.from", "algorithm.teacher"),  # whose contents are compared, if this process reads them
    *("strategy.workers", "strategy.meeting_seconds"),
)
SAME_VERSIONS = ("tfrun", "tensorflow", "keras", "numpy")
MISSING = "it can't be read"


def identity_of(inputs: Inputs, catalog: Catalog) -> Identity:
    """Returns what a worker would train, which must be the same for all of them."""
    config: dict[str, Any] = {
        path: value
        for path, value in flatten(recorded(inputs.settings))
        if not any(path == key or path.startswith(f"{key}.") for key in OF_ONE_WORKER)
    }
    installed = {name: version for name, version in versions().items() if name in SAME_VERSIONS}
    files = dict(_hashes(inputs.settings, catalog))
    return Identity(version=installed, config=config, files=files, data=fingerprint(inputs.table))


def _hashes(settings: Settings, catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yields the names and the hashes of what each worker reads on its own machine, beside the data."""
    yield "tfrun", _of_package()
    modules = [(module.name, str(module.file)) for module in catalog.plugins]
    for module in sources.modules(modules, str(code_folder())):
        yield f"{module.kind} {module.name}", _of_file(Path(module.path))
    if settings.init.source is not None and settings.init.preprocessing == "same":
        yield "init.from: preprocessing.json", _of_run(settings.init.source, weights=False)
    if teacher := settings.algorithm.params.get("teacher"):
        yield "algorithm.teacher", _of_run(str(teacher), weights=True)


def _of_package() -> str:
    """Returns the hash of tfrun's code: two checkouts of one version may differ."""
    digest = hashlib.sha256()
    for root in tfrun.__path__:
        for folder, names, files in os.walk(root, followlinks=True):
            names.sort()
            for name in sorted(name for name in files if name.endswith(".py")):
                path = Path(folder, name)
                digest.update(f"{path.relative_to(root).as_posix()}\0{_of_file(path)}\0".encode())
    return digest.hexdigest()


def _of_run(name: str, *, weights: bool) -> str:
    """Returns the hash of what is read of another run: its preprocessing, or its model and weights too."""
    digest = hashlib.sha256()
    try:
        folder = runs.open_run(name)
        digest.update(_of_file(folder.preprocessing_json).encode())
        if weights:
            digest.update(_of_file(folder.config_yaml).encode())
            newest = checkpoints.newest(folder.checkpoints)
            for slot, array in sorted({} if newest is None else newest.arrays.items()):
                digest.update(slot.encode() + array.tobytes())
    except (TfrunError, OSError):  # the reason is said when it is needed
        return MISSING
    return digest.hexdigest()


def _of_file(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return MISSING
