"""Compiled training: the one room, beside the components, where TensorFlow is imported."""
