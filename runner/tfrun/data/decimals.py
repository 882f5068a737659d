"""How many decimals the numbers of a target have, and so those that are predicted for it."""

from __future__ import annotations

import math

import numpy as np

MAX_DECIMALS = 9  # numbers with more are measured or computed, and not written by a person
COARSEST = 1e-3  # of a standard deviation: a prediction isn't rounded more than to this
FINEST = 1e-6  # of a standard deviation: float32 can't tell apart much less than this


def decimals_of(values: np.ndarray) -> int | None:
    """Returns the smallest number of decimals with which all numbers can be written, or None if it is large.

    Args:
        values: (N,) float64, finite. If all are float32 numbers, the decimals are those that float32 rounds to them.
    """
    dtype = np.float32 if np.array_equal(values.astype(np.float32), values) else np.float64
    left = values
    for decimals in range(MAX_DECIMALS + 1):
        left = left[np.round(left, decimals).astype(dtype) != left.astype(dtype)]
        if len(left) == 0:
            return decimals
    return None


def predicted_decimals(values: np.ndarray) -> int | None:
    """Returns with how many decimals predictions of a target are written as text; None for all that float64 has.

    That is one more than the target has. But predictions are rounded to a thousandth of its standard deviation at most,
    as those of counts near 0 would all become 0 otherwise, and have no digits beyond a millionth of it.

    Args:
        values: of the training rows, (R,) float64, finite.
    """
    of_target = decimals_of(values)
    one_more = None if of_target is None else of_target + 1
    deviation = float(values.std()) if len(values) else 0.0
    if not 0.0 < deviation < math.inf:
        return one_more
    fewest, most = (math.ceil(-math.log10(deviation * part) - 1e-9) for part in (COARSEST, FINEST))
    wanted = most if one_more is None else one_more
    decimals = max(0, min(max(wanted, fewest), most))
    return decimals if decimals <= 2 * MAX_DECIMALS else None
