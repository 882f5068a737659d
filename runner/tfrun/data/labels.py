"""How the labels of classes are spelt, and how earlier versions have spelt them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from tfrun.data.table import Table, Target

WHOLE_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")


def label(value: Any) -> str:
    """Returns the label of a class, given as text or as a number."""
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def shortened(text: str) -> str:
    """Returns the label of a whole number without `.0`: programs write 1 as 1.0 where another number is missing."""
    return text.partition(".")[0] if WHOLE_NUMBER.fullmatch(text) else text


def as_number(text: str) -> str:
    """Returns a label as versions wrote it that read the class 007 as the number 7."""
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def with_earlier_labels(table: Table) -> Table:
    """Returns a table from a CSV file with the classes that a run of an earlier version read: 007 was 7."""
    main, *others = (
        Target(_as_numbers(target.values), target.task) if target.task == "classification" else target
        for target in table.targets.values()
    )
    return replace(table, target=main.values, others=dict(zip(table.others, others, strict=True)))


def _as_numbers(labels: np.ndarray) -> np.ndarray:
    """Returns labels, (N,) object of str, as numbers if all of them are whole numbers."""
    numbers = {text: as_number(text) for text in set(labels.tolist())}
    if not all(WHOLE_NUMBER.fullmatch(number) for number in numbers.values()):
        return labels
    return np.array([numbers[text] for text in labels.tolist()], dtype=object)
