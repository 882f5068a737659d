"""Comparisons of runs as tables and HTML pages."""
