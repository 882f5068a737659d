"""Initializers: `initializer(shape, dtype)` gives a new weight's first value. Keras' own go by their names.

by_variance.py: glorot, he.
"""
