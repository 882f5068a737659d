"""Regularizers: `regularizer(w)` gives a scalar that is added to the loss. Keras' own go by their names.

norms.py: l1, l1_l2, l2. orthogonal.py: orthogonal.
"""
