"""Data sets: functions that give a `tfrun.table.Table`. Nothing here imports TensorFlow.

csv.py: csv. npz.py: npz. embedded.py: diabetes, digits, episodes,
sinusoids.
"""
