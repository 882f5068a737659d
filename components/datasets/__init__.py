"""Data sets: functions that give a `tfrun.data.table.Table`. Nothing here imports TensorFlow.

csv.py: csv. npz.py: npz. embedded.py: diabetes, digits, episodes,
sinusoids.
"""
