"""Makes tables of what functions return that are no files: frames, and iterables of rows or batches.

returned.py: what a data set has returned, as a table. recognize.py: tells iterables apart, by their methods, since
nothing here imports TensorFlow, pandas or Grain. collect.py: reads an iterable into arrays. memory_columns.py: columns
in memory, which mean what those of a Parquet file mean.
"""

from tfrun.data.adapters.returned import Call, ReturnedRows

__all__ = ["Call", "ReturnedRows"]
