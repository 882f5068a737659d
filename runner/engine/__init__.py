"""Compiled training: the one room, beside the components, where TensorFlow is imported."""

from tfrun.compiled import keep_compiled

keep_compiled()  # before TensorFlow is imported
