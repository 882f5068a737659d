"""Losses: `call(y_true, y_pred)` returns one value per example, (B,); the engine weights and averages them.

A loss is a `keras.losses.Loss` or a function. It may have `task`, "regression" or "classification", which limits it to
that task, and `takes_all_outputs = True`, with which `y_pred` is a mapping from the model's output names to tensors.

regression.py: huber, log_cosh, mae, mse, quantile.
adversarial.py: wasserstein.
classification.py: binary_crossentropy, focal, sparse_categorical_crossentropy.
combined.py: per_output, weighted_sum.
"""
