"""Optimizers: each is a function or a class that takes `learning_rate` and returns a Keras optimizer.

Most are those of Keras, with typed parameters. Clipping, gradient accumulation, schedules and weight averaging are done
by the engine.

keras_optimizers.py: adadelta, adafactor, adagrad, adam, adamax, adamw, ftrl, lamb, lion, muon, nadam, rmsprop, sgd.
momentum.py: momentum, by hand.
"""
