"""Reads arrays out of files of weights, and nothing else: no class, no function, no code."""
