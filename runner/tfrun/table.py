"""The types that data sets return and models receive, under the name that plugins import them by."""

from tfrun.data.rows import Rows
from tfrun.data.table import Features, Table, Target, TrainedColumns

__all__ = ["Features", "Rows", "Table", "Target", "TrainedColumns"]
