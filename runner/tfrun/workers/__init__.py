"""Several processes that train one run together, before and beside TensorFlow's own connections between them."""
