"""The charts of a run's end, for TensorBoard: those of `tfrun report` under Images, and curves under PR Curves."""

from __future__ import annotations

import logging

import numpy as np

from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference.evaluated_rows import forecasts_of, pictures_of, target_rows
from tfrun.engine.recording import drawing, images
from tfrun.engine.recording.tensorboard import TensorBoard
from tfrun.reports.evaluated_rows import TargetRows
from tfrun.reports.measures import counts_at_thresholds
from tfrun.reports.run_charts import forecast_charts, target_charts

MAX_ROWS = 4_000  # whose predictions are looked at
MAX_NUMBERS = 1_000_000  # rows times outputs
MAX_TARGETS = 4
MAX_CLASSES = 20  # that have a curve of precision and recall each
NUM_IMAGES = 16
NUM_THRESHOLDS = 201
SEED = 0

log = logging.getLogger("tfrun")


def write(pieces: Pieces, board: TensorBoard, *, step: int) -> None:
    """Writes the charts of what a run's best weights predict. What goes wrong is in the log, and ends no run.

    The pictures are of the test rows, as those of `tfrun report`, or of the validation rows if there are none. The
    curves of precision and recall are of the validation rows and of the test rows. Of many rows, some are drawn at
    random.

    Args:
        pieces: the run's; its model has the best weights.
        board: the event files.
        step: the run's last one.
    """
    learns_targets = pieces.parts.step.learns_targets
    if not learns_targets:
        return
    splits = [split for split in ("val", "test") if len(pieces.examples.splits[split])]
    if not splits:
        return
    has_classes = any(target.classes for target in pieces.examples.preprocessing.targets.values())
    try:
        if pieces.examples.windows is not None:
            _draw_forecasts(pieces, board, split=splits[-1], step=step)
            return
        for split in splits if has_classes else splits[-1:]:
            rows = _rows(pieces, split)
            targets = target_rows(pieces, rows, traces=False)[:MAX_TARGETS]
            _write_curves(targets, board, split=split, step=step)
            if split == splits[-1]:
                _draw(targets, board, split=split, step=step, shows_rows=pieces.settings.data.keep_samples)
                _draw_images(pieces, targets[0], board, rows=rows, split=split, step=step)
    except Exception:
        log.warning("the charts of the run's end can't be drawn", exc_info=True)


def _rows(pieces: Pieces, split: str) -> np.ndarray:
    """Returns the numbers of a split's rows, or of some of very many, in their order."""
    rows = pieces.examples.splits[split]
    width = max(len(target.classes) or 1 for target in pieces.examples.preprocessing.targets.values())
    most = max(1, min(MAX_ROWS, MAX_NUMBERS // width))
    if len(rows) > most:
        rows = np.random.default_rng(SEED).choice(rows, most, replace=False)
    return np.sort(rows)


def _write_curves(targets: list[TargetRows], board: TensorBoard, *, split: str, step: int) -> None:
    """Writes a curve for each class against the others; of two classes, for the second one."""
    for target in targets:
        classes = range(1, 2) if len(target.classes) == 2 else range(min(len(target.classes), MAX_CLASSES))
        for k in classes:
            counts = counts_at_thresholds(target.true == k, target.predicted[:, k], NUM_THRESHOLDS)
            if counts is not None:
                about = f"Class {target.classes[k]} of {target.name}, best weights, {len(target.true):,} {split} rows."
                board.write_pr_curve(split, f"{target.name}/{target.classes[k]}", step=step, counts=counts, about=about)


def _draw(targets: list[TargetRows], board: TensorBoard, *, split: str, step: int, shows_rows: bool) -> None:
    for target in targets:
        for chart in target_charts(target, shows_rows=shows_rows):
            if chart.svg:
                png = drawing.png(f"{target.name}: {_inside(chart.head)}, {split} rows", chart.svg)
                of_target = f"{target.name}/" if len(targets) > 1 else ""
                board.write_image(split, f"report/{of_target}{_tag(chart.head)}", step=step, png=png)


def _draw_forecasts(pieces: Pieces, board: TensorBoard, *, split: str, step: int) -> None:
    """Draws the error of each step ahead, and some forecasts, of windows of a series."""
    targets = forecasts_of(pieces, pieces.examples.splits[split], traces=False)[:MAX_TARGETS]
    for target in targets:
        for chart in forecast_charts(target, shows_rows=pieces.settings.data.keep_samples):
            png = drawing.png(f"{target.name}: {_inside(chart.head)}, {split} windows", chart.svg)
            of_target = f"{target.name}/" if len(targets) > 1 else ""
            board.write_image(split, f"report/{of_target}{_tag(chart.head)}", step=step, png=png)


def _draw_images(
    pieces: Pieces, target: TargetRows, board: TensorBoard, *, rows: np.ndarray, split: str, step: int
) -> None:
    """Draws some rows' images with what is true and what is predicted, if the examples are images."""
    if not pieces.settings.data.keep_samples or not target.classes:
        return
    places = np.random.default_rng(SEED).permutation(len(rows))[:NUM_IMAGES]
    shown = pictures_of(pieces.examples, rows, places)
    if shown:
        numbers = np.stack([target.predicted.argmax(axis=1), target.true], axis=1)
        names = [[target.classes[k] for k in numbers[picture.row]] for picture in shown]
        png = images.labeled_images([picture.png for picture in shown], names)
        board.write_image(split, "report/examples", step=step, png=png)


def _inside(head: str) -> str:
    """Returns a head as it stands inside a sentence: `ROC curve`, `confusion matrix`."""
    return head if head[:2].isupper() else head[:1].lower() + head[1:]


def _tag(head: str) -> str:
    return head.lower().replace(" ", "_")
