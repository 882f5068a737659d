"""The end of a run: its best weights on the test split, and images for TensorBoard."""

from __future__ import annotations

import numpy as np

from tfrun.data.targets import of_output
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference import final_charts
from tfrun.engine.recording import images
from tfrun.engine.recording.record import Record
from tfrun.engine.recording.tensorboard import TensorBoard
from tfrun.engine.recording.undefined_values import UndefinedValues
from tfrun.engine.training.program import Program
from tfrun.files.run_json import RunJson
from tfrun.protocols import MetricOffer, ModelOffer

NUM_GENERATED = 64  # images of a generator


def evaluate_best(
    pieces: Pieces, program: Program, *, run: RunJson, record: Record, undefined: UndefinedValues
) -> None:
    """Evaluates the best weights on the test split, and draws confusion matrices and generated images.

    The checkpoint keeps the state of the last step.

    Args:
        pieces: the run's.
        program: the run's; its model has the best weights afterwards.
        run: the fields of run.json.
        record: the journals to write to.
        undefined: warns of values that aren't defined.
    """
    pieces.load_best(program)
    metrics = pieces.parts.val_metrics
    draws = record.board is not None and any(MetricOffer.of(metric).matrix is not None for metric in metrics.metrics)
    for split in ("val", "test"):
        rows = pieces.examples.splits[split]
        if len(rows) and (split == "test" or draws):
            values = program.evaluate(rows)
            if split == "test":
                record.writer.write_epoch(run["epoch"], run["step"], values={"test": values})
                undefined.report({f"test/{name}": value for name, value in values.items()})
            if record.board is not None:
                _draw_matrices(pieces, program, board=record.board, split=split, step=run["step"])
    if record.board is not None:
        _draw_generated(pieces, record.board, step=run["step"])
        final_charts.write(pieces, record.board, step=run["step"])


def _draw_matrices(pieces: Pieces, program: Program, *, board: TensorBoard, split: str, step: int) -> None:
    metrics, targets = pieces.parts.val_metrics, pieces.examples.preprocessing.targets
    classes = {
        metric.name: of_output(targets, output).classes
        for metric, output in zip(metrics.metrics, metrics.outputs, strict=True)
    }
    for name, counts in program.matrices.items():
        board.write_image(split, name, step=step, png=images.confusion_matrix(counts, classes[name]))


def _draw_generated(pieces: Pieces, board: TensorBoard, *, step: int) -> None:
    """Draws what a generator generates, if its examples are images."""
    model = ModelOffer.of(pieces.parts.model)
    shape = model.example_shape
    if model.generate is not None and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))):
        board.write_image(
            "val", "generated", step=step, png=images.image_grid(np.asarray(model.generate(NUM_GENERATED)))
        )
