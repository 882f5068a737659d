"""Checks whether the columns of a file mean what they are read as."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from tfrun.components.datasets.checks import MISSING
from tfrun.components.datasets.csv_numbers import NumberFormat
from tfrun.components.datasets.csv_units import describe_signs, options_for, signs_of_numbers
from tfrun.components.datasets.dates import are_dates, date_option
from tfrun.components.datasets.texts import TextColumn
from tfrun.data.arrays import blocks
from tfrun.errors import DataError, as_typed

log = logging.getLogger(__name__)


def check_categories(
    path: str,
    texts: Mapping[str, TextColumn],
    *,
    num_rows: int,
    max_categories: int,
    excluded: Sequence[str],
    numbers: NumberFormat,
) -> None:
    """Raises DataError if text columns have more different values than categories would have; it names all of them.

    Args:
        path: the file.
        texts: the cells of the columns, by name.
        num_rows: how many rows the file has.
        max_categories: data.max_categories.
        excluded: data.exclude, which an advice to leave out more columns repeats, so that it can be typed as it stands.
        numbers: how numbers are written, for a column whose cells are numbers with a unit.
    """
    half = max(20, num_rows // 2)
    doubtful = {name: text for name, text in texts.items() if len(text.values) > min(max_categories, half)}
    if not doubtful:
        return
    questions, dates = [], ""
    for name, text in doubtful.items():
        has = f"text column {name!r} of {path} has {len(text.values)} different values in {num_rows} rows"
        remedy = f"leave the column out with {as_typed('data.exclude', [*excluded, name])}"
        _refuse_written_numbers(has, text.values, numbers, remedy=remedy)
        kind = "dates, or other texts" if are_dates(text.values) else "ids or free text"
        dates += f" Read dates with {date_option(name, text.values)}." if are_dates(text.values) else ""
        questions.append(f"{has}: {kind}?")
    them, their = ("it", "its") if len(doubtful) == 1 else ("them", "their")
    more = f", or raise data.max_categories ({max_categories})" if max_categories < half else ""
    raise DataError(
        f"data.path: {' And '.join(questions)}{dates} Leave {them} out with "
        f"{as_typed('data.exclude', [*excluded, *doubtful])}{more}, or read {their} words: "
        f"{as_typed('data.text', dict.fromkeys(doubtful, 'tokens'))}."
    )


def warn_of_texts(path: str, name: str, text: TextColumn, *, excluded: Sequence[str]) -> None:
    """Warns of a text column whose cells seem to mean something else than categories; `excluded` as above."""
    if are_dates(text.values):
        log.warning(
            "column %r of %s: dates are read as categories: a date that the training rows don't have means nothing to "
            "the model. Say how they are written, for example %s, or leave the column out with %s; if it is right: %s",
            name,
            path,
            date_option(name, text.values),
            as_typed("data.exclude", [*excluded, name]),
            as_typed("data.text_columns", [name]),
        )
    counts = dict(zip(text.values, text.counts().tolist(), strict=True))
    spellings = [spelling for spelling in MISSING if spelling and spelling in counts]
    if spellings:
        log.warning(
            "column %r of %s: %s is a category here. If it means that there is no value: %s",
            name,
            path,
            ", ".join(map(repr, spellings)),
            as_typed("data.missing", spellings),
        )


def check_classes(path: str, target: str, labels: np.ndarray, *, numbers: NumberFormat) -> None:
    """Raises DataError if a target has one class, or hardly any two rows of the same; `numbers` as above."""
    classes = set().union(*(labels[rows].tolist() for rows in blocks(labels))) - {""}
    num_rows = sum(int(np.count_nonzero(labels[rows] != "")) for rows in blocks(labels))
    if len(classes) < 2:
        received = repr(next(iter(classes))) if classes else "no class"
        others = len(labels) - num_rows
        hint = f" {others} rows have no target; if their cells are a class: data.missing=null" if others else ""
        raise DataError(f"data.target: {target!r} of {path} has a single class. Received: {received}.{hint}")
    if len(classes) > max(20, num_rows // 2):
        has = f"{target!r} of {path} has {len(classes)} classes in {num_rows} rows"
        _refuse_written_numbers(has, sorted(classes), numbers, where="data.target")
        raise DataError(f"data.target: {has}. For numbers: data.task=regression")


def _refuse_written_numbers(
    has: str, texts: Sequence[str], numbers: NumberFormat, *, where: str = "data.path", remedy: str = ""
) -> None:
    """Raises DataError if texts are numbers with a unit or with thousands separators, which aren't read as numbers.

    Args:
        has: a clause that says which texts they are, and how many.
        texts: different ones.
        numbers: how numbers are written.
        where: the config path.
        remedy: what else can be done than to change the file.
    """
    filled = [text for text in texts if text not in numbers.missing]
    signs = signs_of_numbers(filled, numbers.decimal)
    if signs:
        example = next(text for text in filled if any(sign in text for sign in signs))
        raise DataError(
            f"{where}: {has}: numbers with {describe_signs(signs)}? Received: {example!r}. "
            f"Remove such signs, with data=csv by {options_for(signs)}{remedy and f', or {remedy}'}."
        )


def warn_of_target(path: str, target: str, numbers: np.ndarray) -> None:
    """Warns of a target of numbers that may be classes, or always the same."""
    values = np.unique(numbers[~np.isnan(numbers)])
    if len(values) == 0:
        return  # no row has a target, which is an error for every data set
    if len(values) == 1:
        log.warning("data.target: %r of %s is always %g: there is nothing to learn", target, path, values[0])
    elif len(values) <= 20 and (values == np.round(values)).all():
        log.warning(
            "data.target: %r of %s has only %d different whole numbers and is treated as numbers; "
            "if they are classes: data.task=classification",
            target,
            path,
            len(values),
        )
