"""Optimizers: Keras' own, with typed parameters. Clipping, accumulation and averaging are the engine's.

keras_optimizers.py: adadelta, adafactor, adagrad, adam, adamax, adamw, ftrl, lamb, lion, muon, nadam, rmsprop, sgd.
momentum.py: momentum, by hand.
"""
