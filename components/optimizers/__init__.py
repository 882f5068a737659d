"""Optimizers: Keras' own, with typed parameters. Clipping, accumulation and averaging are the engine's.

keras_optimizers.py: adagrad, adam, adamax, adamw, ftrl, lion, nadam, rmsprop, sgd.
"""
