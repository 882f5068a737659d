"""`tfrun check`: verifies what can be verified without training, and whether components keep their contracts."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.settings import Settings
from tfrun.console import Terminal, say, say_wrapped
from tfrun.data.sources import load_table
from tfrun.data.table import Table
from tfrun.data.windows import sentence_on_windows
from tfrun.engine.building import devices
from tfrun.engine.building.assembly import build_pieces
from tfrun.engine.building.components import build_component, build_function
from tfrun.engine.building.parts import build_model
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference.exporting import formats
from tfrun.engine.inference.trained import export_pieces
from tfrun.engine.recording import introduction
from tfrun.engine.recording.progress import format_bytes
from tfrun.engine.training import feed
from tfrun.engine.training.rows import Tracing
from tfrun.engine.verify import contracts, data_contracts, parity
from tfrun.engine.verify.findings import ContractError, Finding, collect
from tfrun.engine.verify.input_ranges import unscaled_images

CONTRACT_ROWS = 8


@dataclass(frozen=True)
class CheckOptions:
    """What to check beside the config.

    Attributes:
        parity_steps: how many steps to take both in Python and compiled, to compare them; 0 for none.
        groups: of `data`, `model` and `algorithm` those whose contracts are checked too.
        formats: the formats to export the untrained model to, to see whether they can hold it.
    """

    parity_steps: int = 0
    groups: Sequence[str] = ()
    formats: Sequence[str] = ()


def check(settings: Settings, catalog: Catalog, *, table: Table, options: CheckOptions) -> None:
    """Prints everything that can be known without training: data, shapes, groups, memory.

    Args:
        settings: the config.
        catalog: the components that exist.
        table: the raw rows of the config's data.
        options: what else to check.

    Raises:
        TfrunError: a run would stop for this reason, or compiled steps differ from steps in Python.
    """
    console = Terminal()
    pieces = build_pieces(settings, catalog, table=table)
    examples = pieces.examples
    program = pieces.make_program()
    state = pieces.state(program)
    variable_bytes = sum(array.nbytes for array in state.read().values())
    findings = {
        f"{group}={getattr(settings, group).name}": _findings_with_data(group, pieces, catalog=catalog)
        for group in options.groups
    }
    if any(not finding.kept for of_component in findings.values() for finding in of_component):
        _report(findings)
    _trace_step(pieces)
    _print_pieces(console, pieces, variable_bytes=variable_bytes)
    for name, of_component in findings.items():
        say(console, f"kept    {len(of_component)} promises of {name}")
    for warning in [*pieces.parts.warnings, *examples.warnings, *unscaled_images(pieces.parts.model, examples)]:
        say(console, f"warning: {warning}")
    for format in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            difference = export_pieces(pieces, format=format, folder=Path(folder))
            place = formats.place_of_check(format, Path(folder))
        say(console, f"export  {format} holds this model: predictions at most {difference:.2g} off, {place}")
    if options.parity_steps:
        _check_parity(
            console, parity.compare(program, state, num_steps=options.parity_steps), num_steps=options.parity_steps
        )
    say(console, "All that can be checked without training is in order.")


def _trace_step(pieces: Pieces) -> None:
    """Traces a step and an evaluation, which runs neither of them: much of what components do wrong shows by then.

    Raises:
        ConfigError: a component returns something wrong, or a weight gets no gradient.
    """
    step = pieces.parts.step
    data = tf.nest.map_structure(tf.convert_to_tensor, feed.sample(pieces.examples, pieces.order.batch_size))
    rows = tf.range(pieces.order.batch_size)

    def compute() -> None:
        step(data, rows, tf.constant(0, tf.int64), tracing=Tracing(stage=step.stages.at(0)))
        x, y, _ = data
        step.evaluate(step.loss, x, y)

    with pieces.strategy.scope():
        tf.function(compute, autograph=False).get_concrete_function()


def check_data_set(settings: Settings, catalog: Catalog) -> None:
    """Checks a data set alone, whose rows can't be trained on. Raises ContractError."""
    _report({f"data={settings.data.name}": collect(data_contracts.check_dataset(_loader(settings, catalog)))})


def _loader(settings: Settings, catalog: Catalog) -> Callable[[], Table]:
    return partial(load_table, settings.data, catalog)


def check_contracts(
    components: Sequence[tuple[str, ComponentSettings]], catalog: Catalog, *, precision: str = "float32"
) -> None:
    """Checks components against their kinds' contracts and prints the findings.

    Args:
        components: the kind of each component, and its name and parameters.
        catalog: the components that exist.
        precision: the config's `trainer.precision`, in which they are checked.

    Raises:
        ContractError: a component doesn't keep a promise.
    """
    findings: dict[str, Sequence[Finding]] = {}
    devices.set_precision(precision)
    for kind, settings in components:
        keras.utils.set_random_seed(0)
        findings[f"{kind}={settings.name}"] = contracts.check(kind, maker(kind, settings, catalog))
    _report(findings)


def maker(kind: str, settings: ComponentSettings, catalog: Catalog) -> Callable[..., Any]:
    """Returns a function that makes a component anew. An optimizer's takes `learning_rate`, if it isn't the default."""

    def make(**offered: Any) -> Any:
        if kind == "optimizer":  # other functions aren't called
            others = {name: value for name, value in settings.params.items() if name not in offered}
            chosen = ComponentSettings(settings.name, others)
            return build_component(kind, chosen, catalog=catalog, where=kind, offered=offered)
        return build_function(kind, settings, catalog=catalog, where=kind)

    return make


def _findings_with_data(group: str, pieces: Pieces, *, catalog: Catalog) -> list[Finding]:
    """Returns the findings on a data set, a model or an algorithm, whose contracts need the config's data."""
    settings = pieces.settings
    step = pieces.parts.step
    examples = pieces.examples
    if group == "data":
        return collect(data_contracts.check_dataset(_loader(settings, catalog)))
    batch = feed.sample(examples, CONTRACT_ROWS)
    if group == "algorithm":
        return collect(data_contracts.check_algorithm(step, batch))
    outputs = examples.preprocessing.num_outputs if step.learns_targets else None
    make = partial(build_model, settings.model, catalog, preprocessing=examples.preprocessing)
    return collect(data_contracts.check_model(make, batch[0], num_outputs=outputs))


def _report(findings: Mapping[str, Sequence[Finding]]) -> None:
    """Prints findings by component. Raises ContractError if a promise isn't kept."""
    console = Terminal()
    broken = []
    for name, of_component in findings.items():
        say(console, name)
        for finding in of_component:
            numbers = f": {finding.numbers}" if finding.numbers else ""
            say(console, f"  {'ok   ' if finding.kept else 'FAILS'}  {finding.promise}{numbers}")
            if not finding.kept:
                broken.append(f"{name}: {finding.promise}")
    if broken:
        total = sum(map(len, findings.values()))
        raise ContractError(f"check: {len(broken)} of {total} promises aren't kept: {'; '.join(broken)}")


def _print_pieces(console: Console, pieces: Pieces, *, variable_bytes: int) -> None:
    """Prints the data, the model, the groups and the memory of a run."""
    described = pieces.describe()
    data = described["data"]
    splits = ", ".join(f"{data[split]:,} {split}" for split in ("train", "val", "test"))
    say(console, f"data    {data['source']}, {data['task']}: {data['rows']:,} rows ({splits})")
    if pieces.examples.windows is not None:
        say(console, f"        {sentence_on_windows(pieces.examples.windows)}")
    for head, text in introduction.columns(pieces):
        say_wrapped(console, f"        {head}: {text}", indent=8)
    inputs = pieces.examples.inputs
    for name, array in (inputs if isinstance(inputs, Mapping) else {"array": inputs}).items():
        say(console, f"        {name} {('batch', *array.shape[1:])} {array.dtype}".replace("'", ""))
    total = "no last step" if pieces.plan.last_step is None else f"{pieces.plan.last_step:,} in all"
    say(console, f"steps   {pieces.plan.steps_per_epoch:,} an epoch, {total}")
    say(console, f"model   {pieces.settings.model.name}, {described['parameters']:,} parameters")
    at_rest = pieces.parts.step.stages.at(0).at_rest
    for group in described["groups"]:
        rest = ", its layers run as in inference at first" if group["name"] in at_rest else ""
        rate = "" if group["learning_rate"] is None else f", learning rate {group['learning_rate']:.4g}"
        say(console, f"group   {group['name']}: {group['optimizer']}{rate}, {group['parameters']:,} parameters{rest}")
        for path in group["variables"]:
            how = f", {group['tables'][path]}" if path in group["tables"] else ""
            say(console, f"        {path}{how}")
    if origins := pieces.origins:
        say(console, f"init    {origins.summary()}")
        for variable, shape, array, note in origins.rows():
            say(console, f"        {variable} {shape} ← {array}{f' ({note})' if note else ''}")
        for text in origins.differences:
            say(console, f"warning: init: {text}")
    memory = f"{format_bytes(pieces.data_bytes)} data, {format_bytes(variable_bytes)} variables and state"
    say(console, f"memory  {memory}")


def _check_parity(console: Console, differences: Sequence[parity.Difference], *, num_steps: int) -> None:
    """Prints how far compiled steps are from the same steps in Python. Raises ParityError if that is too far."""
    for mode, off, tensor, _ in differences:
        furthest = f"at most {off:.2g} off, {tensor}" if off else "the same bits"
        result = f"can't be compiled: {tensor}" if math.isnan(off) else furthest
        say(console, f"parity  {num_steps} steps of {mode} beside Python: {result}")
    for difference in differences:
        if difference.first:
            step, tensor = difference.first
            raise parity.ParityError(
                f"check: compiled by {difference.mode}, step {step} gives another {tensor} than in Python, by more "
                f"than {parity.TOLERANCE:g}. Furthest off: {difference.tensor}, by {difference.off:.2g}"
            )
