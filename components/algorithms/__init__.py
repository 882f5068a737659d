"""Training algorithms: which loss is computed from a batch, and what drives which optimizer group.

supervised.py: supervised.
"""
