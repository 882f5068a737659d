"""The types that data sets return and models receive, under the name that plugins import them by."""

from tfrun.data.table import Features, Table, Target

__all__ = ["Features", "Table", "Target"]
