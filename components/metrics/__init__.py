"""Metrics: Keras metrics with float64 totals, so that the result doesn't depend on how rows are split into batches.

A metric offers `update_state(y_true, y_pred, sample_weight)` and `result()`, a scalar. It may have `task`, "regression"
or "classification", which limits it to that task, `higher_is_better`, and `matrix()`, an array that is plotted.

`higher_is_better` of each says which of two values is the better one. A result that isn't defined is NaN: of rows
without weight, or of rows that lack what the metric needs, such as both classes; `undefined_if` says what that is.

regression.py: huber, mae, mape, mse, r2, rmse.
classification.py: accuracy, auc, calibration_error, confusion_matrix, fbeta, log_loss, precision, recall.
"""
