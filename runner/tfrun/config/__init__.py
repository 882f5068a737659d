"""The config: Hydra composes it, and it is checked against the catalog of components. Imports no TensorFlow."""
