"""Small data sets that come with scikit-learn: nothing to download."""

from __future__ import annotations

import numpy as np

from tfrun import register
from tfrun.table import Table


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
