"""Losses: `call(y_true, y_pred)` gives one value per example, (B,); the engine weighs and averages them.

regression.py: huber, log_cosh, mae, mse, quantile.
adversarial.py: wasserstein.
classification.py: binary_crossentropy, focal, sparse_categorical_crossentropy.
combined.py: per_output, weighted_sum.
"""
