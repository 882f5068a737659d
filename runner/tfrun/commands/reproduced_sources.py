"""Whether the data, the first weights and the threads of a run are as they were when it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tfrun import host_cores
from tfrun.commands.inputs import Inputs
from tfrun.config.earlier_runs import as_it_began, has_exact_offsets, threads_of
from tfrun.data.fingerprint import fingerprint
from tfrun.data.labels import with_earlier_labels
from tfrun.errors import CheckpointError
from tfrun.files.provenance.aspects import DIFFERS, ROUNDING, SAME, UNKNOWN, Aspect, clean, compare_data
from tfrun.files.runs import RunFolder
from tfrun.files.weights import of_run
from tfrun.files.weights.found import RUN, kind_of
from tfrun.files.weights.opened import sha256_of

LANES = "vectorized"  # the mode of jobs that were trained together


def with_changes(code: Aspect, changes: Sequence[str]) -> Aspect:
    """Returns whether the code is the same, with what has changed in tfrun that the run's numbers depend on."""
    return replace(code, state=DIFFERS, details=(*code.details, *changes)) if changes else code


def check_fingerprint(run: Mapping[str, Any], inputs: Inputs) -> Aspect:
    """Returns whether the data are those of `run.json`. Raises DataError if they can't be read."""
    trained_on = run.get("data", {}).get("fingerprint")
    if not isinstance(trained_on, str):
        return Aspect("data", UNKNOWN, ("the run has no fingerprint of them",))
    table = inputs.table
    data = as_it_began(inputs.settings, run).data
    digest = fingerprint(table if has_exact_offsets(data) or data.name != "csv" else with_earlier_labels(table))
    return compare_data(trained_on, digest)


def check_init(run: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raises CheckpointError if the weights that a run began with have changed since, ConfigError if they are gone."""
    recorded = run.get("init")
    section = config.get("init")
    if not isinstance(recorded, dict) or not isinstance(section, dict) or not section.get("from"):
        return
    path, kind = kind_of(str(section["from"]))
    if kind == RUN:
        facts = of_run.read(RunFolder(path), take=str(section.get("take") or "best")).facts
    else:
        facts = {"sha256": sha256_of(path, kind)}
    changed = [
        f"{name} {clean(recorded[name], 20)} → {clean(facts[name], 20)}"
        for name in facts
        if name in recorded and recorded[name] != facts[name]
    ]
    if changed:
        raise CheckpointError(
            f"init.from: {path} has changed since the run began with its weights: {', '.join(changed)}. A run can only "
            "be reproduced from the weights that it began with"
        )


def teacher_aspect(config: Mapping[str, Any]) -> list[Aspect]:
    """Returns the aspect of a teacher, of which no run records which weights it had; empty without one."""
    algorithm = config.get("algorithm")
    if not isinstance(algorithm, dict) or not algorithm.get("teacher"):
        return []
    return [Aspect("teacher", UNKNOWN, ("its weights aren't recorded",))]


def threads_aspect(run: Mapping[str, Any], *, asked: int | str | None) -> Aspect:
    """Returns whether the run is trained with as many threads as it was, and alone.

    Args:
        run: its `run.json`.
        asked: how many the command line asks for; None for those of the run.
    """
    engine = run.get("engine", {})
    if engine.get("mode") == LANES:
        return Aspect("threads", DIFFERS, ("it was trained together with other jobs, and is trained alone",), ROUNDING)
    threads = threads_of(run)
    if asked is not None and asked != threads:
        before = "unknown" if threads is None else threads
        return Aspect("threads", DIFFERS, (f"{before} → {asked}, as asked",), ROUNDING)
    if threads is None:
        return Aspect("threads", UNKNOWN, ("the run has no record of them",), ROUNDING)
    cores = host_cores.num_cores()
    more = f", more than the {cores} cores here" if threads > cores else ""
    return Aspect("threads", SAME, (f"{threads}, as then{more}",), ROUNDING)
