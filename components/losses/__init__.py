"""Losses: `call(y_true, y_pred)` gives one value per example, (B,); the engine weighs and averages them.

regression.py: huber, log_cosh, mae, mse, quantile.
classification.py: binary_crossentropy, sparse_categorical_crossentropy.
"""
