"""PyTorch's plain loop over resident tensors, from a Keras model's weights. Only the worker's process imports it."""

from __future__ import annotations

import math
import time

import torch
from torch import nn

from benchmarks.machine import peak_bytes
from benchmarks.torch_task import Arrays, Task, Weights, numbered

EVALUATION_ROWS = 1024


def dense(weights: Weights, name: str) -> nn.Linear:
    """Returns a linear layer with the weights of a Keras kernel (in, out) and its bias, if any."""
    kernel, bias = weights[f"{name}/kernel"], weights.get(f"{name}/bias")
    layer = nn.Linear(kernel.shape[0], kernel.shape[1], bias=bias is not None)
    layer.weight = nn.Parameter(torch.from_numpy(kernel.T).contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(bias))
    return layer


def convolution(weights: Weights, name: str) -> nn.Conv2d:
    """Returns a convolution with the weights of a Keras kernel (height, width, in, out) and its bias."""
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2], padding="same")
    layer.weight = nn.Parameter(torch.from_numpy(kernel.transpose(3, 2, 0, 1)).contiguous())
    layer.bias = nn.Parameter(torch.from_numpy(bias))
    return layer


def mlp(weights: Weights) -> nn.Module:
    """Builds the registered mlp."""
    hidden = [layer for name in numbered(weights, "hidden") for layer in (dense(weights, name), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, dense(weights, "output"))


class WideDeep(nn.Module):
    """The registered wide_deep, for numeric columns only."""

    def __init__(self, weights: Weights):
        super().__init__()
        self.wide = dense(weights, "wide")
        self.deep = mlp({path.removeprefix("deep/"): w for path, w in weights.items() if path.startswith("deep/")})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(x) + self.deep(x)


class Skip(nn.Sequential):
    """A residual block: z + h(z)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


def residual_mlp(weights: Weights) -> nn.Module:
    """Builds the registered residual_mlp."""
    blocks = [
        Skip(*(layer for name in numbered(weights, f"{block}_hidden") for layer in (dense(weights, name), nn.ELU())))
        for block in numbered(weights, "block")
    ]
    return nn.Sequential(nn.Flatten(), dense(weights, "entry"), nn.ELU(), *blocks, dense(weights, "output"))


def cnn(weights: Weights) -> nn.Module:
    """Builds the registered cnn; reorders the dense layer's rows, since channels-first images flatten differently."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, -1))]
    names = numbered(weights, "convolution")
    for name in names:
        layers += [convolution(weights, name), nn.ReLU(), nn.MaxPool2d(2)]
    channels = len(weights[f"{names[-1]}/bias"])
    rows, units = weights["dense/kernel"].shape
    side = math.isqrt(rows // channels)
    kernel = weights["dense/kernel"].reshape(side, side, channels, units).transpose(2, 0, 1, 3).reshape(rows, units)
    flat = dense(weights | {"dense/kernel": kernel}, "dense")
    return nn.Sequential(*layers, nn.Flatten(), flat, nn.ReLU(), dense(weights, "output"))


NETS = {"wide_deep": WideDeep, "residual_mlp": residual_mlp, "mlp": mlp, "cnn": cnn}
LOSSES = {"huber": nn.HuberLoss, "sparse_categorical_crossentropy": nn.CrossEntropyLoss}


class Trainer:
    """The loop as people write it, with metrics and validation after each epoch; on a GPU if PyTorch finds one."""

    def __init__(self, task: Task):
        torch.set_num_threads(task.num_threads)
        torch.backends.cudnn.allow_tf32 = False  # the others compute in float32 too
        self.task = task
        self.started = time.perf_counter()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.classifies = task.loss == "sparse_categorical_crossentropy"
        self.net = NETS[task.model](task.weights).to(self.device)
        self.loss = LOSSES[task.loss]()
        self.optimizer = torch.optim.Adam(
            self.net.parameters(),
            task.adam["learning_rate"],
            (task.adam["beta_1"], task.adam["beta_2"]),
            fused=True,  # its fastest, on a CPU too
        )
        self.num_steps = 0
        self.train = self.placed(task.train)
        self.val = self.placed(task.val)

    def placed(self, data: Arrays) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the rows on the device."""
        x, y = (torch.from_numpy(array).to(self.device) for array in data)
        return x, y[:, 0].long() if self.classifies else y

    def step(self, x: torch.Tensor, y: torch.Tensor, totals: torch.Tensor) -> None:
        """Trains on one batch."""
        y_pred = self.net(x)
        loss = self.loss(y_pred, y)
        self.optimizer.zero_grad()
        loss.backward()
        self.set_epsilon()
        self.optimizer.step()
        with torch.no_grad():
            self.add(y, y_pred, loss, totals)

    def set_epsilon(self) -> None:
        """Makes PyTorch's Adam the same as Keras', whose epsilon is added before the second moment is corrected."""
        self.num_steps += 1
        (group,) = self.optimizer.param_groups
        group["eps"] = self.task.adam["epsilon"] / math.sqrt(1 - self.task.adam["beta_2"] ** self.num_steps)

    def add(self, y: torch.Tensor, y_pred: torch.Tensor, loss: torch.Tensor, totals: torch.Tensor) -> None:
        """Adds a batch's loss and metrics to the totals."""
        if self.classifies:
            totals += torch.stack([loss * len(y), (y_pred.argmax(1) == y).sum()])
        else:
            error = y_pred - y
            totals += torch.stack([loss * len(y), error.abs().sum(), error.square().sum()])

    def zeros(self) -> torch.Tensor:
        """Returns new totals: the loss', and one for each metric."""
        return torch.zeros(2 if self.classifies else 3, dtype=torch.float64, device=self.device)

    def epochs(self, x: torch.Tensor, y: torch.Tensor, *, num_epochs: int, shuffle: bool) -> list[float]:
        """Trains and validates; returns the totals of the last validation."""
        size = self.task.batch_size
        for _ in range(num_epochs):
            totals = self.zeros()
            order = (torch.randperm if shuffle else torch.arange)(len(y), device=self.device)
            for k in range(len(y) // size):
                rows = order[k * size : (k + 1) * size]
                self.step(x[rows], y[rows], totals)
            totals.tolist()  # waits for the device
            val = self.validate()
        return val

    @torch.no_grad()
    def validate(self) -> list[float]:
        """Returns the totals over the validation rows, the loss' first."""
        totals = self.zeros()
        for x, y in zip(*(part.split(EVALUATION_ROWS) for part in self.val), strict=True):
            y_pred = self.net(x)
            self.add(y, y_pred, self.loss(y_pred, y), totals)
        return totals.tolist()

    def val_loss_after_first_epoch(self) -> float:
        """Trains on the first epoch's rows in their order; returns the mean validation loss."""
        x, y = self.placed(self.task.first_epoch)
        return self.epochs(x, y, num_epochs=1, shuffle=False)[0] / len(self.val[1])

    def seconds(self, num_epochs: int) -> float:
        """Returns the seconds that the epochs take."""
        started = time.perf_counter()
        self.epochs(*self.train, num_epochs=num_epochs, shuffle=True)
        return time.perf_counter() - started

    def first_step_seconds(self) -> float:
        """Trains one step; returns the seconds since the start of building."""
        totals = self.zeros()
        size = self.task.batch_size
        self.step(self.train[0][:size], self.train[1][:size], totals)
        totals.tolist()  # waits for the device
        return time.perf_counter() - self.started

    def memory(self) -> tuple[int, int | None]:
        """Returns the peak memory in bytes: the process', and the GPU's, if any."""
        on_gpu = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
        return peak_bytes(), on_gpu
