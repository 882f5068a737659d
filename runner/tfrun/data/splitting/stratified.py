"""The rule `stratified`: each class has about the same share in every split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfrun.data.splitting.parts import Parts, Rule, codes_of, of_one_row


@dataclass(frozen=True)
class Stratified(Rule):
    """Cuts rows so that each part has its share of each class, as near as whole rows allow.

    The last part, the training rows, keeps one row of each class at least.

    Attributes:
        labels: the class of each row of the table, (N,).
        where: what has the classes, for messages.
    """

    labels: np.ndarray
    where: str
    why_sizes_differ: ClassVar[str] = "classes of a single row stay in the training rows"

    def cut(self, rows: np.ndarray, sizes: Sequence[int], random: np.random.Generator) -> Parts:
        """Returns the parts; see `Rule`. They are smaller than wanted if too many classes have a single row."""
        order = rows.copy()
        random.shuffle(order)
        codes, labels = codes_of(self.labels, order)
        counts = np.bincount(codes, minlength=len(labels))
        ties = random.permutation(len(labels))
        ends = np.zeros((len(sizes), len(labels)), np.int64)  # of each class' rows that are in a part or an earlier one
        given = np.zeros(len(labels), np.int64)
        for part, size in enumerate(sizes):
            # what earlier parts have got too much or too little of a class counts, so that the rest has its share
            quotas = counts * sum(sizes[: part + 1]) / max(1, len(rows)) - given
            given = given + apportion(quotas, size, most=np.maximum(0, counts - given - 1), ties=ties)
            ends[part] = given
        part_of = _parts_of(codes, ends, counts)
        single = [str(label) for label, count in zip(labels, counts, strict=True) if count == 1]
        note = f"{self.where}: {of_one_row(single)}, which stays in the training rows"
        notes = (note,) if single and sum(sizes) else ()
        return Parts([order[part_of == part] for part in range(len(sizes) + 1)], notes)

    def limit(self, rows: np.ndarray, num_rows: int, random: np.random.Generator) -> np.ndarray:
        """Returns training rows in which each class has its share; see `Rule`."""
        return self.cut(np.sort(rows), [len(rows) - num_rows], random).rows[-1][:num_rows]


def apportion(quotas: np.ndarray, total: int, *, most: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Returns whole numbers near the quotas that add up to a total, by the largest remainders.

    Source: Hamilton's method of apportionment.

    Args:
        quotas: (C,) real numbers.
        total: the wanted sum; a smaller one is returned if `most` doesn't allow it.
        most: the upper bound of each number, (C,) whole numbers.
        ties: (C,) different numbers; of equal remainders, the one with the smaller of these goes first.
    """
    numbers = np.clip(np.floor(quotas).astype(np.int64), 0, most)
    while missing := total - int(numbers.sum()):
        step = 1 if missing > 0 else -1
        may_change = numbers < most if step > 0 else numbers > 0
        order = np.lexsort((ties, -step * (quotas - numbers)))
        chosen = order[may_change[order]][: abs(missing)]
        if len(chosen) == 0:
            break
        numbers[chosen] += step
    return numbers


def _parts_of(codes: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the part of each row, (R,): the first rows of a class are in part 0, the next ones in part 1, and so on.

    Args:
        codes: the class of each row, (R,).
        ends: how many rows of a class are in each part or an earlier one, (P, C); the others are in part P.
        counts: how many rows each class has, (C,).
    """
    sizes = np.diff(np.concatenate([np.zeros((1, len(counts)), np.int64), ends, counts[None]]), axis=0)
    in_order = np.repeat(np.tile(np.arange(len(sizes), dtype=np.int16), len(counts)), sizes.T.reshape(-1))
    parts = np.empty(len(codes), np.int16)
    parts[np.argsort(codes, kind="stable")] = in_order
    return parts
