"""Numbers of the config that are inputs of the program, not constants in it.

So a second trial with another learning rate, loss parameter or decay is the same program: nothing is traced or
compiled again. A component needn't know of it: it gets an object that is a number to Python and a tensor to TensorFlow.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf


def _to_int(value: float) -> int:
    """Returns a whole number as an int. Raises TypeError for any other number."""
    if value != int(value):
        raise TypeError(f"a whole number is needed. Received: {value}")
    return int(value)


def _arithmetic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the method for an operator: inside a traced function its result is a tensor."""

    def method(self: Hyperparameter, *others: Any) -> Any:
        return self._apply(function, *others, is_tensor=tf.inside_function())

    return method


def _reflected(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Returns the method for an operator whose right operand is the hyperparameter."""
    return _arithmetic(lambda value, other: function(other, value))


def _comparison(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Returns the method for a comparison: with a Python number its result decides how a program is built."""

    def method(self: Hyperparameter, other: Any) -> Any:
        return self._apply(function, other, is_tensor=False)

    return method


class _Read(NamedTuple):
    """What Python has computed from a hyperparameter's value and other operands."""

    function: Callable[..., Any]
    operands: tuple[Any, ...]
    result: Any


class Hyperparameter:
    """A number whose value may change between two trials of one program.

    In a function that TensorFlow traces it is the scalar tensor of a variable. Where Python reads its value, by a
    comparison or by `float()`, the read and its result are recorded: the program is valid for another value only if
    all recorded reads would have the same results.

    Args:
        value: the number.
        dtype: of its tensor, unless the other operand's tensor has another one; None is Keras' floatx.

    Attributes:
        variable: holds the value for traced functions, a scalar.
        is_recording: whether reads are recorded.
    """

    __array_priority__ = 100  # NumPy leaves arithmetic with it to its own operators

    def __init__(self, value: float, dtype: str | None = None):
        self._value = float(value)
        self._dtype = dtype or keras.config.floatx()
        self.variable = keras.Variable(value, dtype=self._dtype, trainable=False, autocast=False, name="hyperparameter")
        self._reads: list[_Read] = []
        self.is_recording = True

    @property
    def value(self) -> float:
        """The value at present."""
        return self._value

    def accepts(self, value: float) -> bool:
        """Returns whether everything that was built with the hyperparameter would be the same with another value."""
        return all(read.function(value, *read.operands) == read.result for read in self._reads)

    def assign(self, value: float) -> None:
        """Assigns another value, which the programs that were traced with the hyperparameter use too."""
        if value != self._value:
            self._value = float(value)
            self.variable.assign(value)

    def _read(self, function: Callable[..., Any], *others: Any) -> Any:
        """Returns what a function computes from the value and other operands, and records the read."""
        result = function(self._value, *others)
        if self.is_recording:
            self._reads.append(_Read(function, others, result))
        return result

    def _apply(self, function: Callable[..., Any], *others: Any, is_tensor: bool) -> Any:
        """Calls an operator: on the tensor of the value if `is_tensor` or if another operand is one, else on a read."""
        tensors = [other for other in others if tf.is_tensor(other) or isinstance(other, Hyperparameter)]
        if tensors or is_tensor:
            dtype = next((other.dtype for other in tensors if tf.is_tensor(other)), None)
            return function(self.__tf_tensor__(dtype), *others)
        return self._read(function, *others)

    def __tf_tensor__(self, dtype: tf.DType | str | None = None, name: str | None = None) -> tf.Tensor:
        wanted = tf.as_dtype(dtype or self._dtype)  # Keras passes the name of a dtype
        if not (wanted.is_floating or wanted.is_complex):
            raise TypeError(f"a hyperparameter is a {self._dtype}. Received: dtype {wanted.name}")
        if not tf.inside_function():
            return tf.constant(self._read(float), wanted)
        tensor = tf.convert_to_tensor(self.variable)
        return tensor if dtype is None else tf.cast(tensor, dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._read(float), dtype)

    def __float__(self) -> float:
        return self._read(float)

    def __int__(self) -> int:
        return self._read(int)

    def __index__(self) -> int:
        return self._read(_to_int)

    def __bool__(self) -> bool:
        return self._read(bool)

    def __round__(self, digits: int | None = None) -> float:
        return self._read(round, digits)

    def __trunc__(self) -> int:
        return self._read(math.trunc)

    def __floor__(self) -> int:
        return self._read(math.floor)

    def __ceil__(self) -> int:
        return self._read(math.ceil)

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


class LearntInput:
    """Numbers that a run has learnt from its training rows, as an input of the program.

    So the runs of a cross-validation, whose training rows differ, share a program. Only traced functions read them.

    Args:
        value: a number, or an array of them.
        dtype: of the variable.

    Attributes:
        variable: holds the numbers.
    """

    def __init__(self, value: Any, dtype: str):
        self._value = np.array(value, dtype)
        self.variable = keras.Variable(self._value, dtype=dtype, trainable=False, autocast=False, name="learnt")

    @property
    def value(self) -> np.ndarray:
        """The numbers at present."""
        return self._value

    def accepts(self, value: np.ndarray) -> bool:
        """Returns whether a program is valid for other numbers: their shape is the same."""
        return self._value.shape == value.shape

    def assign(self, value: np.ndarray) -> None:
        """Assigns other numbers."""
        if not np.array_equal(value, self._value):
            self._value = value
            self.variable.assign(value)

    def read(self, dtype: tf.DType | str) -> tf.Tensor:
        """Returns the numbers as a tensor."""
        return tf.cast(tf.convert_to_tensor(self.variable), dtype)


class Hyperparameters:
    """A run's hyperparameters and what it has learnt, by their path in the config: `loss.delta`."""

    def __init__(self) -> None:
        self._by_path: dict[str, Hyperparameter | LearntInput] = {}

    def wrap(self, where: str, params: Mapping[str, Any], *, dtype: str | None = None) -> dict[str, Any]:
        """Returns a component's parameters with a Hyperparameter in place of each float.

        Args:
            where: the component's path in the config.
            params: its parameters, those that are floats by its annotations or by the config already converted.
            dtype: of the hyperparameters' tensors; None is Keras' floatx.
        """
        wrapped = dict(params)
        for name, value in params.items():
            if isinstance(value, float):
                self._by_path[f"{where}.{name}"] = wrapped[name] = Hyperparameter(value, dtype)
        return wrapped

    def add(self, path: str, learnt: LearntInput) -> None:
        """Registers numbers that the run has learnt, by the path of the config's key that asks for them."""
        self._by_path[path] = learnt

    def forget(self, where: str) -> None:
        """Unregisters a component's hyperparameters; they become constants of the program."""
        prefix = f"{where}."
        self._by_path = {path: value for path, value in self._by_path.items() if not path.startswith(prefix)}

    @contextmanager
    def without_recording(self) -> Iterator[None]:
        """Stops recording reads inside the context, where nothing that depends on them is kept."""
        recording = [value for value in self._by_path.values() if isinstance(value, Hyperparameter)]
        for hyperparameter in recording:
            hyperparameter.is_recording = False
        try:
            yield
        finally:
            for hyperparameter in recording:
                hyperparameter.is_recording = True

    def structure(self, where: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a component's parameters, with "input" in place of the values that are inputs of the program."""
        return {name: "input" if f"{where}.{name}" in self._by_path else value for name, value in params.items()}

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables that hold the values."""
        return [hyperparameter.variable for hyperparameter in self._by_path.values()]

    def accepts(self, values: Mapping[str, Any]) -> bool:
        """Returns whether a program that was traced with these can be used with other values, given by path."""
        return all(hyperparameter.accepts(values[path]) for path, hyperparameter in self._by_path.items())

    def read(self) -> dict[str, Any]:
        """Returns the values by path."""
        return {path: hyperparameter.value for path, hyperparameter in self._by_path.items()}

    def assign(self, values: Mapping[str, Any]) -> None:
        """Assigns other values, by path."""
        for path, hyperparameter in self._by_path.items():
            hyperparameter.assign(values[path])
