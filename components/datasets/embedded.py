"""Small data sets that need no file: those of scikit-learn, starts of episodes, and tasks."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt

from tfrun import register
from tfrun.data.table import Table


@register.dataset("diabetes")
def diabetes() -> Table:
    """Loads 442 diabetes patients; the target is the progression of the disease after a year, for regression.

    The columns are age, sex, body mass index, blood pressure and six blood values, unscaled. `sex` is a text column
    with the source's codes "1" and "2".

    Source: Efron et al., "Least angle regression", 2004; scikit-learn's `load_diabetes(scaled=False)`.
    """
    from sklearn.datasets import load_diabetes  # here, since it takes a second

    data = load_diabetes(scaled=False)
    columns = {name: data.data[:, k].astype("float64") for k, name in enumerate(data.feature_names)}
    columns["sex"] = np.array([str(int(value)) for value in columns["sex"]], dtype=object)
    return Table(columns, data.target.astype("float64"), "progression", "regression", "scikit-learn's diabetes")


@register.dataset("digits")
def digits() -> Table:
    """Loads 1797 handwritten digits; the target is the digit, "0" to "9", for classification.

    The column `image` is (8, 8) with values from 0 to 1.

    Source: Alpaydin and Kaynak, 1998; scikit-learn's `load_digits`.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    columns = {"image": data.images / 16.0}
    labels = np.array([str(label) for label in data.target], dtype=object)
    return Table(columns, labels, "digit", "classification", "scikit-learn's digits")


@register.dataset("episodes")
def episodes(rows: Annotated[int, Gt(9)] = 4096, observation_size: Annotated[int, Gt(0)] = 4, seed: int = 0) -> Table:
    """Draws starts of episodes: column `start`, (observation_size,), with values from −0.05 to 0.05; the target is 0.

    It is meant for algorithm=reinforce. A row is the first observation of `cartpole`, or the seed of an episode in an
    environment of Gymnasium.

    Args:
        rows: the number of episodes.
        observation_size: the number of values in an observation of the environment.
        seed: the seed of the random numbers.
    """
    starts = np.random.default_rng(seed).uniform(-0.05, 0.05, (rows, observation_size))
    return Table({"start": starts}, np.zeros(rows), "none", "regression", "episodes")


@register.dataset("sinusoids")
def sinusoids(rows: Annotated[int, Gt(9)] = 20000, points: Annotated[int, Gt(0)] = 10, seed: int = 0) -> Table:
    """Draws tasks: column `points`, (2·points, 2), of x from −5 to 5 and amplitude·sin(x − phase); the target is 0.

    Each task has an amplitude from 0.1 to 5 and a phase from 0 to π. The first half of its points is the support set,
    the other half the query set. It is meant for algorithm=maml.

    Source: Finn et al., "Model-agnostic meta-learning", 2017, section 5.1.

    Args:
        rows: the number of tasks.
        points: the number of points in each of the two sets.
        seed: the seed of the random numbers.
    """
    random = np.random.default_rng(seed)
    amplitude = random.uniform(0.1, 5.0, (rows, 1))
    phase = random.uniform(0.0, np.pi, (rows, 1))
    x = random.uniform(-5.0, 5.0, (rows, 2 * points))
    tasks = np.stack([x, amplitude * np.sin(x - phase)], axis=-1)
    return Table({"points": tasks}, np.zeros(rows), "none", "regression", "sinusoids")
