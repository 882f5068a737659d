"""Initializers draw first values: `initializer(shape, dtype)` returns a tensor of that shape and dtype.

One object serves several layers, so each call must draw new values unless a seed is set. A class may have
`variance(fan_in, fan_out)`, the variance that it claims: `tfrun check` compares the drawn values with it. The
initializers of Keras are available by their names too.

by_variance.py: glorot, he.
"""
