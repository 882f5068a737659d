"""The model's first weights: each is proven to be fresh, or copied from a named array of a source.

source's arrays ─ map ─► names ─ match ─► variables
a variable without an array    is in `init.new`, or an error
an array without a variable    is in `init.unused`, or an error
"""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrun.config.settings import InitSettings
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine import private
from tfrun.engine.building import saved_model_weights
from tfrun.engine.building.lora import is_adapter
from tfrun.engine.building.rows_by_meaning import RowMap, differences, row_maps
from tfrun.errors import CheckpointError, ConfigError, ResourceError, TfrunError, as_typed, near_miss, some
from tfrun.files.weights.opened import open_source
from tfrun.files.weights.source import BY_LAYER, BY_PATH, BY_PLACE, StoredArray, WeightSource, numbered
from tfrun.folders import shown
from tfrun.protocols import FirstWeights, ModelOffer

MAX_NAMED = 3  # variables or arrays in an error
OF_TRAINING = ("optimizer/", "optimizer.", "_optimizer")  # how the names of arrays begin that belong to no model
RANDOM_STATE = "seed_generator"  # is in the names of the states of random generators, which stay the run's own


@dataclass(frozen=True)
class Origin:
    """Where a variable's first value comes from.

    Attributes:
        variable: its path.
        shape: its shape.
        array: the name of the array that it is copied from; None if the value is fresh.
        note: what is particular about it, a changed type for example; empty if nothing is.
    """

    variable: str
    shape: tuple[int, ...]
    array: str | None
    note: str = ""


@dataclass(frozen=True)
class Origins:
    """Where the first values of all variables come from.

    Attributes:
        source: the source.
        variables: an entry for each variable of the model but the states of random generators.
        unused: the names of the arrays that were left out.
        differences: sentences on how rows are encoded otherwise than in the run that the weights are from.
    """

    source: WeightSource
    variables: tuple[Origin, ...]
    unused: tuple[str, ...]
    differences: tuple[str, ...] = ()

    @property
    def copied(self) -> list[Origin]:
        return [origin for origin in self.variables if origin.array is not None]

    @property
    def new(self) -> list[Origin]:
        return [origin for origin in self.variables if origin.array is None]

    def describe(self) -> dict[str, Any]:
        """Returns the entry `init` of `run.json`."""
        counts = {"copied": len(self.copied), "new": len(self.new), "unused": len(self.unused)}
        return {"from": str(self.source.path), "kind": self.source.kind, **self.source.facts, **counts}

    def summary(self) -> str:
        """Returns one line: how many variables begin with which arrays, and which begin afresh."""
        facts = self.source.facts
        which = f", {facts['take']} weights, step {facts['step']:,}" if "take" in facts else ""
        new = f"; fresh: {some([origin.variable for origin in self.new])}" if self.new else ""
        return f"{len(self.copied)} of {len(self.variables)} variables from {shown(self.source.path)}{which}{new}"

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Returns a row of the table for each variable: its path, its shape, the array, the note."""
        return [(origin.variable, str(origin.shape), origin.array or "fresh", origin.note) for origin in self.variables]

    def as_markdown(self) -> str:
        """Returns the table as Markdown."""
        lines = [f"| {' | '.join(row)} |" for row in [("variable", "shape", "from", "note"), *self.rows()]]
        return "\n".join([self.summary(), "", lines[0], "|---|---|---|---|", *lines[1:]])


@dataclass(frozen=True, eq=False)
class _Target:
    """A variable of the model, with its name in each of the ways that arrays are named."""

    variable: keras.Variable
    names: Mapping[str, str]

    @property
    def path(self) -> str:
        """Its path; of several variables with the same path, those after the first have a number behind it."""
        return self.names[BY_PATH]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.variable.shape)


def begin(model: keras.Model, settings: InitSettings, *, inputs: Any, preprocessing: Preprocessing) -> Origins | None:
    """Lets a model begin with the weights that the config names or, if it names none, with those that it asks for.

    Args:
        model: built.
        settings: the source, and what may be renamed, new and left out.
        inputs: a few encoded rows.
        preprocessing: what the run has learnt from its rows.

    Returns:
        Where the weights come from; None if all are fresh.

    Raises:
        ConfigError, CheckpointError: as `begin_from`.
        ResourceError: weights can't be downloaded.
    """
    if settings.source is None:
        first = ModelOffer.of(model).first_weights
        return None if first is None else _begin_part(model, first)
    source = open_source(settings.source, take=settings.take, read_saved_model=saved_model_weights.read)
    if source.preprocessing is None or settings.preprocessing == "same":
        return begin_from(model, source, settings)
    earlier = Preprocessing.from_fields(source.preprocessing, source=str(source.path / "preprocessing.json"))
    rows = row_maps(model, inputs, new=preprocessing, earlier=earlier)
    origins = begin_from(model, source, settings, rows=rows)
    return replace(origins, differences=tuple(differences(preprocessing, earlier)))


def _begin_part(model: keras.Model, first: FirstWeights) -> Origins:
    """Lets a part of a model begin with the weights that the model asks for."""
    try:
        origins = _begin_layer(first)
    except (ConfigError, CheckpointError) as error:  # of a person who hasn't set `init`
        raise type(error)(re.sub(r"^init(\.from)?:", f"{first.key}:", str(error))) from error
    targets = [target for target in _targets(model) if not _is_random_state(target.names)]
    known = {origin.variable: origin for origin in origins.variables}  # of a network that was cut, more than there are
    return replace(
        origins,
        variables=tuple(known.get(target.path) or Origin(target.path, target.shape, None) for target in targets),
    )


def _begin_layer(first: FirstWeights) -> Origins:
    """Lets the layer begin with its weights."""
    if first.download is not None:
        source = _loaded(first)
        return begin_from(first.layer, source, InitSettings(str(source.path)))
    source = open_source(first.source, take="best", read_saved_model=saved_model_weights.read)
    names = [name for array in source.arrays for name in array.names.values()]
    unused = [pattern for pattern in first.unused if _matches([pattern], names)]
    advice = "The file doesn't fit this network: is it another size of it, or another one?"
    return begin_from(first.layer, source, InitSettings(first.source, unused=unused), advice=advice)


def _loaded(first: FirstWeights) -> WeightSource:
    """Returns the weights of a model that Keras or KerasHub loads. Raises ResourceError if it can't."""
    assert first.download is not None
    try:
        model = first.download()
    except TfrunError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ResourceError(
            f"model: its weights can't be downloaded: {reason}. Name a file of them, or weights: null for fresh ones"
        ) from error
    arrays = [
        StoredArray(target.names, target.shape, target.variable.dtype, target.variable.numpy)
        for target in _targets(model)
    ]
    return WeightSource(Path(first.source or model.name), "converted" if first.source else "download", arrays, {})


def begin_from(
    model: keras.Model,
    source: WeightSource,
    settings: InitSettings,
    *,
    rows: Mapping[str, RowMap] = types.MappingProxyType({}),
    advice: str = "",
) -> Origins:
    """Assigns a source's arrays to a model's variables; all of them, or none.

    Args:
        model: built.
        source: the arrays.
        settings: what may be renamed, new and left out.
        rows: where the rows of tables come from whose ids have changed, by the tables' paths.
        advice: a sentence for an error in place of those on `init.map` and others.

    Raises:
        ConfigError: a variable has no array, an array has no variable, a shape or a type doesn't fit, or a pattern
            matches nothing.
        CheckpointError: an array can't be read, or has numbers that aren't finite.
    """
    targets = [target for target in _targets(model) if not _is_random_state(target.names)]
    arrays = [array for array in source.arrays if not _is_random_state(array.names)]
    renamed = _renamed(arrays, settings.map)
    _refuse_idle("init.new", settings.new, [name for target in targets for name in target.names.values()])
    named_new = {target.path for target in targets if _matches(settings.new, target.names.values())}
    matched = _matched(targets, arrays, renamed, without=named_new)
    # what `add_lora` adds is fresh, unless the weights are from a run that had it too
    added = {target.path for target in targets if is_adapter(target.path) and target.path not in matched}
    fresh = [target for target in targets if target.path in named_new | added]
    wanted = [target for target in targets if target.path not in named_new | added]
    found = {target.path: matched[target.path] for target in wanted if target.path in matched}
    _refuse_missing(wanted, found, arrays, source=source, rows=rows, advice=advice)
    left = _left_out(arrays, list(matched.values()))
    _refuse_left_out(left, settings.unused, source=source, advice=advice)
    values = {target.path: _value(target, found[target.path], source, rows.get(target.path)) for target in wanted}
    for target in wanted:
        target.variable.assign(values[target.path])
    origins = tuple(
        Origin(target.path, target.shape, None)
        if target in fresh
        else Origin(target.path, target.shape, found[target.path].name, _note(target, found[target.path], rows))
        for target in targets
    )
    return Origins(source, origins, tuple(array.name for array in left))


def _targets(model: keras.Model) -> list[_Target]:
    places = private.places_of_variables(model)
    paths = numbered([variable.path for variable in model.variables])
    return [
        _Target(variable, {BY_PATH: path, **places.get(id(variable), {})})
        for variable, path in zip(model.variables, paths, strict=True)
    ]


def _is_random_state(names: Mapping[str, str]) -> bool:
    """Returns whether the names are those of the state of a random generator."""
    return any(RANDOM_STATE in name for name in names.values())


def _renamed(arrays: Sequence[StoredArray], patterns: Mapping[str, str]) -> dict[int, str]:
    """Returns what the first pattern of `init.map` that is found in an array's name makes of it, by identity."""
    renamed: dict[int, str] = {}
    idle = set(patterns)
    for array in arrays:
        for pattern, replacement in patterns.items():
            named = next((name for name in array.names.values() if re.search(pattern, name)), None)
            if named is not None:
                idle.discard(pattern)
                renamed[id(array)] = re.sub(pattern, re.sub(r"\$(\d)", r"\\\1", replacement), named)
                break
    if idle:
        raise _matches_nothing("init.map", min(idle), [array.name for array in arrays])
    return renamed


def _matched(
    targets: Sequence[_Target],
    arrays: Sequence[StoredArray],
    renamed: Mapping[int, str],
    *,
    without: Collection[str],
) -> dict[str, StoredArray]:
    """Returns the array of each variable that has one, by the variable's path.

    Variables and arrays are matched in one way, that in which the fewest variables are without an array of their shape:
    by the paths of variables, the places in a Keras file, or the names of layers. What was renamed may have any name.

    Args:
        targets: the variables.
        arrays: the arrays.
        renamed: the new names of arrays, by identity.
        without: the paths of variables that don't count in the choice of the way.
    """
    others = [array for array in arrays if id(array) not in renamed]
    by_new_name = {renamed[id(array)]: array for array in arrays if id(array) in renamed}
    ways = []
    for way in (BY_PATH, BY_PLACE, BY_LAYER):
        by_name = {array.names[way]: array for array in others if way in array.names}
        found = {}
        for target in targets:
            array = next((by_new_name[name] for name in target.names.values() if name in by_new_name), None)
            array = array or by_name.get(target.names.get(way, ""))
            if array is not None:
                found[target.path] = array
        ways.append(found)
    shapes = {target.path: target.shape for target in targets if target.path not in without}
    return max(ways, key=lambda found: sum(array.shape == shapes.get(path) for path, array in found.items()))


def _left_out(arrays: Sequence[StoredArray], used: Sequence[StoredArray]) -> list[StoredArray]:
    taken = {id(array) for array in used}
    return [array for array in arrays if id(array) not in taken and not array.name.startswith(OF_TRAINING)]


def _refuse_missing(
    targets: Sequence[_Target],
    found: Mapping[str, StoredArray],
    arrays: Sequence[StoredArray],
    *,
    source: WeightSource,
    rows: Mapping[str, RowMap],
    advice: str,
) -> None:
    """Raises ConfigError if variables have no array, or one of another shape or kind of number."""
    problems, missing, misshaped = [], [], set()
    for target in targets:
        array = found.get(target.path)
        followed = rows.get(target.path)
        shape = (followed.num_earlier_rows, *target.shape[1:]) if followed else target.shape
        if array is None:
            problems.append(f"{target.path} {target.shape}: no such array")
            missing.append(target.path)
        elif array.shape != shape:
            problems.append(f"{target.path} {target.shape}: {array.name} there has the shape {array.shape}")
            misshaped.add(target.path.partition("/")[0])
        elif not _fits(array.dtype, target.variable.dtype):
            problems.append(f"{target.path} is {target.variable.dtype}: {array.name} there is {array.dtype}")
    if not problems:
        return
    known = [array.name for array in arrays]
    more = f" and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    if not advice and misshaped and not missing and len(misshaped) <= MAX_NAMED:
        fresh = as_typed("init.new", [f"^{name}/" for name in sorted(misshaped)])
        advice = f"Fresh weights for those: {fresh}"
    hint = near_miss(missing[0], known) if 0 < len(missing) <= MAX_NAMED else ""
    raise ConfigError(
        f"init: {len(problems)} of {len(targets)} variables can't begin with {source.path}: "
        f"{'; '.join(problems[:MAX_NAMED])}{more}. Its arrays: {some(known)}.{hint} "
        f"{advice or 'init.map renames arrays, init.new names variables that begin afresh'}"
    )


def _refuse_left_out(
    arrays: Sequence[StoredArray], patterns: Sequence[str], *, source: WeightSource, advice: str
) -> None:
    """Raises ConfigError if arrays are left out that `init.unused` doesn't name."""
    _refuse_idle("init.unused", patterns, [name for array in source.arrays for name in array.names.values()])
    others = [array for array in arrays if not _matches(patterns, array.names.values())]
    if others:
        names = some([f"{array.name} {array.shape}" for array in others])
        if any(is_adapter(array.name) for array in others):
            advice = "They are adaptations of low rank: set model.lora as there, or begin with an export of that run"
        raise ConfigError(
            f"init: {len(others)} of the {len(source.arrays)} arrays in {source.path} have no variable in the model: "
            f"{names}. {advice or 'init.map renames them, init.unused names those that may be left out'}"
        )


def _value(target: _Target, array: StoredArray, source: WeightSource, rows: RowMap | None) -> np.ndarray:
    value = array.read()
    if value.shape != array.shape:
        raise CheckpointError(f"init.from: {source.path} is damaged: {array.name} isn't what the file says of it")
    is_float = value.dtype.kind not in "iub"
    if is_float and not np.isfinite(value).all():
        raise CheckpointError(f"init.from: {source.path}: {array.name} has numbers that aren't finite")
    value = value.astype(target.variable.dtype, copy=False)
    if is_float and not np.isfinite(value).all():
        raise ConfigError(
            f"init: {array.name} of {source.path} has numbers too large for {target.path}, {target.variable.dtype}"
        )
    return value if rows is None else rows.apply(value, target.variable.numpy())


def _fits(stored: str, wanted: str) -> bool:
    """Returns whether numbers of one type can become another: floats become floats, others stay what they are."""
    return stored == wanted or ("float" in stored and "float" in wanted)


def _note(target: _Target, array: StoredArray, rows: Mapping[str, RowMap]) -> str:
    cast = [] if array.dtype == target.variable.dtype else [f"{array.dtype} → {target.variable.dtype}"]
    return ", ".join([*cast, *([f"{rows[target.path]} by their meaning"] if target.path in rows else [])])


def _matches(patterns: Sequence[str], names: Iterable[str]) -> bool:
    return any(re.search(pattern, name) for pattern in patterns for name in names)


def _refuse_idle(where: str, patterns: Sequence[str], names: Sequence[str]) -> None:
    """Raises ConfigError if a pattern is found in no name: it is most likely misspelt."""
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            raise _matches_nothing(where, pattern, names)


def _matches_nothing(where: str, pattern: str, names: Sequence[str]) -> ConfigError:
    return ConfigError(f"{where}: {pattern!r} matches nothing. Known: {some(names)}.{near_miss(pattern, names)}")
