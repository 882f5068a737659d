"""Schedules: `schedule(step, total_steps)` gives the factor on a group's learning rate. None at all keeps it constant.

decay.py: cosine, exponential, linear, piecewise.
"""
