"""Arrays on disk, under the name that plugins import them by."""

from tfrun.data.arrays import StoredArray

__all__ = ["StoredArray"]
