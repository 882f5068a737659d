"""Trains, evaluates, exports and checks: the package that, with `components`, imports TensorFlow."""

from tfrun.files.xla_cache import keep_compiled

keep_compiled()  # before TensorFlow is imported
