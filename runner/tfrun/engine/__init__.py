"""Trains, evaluates, exports and checks. Its modules import TensorFlow, which importing the package alone doesn't."""

from tfrun.files.xla_cache import keep_compiled

keep_compiled()  # before TensorFlow is imported
