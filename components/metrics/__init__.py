"""Metrics: Keras metrics whose totals are float64, so that the result does not depend on how rows fall into batches.

`higher_is_better` of each says which of two values is the better one.

regression.py: huber, mae, mape, mse, r2, rmse.
classification.py: accuracy, auc, calibration_error, confusion_matrix, fbeta, precision, recall.
"""
