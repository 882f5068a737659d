"""Regularizers penalize weights: `regularizer(w)` returns a scalar, which is added to the loss.

The regularizers of Keras are available by their names too.

norms.py: l1, l1_l2, l2. orthogonal.py: orthogonal.
"""
