"""The first lines of a run: what it trains, on which data, where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfrun.data.found import Found
from tfrun.engine.building.pieces import Pieces

MAX_NAMES = 8  # in a line; the config and preprocessing.json have all
PLURALS = {"category": "categories", "hashed": "hashed", "ordered": "ordered", "tokens": "tokens"}
WIDTH = 12  # of the words at the left


def introduce(pieces: Pieces, engine: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines.

    Args:
        pieces: of the run.
        engine: `engine` in its `run.json`.
    """
    described = pieces.describe()
    data = described["data"]
    splits = ", ".join(f"{data[split]:,} {split}" for split in ("train", "val", "test"))
    examples = " windows" if "windows" in data else ""
    yield _line("data", f"{data['source']}, {data['rows']:,} rows: {splits}{examples}")
    if rule := _rule(data["split"]):
        yield _line("split", rule)
    if data["rows_left_out"]:
        yield _line("", f"{data['rows_left_out']:,} rows without a target are left out")
    for head, text in columns(pieces):
        yield _line(head, text)
    settings = pieces.settings
    metrics = ", ".join(settings.metric)
    yield _line("loss", f"{settings.loss.name}{f'; metrics {metrics}' if metrics else ''}")
    count = described["parameters"]
    parameters = f"{count:,} parameter{'s' if count != 1 else ''}"
    yield _line("model", f"{settings.model.name}, {parameters}; {_where(engine)}")
    if pieces.origins is not None:
        yield _line("init", pieces.origins.summary())


def columns(pieces: Pieces) -> Iterator[tuple[str, str]]:
    """Yields what the columns were taken for: a kind and its columns, the empty cells, and each target."""
    found = pieces.examples.found
    for kind, names in found.columns.items():
        yield PLURALS.get(kind, f"{kind}s"), _listed(names)
    if found.filled:
        yield "filled", f"empty cells of {_listed(f'{name} ({count:,})' for name, count in found.filled.items())}"
    yield from _targets(found, pieces)


def _rule(split: Mapping[str, Any]) -> str:
    """Returns how the rows are split; empty if nothing says it."""
    given = [name for name in ("val", "test") if name in split.get("given", ())]
    words = [] if len(given) == 2 else [str(split[key]) for key in ("by", "column") if key in split]
    if "fold" in split:
        words.append(f"fold {split['fold']} of 0 to {split['folds'] * split['folds_repeats'] - 1}")
    parts = [" ".join(words)] if words else []
    parts += [f"{' and '.join(given)} as given"] if given else []
    return ", ".join(parts)


def _targets(found: Found, pieces: Pieces) -> Iterator[tuple[str, str]]:
    """Yields each target, with the shares of its classes."""
    if not pieces.parts.step.learns_targets:
        return
    for name, target in pieces.table.targets.items():
        counts = found.classes.get(name)
        if counts is None:
            yield "target", f"{name}, numbers"
        else:
            shares = (f"{label} {_percent(count / len(target.values))}" for label, count in counts.items())
            yield "target", f"{name}, {len(counts):,} classes: {_listed(shares)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.2g} %"


def _where(engine: Mapping[str, Any]) -> str:
    workers = f"{len(engine['workers'])} workers, " if "workers" in engine else ""
    return f"{workers}{engine['devices']}, {engine['mode']}"


def _listed(names: Iterable[str]) -> str:
    """Returns names separated by commas, the first few and how many more there are."""
    names = list(names)
    more = [f"and {len(names) - MAX_NAMES:,} more"] if len(names) > MAX_NAMES + 1 else []
    return ", ".join([*(names[:MAX_NAMES] if more else names), *more])


def _line(head: str, text: str) -> str:
    return f"{head:<{WIDTH}}{text}"
