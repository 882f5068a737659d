"""Sweeps: many jobs from one command line, run in forked worker processes."""
