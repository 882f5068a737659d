"""tfrun: a command-line experiment runner for TensorFlow and Keras.

Importing this package never imports TensorFlow or Keras. Only modules of `tfrun.engine` and `tfrun.components` (except
`tfrun.components.datasets`) do, and `tfrun.data.layers`, `tfrun.data.encode` and `tfrun.data.examples`.
"""

if __name__ != "tfrun":  # `import runner` would make a second registry beside the real one
    raise ImportError(f"import it as 'tfrun', not as '{__name__}'")

from tfrun.config.registry import register
from tfrun.config.types import Activation, Constraint, Initializer, Layer, Loss, Regularizer
from tfrun.version import __version__

__all__ = ["Activation", "Constraint", "Initializer", "Layer", "Loss", "Regularizer", "__version__", "register"]
