"""Tries a config out before a run: learning rates, batch sizes. Nothing is written."""
