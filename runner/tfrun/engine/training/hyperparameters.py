"""Numbers of the config that are inputs of the program, not constants in it.

So a second trial with another learning rate, loss parameter or decay is the same program: nothing is traced or
compiled again. A component needn't know: it gets an object that is a number to Python and a tensor to TensorFlow.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def _whole(value: float) -> int:
    if value != int(value):
        raise TypeError(f"a whole number is needed. Received: {value}")
    return int(value)


def _arithmetic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the method for an operator: inside of a traced function its result is a tensor."""

    def method(self: Hyperparameter, *others: Any) -> Any:
        return self._apply(function, *others, is_tensor=tf.inside_function())

    return method


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Returns the method for an operator of which the hyperparameter is the right side."""
    return _arithmetic(lambda value, other: function(other, value))


def _comparison(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Returns the method for a comparison: with a number of Python its result decides how a program is built."""

    def method(self: Hyperparameter, other: Any) -> Any:
        return self._apply(function, other, is_tensor=False)

    return method


class Hyperparameter:
    """A number whose value may change between two trials of one program.

    In a function that TensorFlow traces it is the scalar tensor of a variable. Where Python asks for its value, by a
    comparison or by `float()`, it answers, and notes what it was asked and what it said: the program is good for
    another value only where each answer would be the same.
    """

    __array_priority__ = 100  # NumPy leaves arithmetic with it to its own operators

    def __init__(self, value: float):
        self._value = float(value)
        self.variable = keras.Variable(
            value, dtype=keras.config.floatx(), trainable=False, autocast=False, name="hyperparameter"
        )
        self._answers: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = []
        self.is_noting = True

    @property
    def value(self) -> float:
        """Its value now."""
        return self._value

    def fits(self, value: float) -> bool:
        """Returns whether everything that was built with it would be the same with another value."""
        return all(ask(value, *others) == answer for ask, others, answer in self._answers)

    def assign(self, value: float) -> None:
        """Gives it another value, in the programs that were traced with it too."""
        if value != self._value:
            self._value = float(value)
            self.variable.assign(value)

    def _ask(self, ask: Callable[..., Any], *others: Any) -> Any:
        answer = ask(self._value, *others)
        if self.is_noting:
            self._answers.append((ask, others, answer))
        return answer

    def _apply(self, function: Callable[..., Any], *others: Any, is_tensor: bool) -> Any:
        """Calls an operator with a tensor of the value, where asked or where another operand is one; else answers."""
        tensors = [other for other in others if tf.is_tensor(other) or isinstance(other, Hyperparameter)]
        if tensors or is_tensor:
            dtype = next((other.dtype for other in tensors if tf.is_tensor(other)), None)
            return function(self.__tf_tensor__(dtype), *others)
        return self._ask(function, *others)

    def __tf_tensor__(self, dtype: tf.DType | str | None = None, name: str | None = None) -> tf.Tensor:
        wanted = tf.as_dtype(dtype or keras.config.floatx())  # Keras gives a name
        if not (wanted.is_floating or wanted.is_complex):
            raise TypeError(f"a hyperparameter is a {keras.config.floatx()}. Received: dtype {wanted.name}")
        if not tf.inside_function():
            return tf.constant(self._ask(float), dtype or keras.config.floatx())
        tensor = tf.convert_to_tensor(self.variable)
        return tensor if dtype is None else tf.cast(tensor, dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._ask(float), dtype)

    def __float__(self) -> float:
        return self._ask(float)

    def __int__(self) -> int:
        return self._ask(int)

    def __index__(self) -> int:
        return self._ask(_whole)

    def __bool__(self) -> bool:
        return self._ask(bool)

    def __round__(self, digits: int | None = None) -> float:
        return self._ask(round, digits)

    def __trunc__(self) -> int:
        return self._ask(math.trunc)

    def __floor__(self) -> int:
        return self._ask(math.floor)

    def __ceil__(self) -> int:
        return self._ask(math.ceil)

    def __repr__(self) -> str:
        return repr(self._value)

    def __format__(self, spec: str) -> str:
        return format(self._value, spec)

    def __deepcopy__(self, memo: Any) -> Hyperparameter:
        return self

    __hash__ = object.__hash__

    __add__ = _arithmetic(operator.add)
    __sub__ = _arithmetic(operator.sub)
    __mul__ = _arithmetic(operator.mul)
    __truediv__ = _arithmetic(operator.truediv)
    __floordiv__ = _arithmetic(operator.floordiv)
    __mod__ = _arithmetic(operator.mod)
    __pow__ = _arithmetic(operator.pow)

    __radd__ = _reflected(operator.add)
    __rsub__ = _reflected(operator.sub)
    __rmul__ = _reflected(operator.mul)
    __rtruediv__ = _reflected(operator.truediv)
    __rfloordiv__ = _reflected(operator.floordiv)
    __rmod__ = _reflected(operator.mod)
    __rpow__ = _reflected(operator.pow)

    __neg__ = _arithmetic(operator.neg)
    __pos__ = _arithmetic(operator.pos)
    __abs__ = _arithmetic(operator.abs)

    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)
    __eq__ = _comparison(operator.eq)
    __ne__ = _comparison(operator.ne)


numbers.Real.register(Hyperparameter)


class Hyperparameters:
    """A run's hyperparameters, by their path in the config: `loss.delta`."""

    def __init__(self) -> None:
        self._by_path: dict[str, Hyperparameter] = {}

    def wrap(self, where: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a component's parameters with a Hyperparameter in place of each float.

        Args:
            where: the component's path in the config.
            params: its parameters. The floats are those that its annotations or the config say are floats.
        """
        wrapped = dict(params)
        for name, value in params.items():
            if isinstance(value, float):
                self._by_path[f"{where}.{name}"] = wrapped[name] = Hyperparameter(value)
        return wrapped

    def forget(self, where: str) -> None:
        """Unregisters a component's hyperparameters; they become constants of the program."""
        self._by_path = {path: item for path, item in self._by_path.items() if not path.startswith(f"{where}.")}

    @contextmanager
    def not_noting(self) -> Iterator[None]:
        """Stops recording, inside the context, what Python code asks for: nothing of its answers is kept."""
        for item in self._by_path.values():
            item.is_noting = False
        try:
            yield
        finally:
            for item in self._by_path.values():
                item.is_noting = True

    def structure(self, where: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a component's parameters, with "input" in place of the values that are inputs of the program."""
        return {name: "input" if f"{where}.{name}" in self._by_path else value for name, value in params.items()}

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables that hold the values."""
        return [item.variable for item in self._by_path.values()]

    def fit(self, others: Hyperparameters) -> bool:
        """Returns whether a program over these can be used with the others' values."""
        return all(item.fits(others._by_path[path].value) for path, item in self._by_path.items())

    def read(self) -> dict[str, float]:
        """Returns the values by path."""
        return {path: item.value for path, item in self._by_path.items()}

    def assign(self, values: Mapping[str, float]) -> None:
        """Assigns other values, by path."""
        for path, item in self._by_path.items():
            item.assign(values[path])
