"""The types that data sets return and models receive, under the name that plugins import them by."""

from tfrun.data.table import Features, Table, Target, TrainedColumns

__all__ = ["Features", "Table", "Target", "TrainedColumns"]
