"""The rule `group`: the rows of one group, a customer's for example, are all in the same split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfrun.data.splitting.parts import Parts, Rule, codes_of, is_empty
from tfrun.errors import DataError

TABLE_BITS = 2**28  # of the sums that are compared to find the nearest one; beyond it, groups are taken as they fit


@dataclass(frozen=True)
class Groups(Rule):
    """Cuts rows into parts of whole groups, as near to the wanted sizes as these allow. An empty cell is a group.

    Attributes:
        cells: the group of each row of the table, (N,) numbers or texts.
        column: its name, for messages.
    """

    cells: Any
    column: str
    why_sizes_differ: ClassVar[str] = "the rows of a group stay together"

    def cut(self, rows: np.ndarray, sizes: Sequence[int], random: np.random.Generator) -> Parts:
        """Returns the parts; see `Rule`. Raises DataError if there are fewer groups than parts."""
        order = rows.copy()
        random.shuffle(order)
        codes, num_groups, num_empty = group_codes(self.cells, order)
        counts = np.bincount(codes, minlength=num_groups)
        num_parts = sum(size > 0 for size in sizes) + 1
        if num_groups < num_parts:
            raise DataError(
                f"data.split.column: the training rows and each other split need a group of {self.column!r}. "
                f"Received: {num_groups} {'group' if num_groups == 1 else 'groups'}"
            )
        part_of_group = np.full(num_groups, len(sizes))
        left = random.permutation(num_groups)
        for part, size in enumerate(sizes):
            if size:
                num_parts -= 1
                chosen = nearest_sum(counts[left], size, at_most=len(left) - num_parts)
                part_of_group[left[chosen]] = part
                left = left[~chosen]
        part_of = part_of_group[codes]
        note = f"data.split.column: {num_empty} rows have no {self.column!r}; each is a group of its own"
        return Parts([order[part_of == part] for part in range(len(sizes) + 1)], (note,) if num_empty else ())

    def check(self, splits: Mapping[str, np.ndarray], find: Callable[[int], str]) -> None:
        """Raises DataError if a group is in two splits; see `Rule`."""
        first: dict[Any, tuple[str, int]] = {}
        for name in ("train", "val", "test"):
            rows = np.sort(splits[name])
            codes, values = codes_of(self.cells, rows)
            for code, value in enumerate(values):
                row = int(rows[np.argmax(codes == code)]) if value in first else 0
                if value in first and not is_empty(value):
                    other, other_row = first[value]
                    raise DataError(
                        f"{find(row)}, column {self.column!r}: a group must be in one split. Received: {value!r} in "
                        f"the {name} rows, and in the {other} rows at {find(other_row)}"
                    )
            _, first_rows = np.unique(codes, return_index=True)
            first |= {value: (name, int(rows[place])) for value, place in zip(values, first_rows, strict=True)}


def group_codes(cells: Any, rows: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Returns the group of each row as a number, (R,), the number of groups, and that of rows with an empty cell.

    Nobody knows which empty cells belong together, so each is a group of its own.
    """
    codes, values = codes_of(cells, rows)
    empty = np.isin(codes, [code for code, value in enumerate(values) if is_empty(value)])
    codes = codes.copy()
    codes[empty] = len(values) + np.arange(int(empty.sum()))
    _, codes = np.unique(codes, return_inverse=True)
    return codes, int(codes.max()) + 1 if len(codes) else 0, int(empty.sum())


def nearest_sum(sizes: np.ndarray, target: int, *, at_most: int) -> np.ndarray:
    """Returns which groups to take, (G,) bool, so that their sizes add up to about the target; earlier ones first.

    The sum is the nearest that there is, unless very many rows lie in very many groups: then groups are taken one after
    the other as they fit, which with so many comes as near.

    Args:
        sizes: the groups' numbers of rows, (G,).
        target: the wanted sum, at least 1.
        at_most: the largest number of groups to take, at least 1. At least one is taken.
    """
    limit = max(2 * target, int(sizes.min()))
    if len(sizes) * limit <= TABLE_BITS:
        taken = _of_nearest_sum(sizes.tolist(), target, limit=limit)
    else:
        taken, total = np.zeros(len(sizes), bool), 0
        for group, size in enumerate(sizes.tolist()):
            if total + size <= target:
                taken[group], total = True, total + size
        if not taken.any():
            taken[np.argmin(sizes)] = True
    while taken.sum() > at_most:
        inside = np.flatnonzero(taken)
        taken[inside[np.argmin(sizes[inside])]] = False
    return taken


def _of_nearest_sum(sizes: Sequence[int], target: int, *, limit: int) -> np.ndarray:
    """Returns the groups whose sum, from 1 to `limit`, is nearest to the target."""
    mask = (1 << (limit + 1)) - 1
    reached = [1]  # bit s of `reached[k]` will be set if s is the sum of some of the groups from k on
    for size in reversed(sizes):
        reached.append((reached[-1] | reached[-1] << size) & mask)
    reached.reverse()
    bits = np.frombuffer(reached[0].to_bytes(limit // 8 + 1, "little"), np.uint8)
    sums = np.flatnonzero(np.unpackbits(bits, bitorder="little"))[1:]  # without the sum 0 of no groups
    total = int(sums[np.argmin(np.abs(sums - target))])
    taken = np.zeros(len(sizes), bool)
    for group, size in enumerate(sizes):
        if size <= total and reached[group + 1] >> (total - size) & 1:
            taken[group], total = True, total - size
    return taken
