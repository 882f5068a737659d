"""Activations work element by element: `activation(x)` returns a tensor of x's shape and dtype.

A class may have an attribute `initializer`, which names the kernel initializer that suits it. The activations of Keras
are available by their names too.

leaky_relu.py: leaky_relu. softplus.py: softplus.
"""
