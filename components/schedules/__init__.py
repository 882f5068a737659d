"""Schedules change learning rates: `schedule(step)` returns the factor on an optimizer group's learning rate.

The factor is a scalar float32 tensor. A function may also take `total_steps` and `steps_per_epoch`. A class may have
`end_epoch(values)`, which receives each epoch's values, and `variables`, which are saved in checkpoints. The learning
rate of a group without a schedule stays constant.

decay.py: cosine, exponential, linear, one_cycle, piecewise. plateau.py: plateau.
"""
