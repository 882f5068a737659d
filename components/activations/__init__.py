"""Activations: element by element, the result has the shape and dtype of the input. Keras' own go by their names.

leaky_relu.py: leaky_relu. softplus.py: softplus.
"""
