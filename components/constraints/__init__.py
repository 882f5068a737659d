"""Constraints: `constraint(w)` gives the allowed weight nearest to w, after each update. Keras' own go by their names.

norms.py: max_norm, unit_norm. sign.py: non_negative.
"""
