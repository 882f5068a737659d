"""Data: raw rows, splits, and how columns become arrays."""
