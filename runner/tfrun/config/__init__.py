"""The config: composed by Hydra, checked against the catalog of components. Imports no TensorFlow."""
