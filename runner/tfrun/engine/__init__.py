"""Compiled training: the one room, beside the components, where TensorFlow is imported."""

from tfrun.files.xla_cache import keep_compiled

keep_compiled()  # before TensorFlow is imported
