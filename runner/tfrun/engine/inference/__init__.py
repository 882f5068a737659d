"""Trained runs: evaluation, prediction, export."""
