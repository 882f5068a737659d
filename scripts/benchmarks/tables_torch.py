"""The wide & deep of the tables' benchmark in PyTorch, its tables updated by rows. Imports no TensorFlow."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.machine import peak_bytes
from benchmarks.tables_data import DIM, TABLES, Batches

WARM_STEPS = 5
STEPS_OF_A_LOOK = 20  # at the clock


class Net(nn.Module):
    """The registered wide_deep; `weights` are those of the Keras model by path."""

    def __init__(self, weights: Mapping[str, torch.Tensor]):
        super().__init__()
        torch.sparse.check_sparse_tensor_invariants.disable()  # the default; said aloud, it isn't warned of
        wide, deep = (weights[path] for path in TABLES)
        self.wide_table = nn.Embedding.from_pretrained(wide, freeze=False, sparse=True)
        self.deep_table = nn.Embedding.from_pretrained(deep, freeze=False, sparse=True)
        self.wide = linear(weights, "wide")
        hidden = [layer for k in (1, 2) for layer in (linear(weights, f"deep/hidden_{k}"), nn.ReLU())]
        self.deep = nn.Sequential(*hidden, linear(weights, "deep/output"))

    def forward(self, numbers: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        deep = self.deep(torch.cat([numbers, self.deep_table(ids).flatten(1)], dim=1))
        return deep + self.wide(numbers) + self.wide_table(ids).sum(1)

    @property
    def tables(self) -> list[nn.Parameter]:
        """The parameters whose gradients are sparse."""
        return [self.wide_table.weight, self.deep_table.weight]

    @property
    def others(self) -> list[nn.Parameter]:
        """All other parameters."""
        return [parameter for name, parameter in self.named_parameters() if "table" not in name]


def linear(weights: Mapping[str, torch.Tensor], name: str) -> nn.Linear:
    """Returns a linear layer with the weights of a Keras kernel (in, out) and its bias, if any."""
    kernel, bias = weights[f"{name}/kernel"], weights.get(f"{name}/bias")
    layer = nn.Linear(kernel.shape[0], kernel.shape[1], bias=bias is not None)
    layer.weight = nn.Parameter(kernel.T.contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer


class Trainer:
    """Trains a net with an optimizer of tfrun's name and values.

    Args:
        net: what to train.
        optimizer: `sgd`, `adagrad`, or `adam`, which is SparseAdam for the tables.
        values: the optimizer's, by Keras' names.
    """

    def __init__(self, net: Net, optimizer: str, values: Mapping[str, float]):
        self.net = net
        self._rate = values["learning_rate"]
        self._epsilon = values.get("epsilon", 1e-7)
        self._num_steps = 0
        self._adam: torch.optim.Adam | None = None
        parameters = [*net.tables, *net.others]
        if optimizer == "sgd":
            self._optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(parameters, self._rate)]
        elif optimizer == "adagrad":
            # Keras adds epsilon under the root, PyTorch beside it: so the accumulators begin with it
            start = values["initial_accumulator_value"] + self._epsilon
            self._optimizers = [torch.optim.Adagrad(parameters, self._rate, initial_accumulator_value=start, eps=0.0)]
        else:
            self._adam = torch.optim.Adam(net.others, self._rate, fused=True)
            self._optimizers = [torch.optim.SparseAdam(net.tables, self._rate, eps=self._epsilon), self._adam]

    def step(
        self, numbers: torch.Tensor, ids: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Trains on a batch; returns its mean loss and the number of rows that it predicts rightly."""
        logits = self.net(numbers, ids)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        loss.backward()
        self._num_steps += 1
        if self._adam:  # Keras adds epsilon before it corrects the second moment; so does SparseAdam
            self._adam.param_groups[0]["eps"] = self._epsilon / math.sqrt(1 - 0.999**self._num_steps)
        for optimizer in self._optimizers:
            optimizer.step()
        with torch.no_grad():
            return loss.detach(), ((logits > 0) == (targets > 0)).sum()


def losses(folder: Path, optimizer: str, values: Mapping[str, float], batch_size: int) -> tuple[float, float]:
    """Trains the check's rows in their order; returns the mean training loss and the validation loss."""
    trainer = Trainer(Net(_tensors(dict(np.load(folder / "weights.npz")))), optimizer, values)
    numbers, ids, targets = _rows(folder / "train")
    total = 0.0
    steps = len(targets) // batch_size
    for k in range(steps):
        rows = slice(k * batch_size, (k + 1) * batch_size)
        total += float(trainer.step(numbers[rows], ids[rows], targets[rows])[0])
    numbers, ids, targets = _rows(folder / "val")
    with torch.no_grad():
        val_loss = nn.functional.binary_cross_entropy_with_logits(trainer.net(numbers, ids), targets)
    return total / steps, float(val_loss)


def measure(
    folder: Path,
    optimizer: str,
    values: Mapping[str, float],
    *,
    batch_size: int,
    seconds: float,
    num_threads: list[int],
) -> dict[int, dict[str, Any]]:
    """Trains the rows in random order for some seconds with each number of threads; returns what it measured."""
    others = dict(np.load(folder / "others.npz"))
    num_rows = int(others.pop("table_rows"))
    tables = dict(
        zip(TABLES, (torch.zeros(num_rows, 1), torch.empty(num_rows, DIM).uniform_(-0.05, 0.05)), strict=True)
    )
    trainer = Trainer(Net(_tensors(others) | tables), optimizer, values)
    rows = _rows(folder / "train")
    measured = {}
    for threads in num_threads:
        torch.set_num_threads(threads)
        _train(trainer, rows, batch_size=batch_size, seconds=0.0)
        started, cpu_started = time.perf_counter(), time.process_time()
        steps = _train(trainer, rows, batch_size=batch_size, seconds=seconds)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        measured[threads] = {"steps_per_second": steps / wall, "cpu_ms": 1000 * cpu / steps}
    for values_of_threads in measured.values():
        values_of_threads["peak_mb"] = peak_bytes() / 1e6
    return measured


def _train(trainer: Trainer, data: list[torch.Tensor], *, batch_size: int, seconds: float) -> int:
    """Trains for some seconds, and WARM_STEPS steps at least; returns the number of steps."""
    ends = time.perf_counter() + seconds
    totals = torch.zeros(2, dtype=torch.float64)
    order = torch.randperm(len(data[0]))
    steps = 0
    while steps < WARM_STEPS or time.perf_counter() < ends:
        for _ in range(STEPS_OF_A_LOOK if seconds else WARM_STEPS):
            start = steps * batch_size % (len(order) - batch_size + 1)
            rows = order[start : start + batch_size]
            totals += torch.stack(trainer.step(*(array[rows] for array in data)))
            steps += 1
    totals.tolist()
    return steps


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {path: torch.from_numpy(array) for path, array in arrays.items()}


def _rows(folder: Path) -> list[torch.Tensor]:
    batches = Batches.load(folder)
    return [torch.from_numpy(array) for array in (batches.numbers, batches.ids, batches.targets)]
