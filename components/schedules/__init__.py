"""Schedules: `schedule(step, total_steps)` gives the factor on a group's learning rate. None at all keeps it constant.

A class may have `end_epoch(values)` and `variables`, which are saved: then it sees each epoch's values.

decay.py: cosine, exponential, linear, one_cycle, piecewise. plateau.py: plateau.
"""
