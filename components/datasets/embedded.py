"""Small data sets that are there at once: those that come with scikit-learn, starts of episodes, and tasks."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt

from tfrun import register
from tfrun.data.table import Table


@register.dataset("diabetes")
def diabetes() -> Table:
    """442 patients: age, sex, body mass index, blood pressure, six blood values; the disease's progress a year later.

    Regression. `sex` is a text column, "1" or "2", as the source codes it.

    Source: Efron et al., "Least angle regression", 2004; scikit-learn's `load_diabetes(scaled=False)`.
    """
    from sklearn.datasets import load_diabetes  # here: it takes a second, and the catalog may import this module

    data = load_diabetes(scaled=False)
    columns = {name: data.data[:, k].astype("float64") for k, name in enumerate(data.feature_names)}
    columns["sex"] = np.array([str(int(value)) for value in columns["sex"]], dtype=object)
    return Table(columns, data.target.astype("float64"), "progression", "regression", "scikit-learn's diabetes")


@register.dataset("digits")
def digits() -> Table:
    """1797 handwritten digits: column `image` (8, 8), from 0 to 1; the classes are "0" to "9".

    Classification.

    Source: Alpaydin and Kaynak, 1998; scikit-learn's `load_digits`.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    columns = {"image": data.images / 16.0}
    labels = np.array([str(label) for label in data.target], dtype=object)
    return Table(columns, labels, "digit", "classification", "scikit-learn's digits")


@register.dataset("episodes")
def episodes(rows: Annotated[int, Gt(9)] = 4096, observation_size: Annotated[int, Gt(0)] = 4, seed: int = 0) -> Table:
    """The starts of episodes: column `start` (observation_size,), each number from −0.05 to 0.05; the target is 0.

    For algorithm=reinforce. A row is where `cartpole` starts, and the seed of an episode of Gymnasium's.

    Args:
        rows: how many.
        observation_size: how many numbers the environment shows.
        seed: which ones.
    """
    starts = np.random.default_rng(seed).uniform(-0.05, 0.05, (rows, observation_size))
    return Table({"start": starts}, np.zeros(rows), "none", "regression", "episodes")


@register.dataset("sinusoids")
def sinusoids(rows: Annotated[int, Gt(9)] = 20000, points: Annotated[int, Gt(0)] = 10, seed: int = 0) -> Table:
    """Tasks: column `points` (2·points, 2), each an x from −5 to 5 and amplitude·sin(x − phase); the target is 0.

    The amplitude is from 0.1 to 5 and the phase from 0 to π, another of either for each task. The first half of the
    points is the support set, the other half the query set. For algorithm=maml.

    Source: Finn et al., "Model-agnostic meta-learning", 2017, section 5.1.

    Args:
        rows: how many tasks.
        points: the size of each of the two sets.
        seed: which ones.
    """
    random = np.random.default_rng(seed)
    amplitude, phase = random.uniform(0.1, 5.0, (rows, 1)), random.uniform(0.0, np.pi, (rows, 1))
    x = random.uniform(-5.0, 5.0, (rows, 2 * points))
    tasks = np.stack([x, amplitude * np.sin(x - phase)], axis=-1)
    return Table({"points": tasks}, np.zeros(rows), "none", "regression", "sinusoids")
