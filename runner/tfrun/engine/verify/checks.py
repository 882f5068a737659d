"""`tfrun check`: what can be found out of a config without training, and whether components keep their contracts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import keras

from tfrun.config.catalog import Catalog
from tfrun.config.settings import ComponentSettings, Settings
from tfrun.console import Terminal, say
from tfrun.data.sources import load_table
from tfrun.data.table import Table
from tfrun.engine.building.parts import build_component, build_function, build_model
from tfrun.engine.building.pieces import Session, build_session
from tfrun.engine.inference.trained import export_session, first_rows
from tfrun.engine.recording import progress
from tfrun.engine.training import feed
from tfrun.engine.verify import contracts, data_contracts, parity

CONTRACT_ROWS = 8


def check(
    settings: Settings,
    catalog: Catalog,
    table: Table,
    parity_steps: int = 0,
    groups: Sequence[str] = (),
    formats: Sequence[str] = (),
) -> None:
    """Prints what can be found out without training: data, shapes, groups, memory.

    Args:
        settings: the config.
        catalog: the components.
        table: the raw rows of the config's data.
        parity_steps: how many steps to take in Python and compiled, to compare them; 0 for none.
        groups: of `data`, `model` and `algorithm` those whose contracts are checked too.
        formats: to export the untrained model in, to see whether they can hold it.

    Raises:
        TfrunError: what would have stopped the run, or steps that differ.
    """
    console, first = Terminal(), first_rows(table)
    session = build_session(settings, catalog, table)
    program = session.make_program()
    state = session.state(program)
    variables = sum(array.nbytes for array in state.read().values())
    _tell_findings(
        {f"{group}={getattr(settings, group).name}": _findings_with_data(group, session, catalog) for group in groups}
    )
    progress.print_check(
        console,
        settings.model.name,
        session.describe(),
        session.examples.inputs,
        session.plan,
        session.data_bytes,
        variables,
    )
    for format in formats:
        with tempfile.TemporaryDirectory() as folder:
            off = export_session(session, first, format, Path(folder))
        say(console, f"export  {format} holds this model: predictions at most {off:.2g} off, in a clean process")
    if parity_steps:
        found = parity.compare(program, state, parity_steps)
        progress.print_parity(console, found, parity_steps)
        for difference in found:
            if difference.first:
                step, tensor = difference.first
                raise parity.ParityError(
                    f"check: compiled by {difference.mode}, step {step} gives another {tensor} than in Python, by more "
                    f"than {parity.TOLERANCE:g}. Furthest off: {difference.tensor}, by {difference.off:.2g}"
                )
    say(console, "All that can be checked without training is in order.")


def check_contracts(components: Sequence[tuple[str, ComponentSettings]], catalog: Catalog) -> None:
    """Puts components through their kinds' contracts and prints what was found.

    Args:
        components: the kind of each, and its name and parameters.
        catalog: where they are looked up.

    Raises:
        ContractError: a promise isn't kept.
    """
    found = {}
    for kind, settings in components:
        keras.utils.set_random_seed(0)
        build = build_component if kind == "optimizer" else build_function  # the others' functions aren't called
        found[f"{kind}={settings.name}"] = contracts.findings(kind, partial(build, catalog, kind, settings, kind))
    _tell_findings(found)


def _findings_with_data(group: str, session: Session, catalog: Catalog) -> list[contracts.Finding]:
    settings, step, examples = session.settings, session.parts.step, session.examples
    if group == "data":
        return contracts.collected(data_contracts.of_dataset(partial(load_table, settings.data, catalog)))
    batch = feed.sample(examples, CONTRACT_ROWS)
    if group == "algorithm":
        return contracts.collected(data_contracts.of_algorithm(step, batch))
    outputs = examples.preprocessing.num_outputs if step.learns_targets else None
    make = partial(build_model, settings.model, catalog, examples.preprocessing)
    return contracts.collected(data_contracts.of_model(make, batch[0], outputs))


def _tell_findings(found: Mapping[str, Sequence[contracts.Finding]]) -> None:
    console, broken = Terminal(), []
    for name, own in found.items():
        progress.print_findings(console, name, own)
        broken += [f"{name}: {finding.promise}" for finding in own if not finding.kept]
    if broken:
        total = sum(map(len, found.values()))
        raise contracts.ContractError(f"check: {len(broken)} of {total} promises aren't kept: {'; '.join(broken)}")
