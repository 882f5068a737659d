"""Constraints keep weights in an allowed set: `constraint(w)` returns the allowed tensor nearest to w.

It is called after each update; the result has w's shape and dtype. The constraints of Keras are available by their
names too.

norms.py: max_norm, unit_norm. sign.py: non_negative.
"""
