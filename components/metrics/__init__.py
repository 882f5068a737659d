"""Metrics: Keras metrics whose totals are float64, so that the result does not depend on how rows fall into batches.

regression.py: huber, mae, mape, mse, r2, rmse.
classification.py: accuracy, auc, calibration_error, confusion_matrix, fbeta, precision, recall.
"""
