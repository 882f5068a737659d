"""Defines `tfrecord`, a data set in files of TFRecord with `tf.train.Example`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import pyarrow as pa
from annotated_types import Gt

from tfrun import register
from tfrun.components.datasets.arrow_file import ArrowFile
from tfrun.components.datasets.arrow_types import Kind, UnusableError
from tfrun.components.datasets.columns import ColumnOptions, read_table
from tfrun.components.datasets.image_pixels import PILLOW_VERSION, PixelFormat
from tfrun.components.datasets.paths import files_of, versions
from tfrun.components.datasets.pieces import read_pieces
from tfrun.components.datasets.tf_example import DecodeError, example_class
from tfrun.components.datasets.tf_features import Feature, guess
from tfrun.components.datasets.tfrecord_file import Record, read_records, unpacked_bytes
from tfrun.config.column_kinds import ImageKind
from tfrun.data.pieces import Keep, RowPieces
from tfrun.data.store import Stores
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, as_typed

ENDINGS = (".tfrecord", ".tfrecords", ".tfrec", ".gz")  # of the files in a folder
GUESSED_RECORDS = 100
BATCH_BYTES = 2**22  # of records, with the pixels of their images
MAX_BATCH_RECORDS = 4096
FRAME_BYTES = 16  # of a record in a file, beside its content
FLOAT_BYTES = 4  # of an encoded pixel


@register.dataset("tfrecord")
def tfrecord(
    path: str | list[str],
    target: str | list[str],
    features: dict[str, Any] | None = None,
    size: tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]] = (64, 64),
    channels: Literal[3, 1] = 3,
    resize: Literal["stretch", "crop", "pad"] = "stretch",
    task: Literal["auto", "regression", "classification"] = "auto",
    columns: list[str] | None = None,
    exclude: list[str] | None = None,
    text_columns: list[str] | None = None,
    max_categories: Annotated[int, Gt(0)] = 1000,
    missing: list[str] | None = [],  # noqa: B006 (the catalog reads literal defaults; never changed)
    text_encodings: Mapping[str, Mapping[str, Any]] = {},  # noqa: B006
    column_kinds: Mapping[str, str] = {},  # noqa: B006
    rows_only: bool = False,
    trained_columns: TrainedColumns | None = None,
    stores: Stores | None = None,
    in_pieces: Keep | None = None,
) -> Table | RowPieces:
    """Reads TFRecord files of `tf.train.Example`, compressed by gzip or not; the checksum of every record is checked.

    A feature of one value is a column of numbers or texts, in which an example without the feature is missing. One of
    several is an array. Encoded images, of the formats of data=images, are decoded once.

    Args:
        path: the file, relative to the folder that the command runs in; or a folder of files, a pattern such as
            'train-*.tfrecord', or a list of these. The rows of several files follow each other by the files' names.
        target: the feature to predict, or several for model=multi_task, the main one first. For examples without a
            target see data.missing_target.
        features: what each feature holds, for example {x: {dtype: float32, shape: [8]}, town: {dtype: string}}; others
            aren't read. The types are string, bool, float32, float64, int8 to uint64, and image for an encoded one;
            numbers may be written as their bytes. null guesses from the first 100 records.
        size: height and width that each image gets.
        channels: of images, 3 for colour, 1 for grey.
        resize: stretch images, or crop to the middle, or pad with black, if height and width are in another ratio.
        task: "auto" is classification for a target of texts or bools and for one of only 0 and 1, and regression for
            other numbers (whole numbers may be counts or grades as well as classes).
        columns: the features to learn from; null takes all except the target.
        exclude: features to leave out.
        text_columns: features that are numbers and names of something, for example postal codes.
        max_categories: the largest number of different values of a feature of texts that data.text doesn't name.
        missing: more values that count as missing, for example ['-999', x]; null: in a target of texts, only the empty
            one does.
        text_encodings: the encodings of the columns that the config makes texts; set by the engine.
        column_kinds: the kinds of the columns that the config names; set by the engine.
        rows_only: whether to read rows without a target; set by the engine.
        trained_columns: the columns of the run that the rows are for; set by the engine. Then the files may have
            further features, and columns, exclude, text_columns, max_categories and task don't matter.
        stores: where columns are kept that are too large for the memory; set by the engine.
        in_pieces: the columns to keep if the rows are wanted a piece at a time; set by the engine.

    Raises:
        DataError: a file or a record of it can't be used; the message names the file, the record and the feature.
        ResourceError: a file may not be read.
    """
    options = ColumnOptions(
        target=target,
        task=task,
        columns=columns,
        exclude=exclude,
        text_columns=text_columns,
        max_categories=max_categories,
        missing=missing,
        text_encodings=text_encodings,
        kinds=column_kinds,
        rows_only=rows_only,
        trained=trained_columns,
        stores=stores,
    )
    files = TfRecordFiles.open(path, features, options=options, pixels=PixelFormat(*size, channels, resize))

    def with_kinds(table: Table) -> Table:
        return replace(table, kinds={name: ImageKind() for name in table.columns if files.holds_images(name)})

    if in_pieces is not None:
        return read_pieces(files, options, in_pieces).map(with_kinds)
    return with_kinds(read_table(files, options))


class TfRecordFiles(ArrowFile):
    """The examples of several files, one after the other; `open` creates one.

    Args:
        path: data.path.
        files: the files.
        features: what the features hold.
        not_guessed: for each feature that can't be guessed why not.
        record_bytes: about the size of a record.
        options: the config's.
    """

    def __init__(
        self,
        path: str,
        files: Sequence[str],
        *,
        features: Mapping[str, Feature],
        not_guessed: Mapping[str, str],
        record_bytes: float,
        options: ColumnOptions,
    ):
        super().__init__(path, pa.schema([(name, feature.type) for name, feature in features.items()]), options)
        self.header = sorted([*features, *not_guessed]) if not_guessed else list(features)
        self._files = files
        self._features = features
        self._not_guessed = not_guessed
        self._record_bytes = record_bytes
        self._is_reading = False
        self._starts = [0]  # the first row of each file that was counted or read so far, and of the one after it

    @classmethod
    def open(
        cls, path: str | list[str], features: Mapping[str, Any] | None, *, options: ColumnOptions, pixels: PixelFormat
    ) -> TfRecordFiles:
        """Finds the files, and guesses their features if those aren't given.

        Args:
            path: data.path.
            features: data.features.
            options: the config's.
            pixels: what images become.

        Raises:
            DataError: there is no such file, a record is corrupt, or `features` isn't a description of features.
            ResourceError: a file may not be read.
        """
        files = files_of(path, ENDINGS)
        known = {name: Feature.from_config(name, value, pixels) for name, value in (features or {}).items()}
        pairs = itertools.islice((pair for file in files for pair in _records(file)), GUESSED_RECORDS)
        needs_records = features is None or any(feature.pixels for feature in known.values())
        records = list(pairs) if needs_records else []
        known = {name: feature.as_bag() if name in options.bags else feature for name, feature in known.items()}
        not_guessed: dict[str, str] = {}
        if features is None:
            examples = [_parse(file, record) for file, record in records]
            if not examples:
                raise DataError(f"data.path: {', '.join(files)} has no records")
            known, not_guessed = guess(examples, pixels, bags=options.bags)
        name = files[0] if len(files) == 1 else path if isinstance(path, str) else ", ".join(path)
        record_bytes = sum(len(record.content) + FRAME_BYTES for _, record in records) / max(1, len(records))
        return cls(
            name, files, features=known, not_guessed=not_guessed, record_bytes=record_bytes or 1.0, options=options
        )

    def holds_images(self, name: str) -> bool:
        """Returns whether a feature is one of encoded images."""
        return name in self._features and self._features[name].pixels is not None

    @property
    def known_cells(self) -> list[str]:
        return [name for name in self._features if not self.holds_images(name)]

    def kind(self, name: str, schema: pa.Schema | None = None) -> Kind:
        if name in self._not_guessed:
            raise DataError(
                f"{self.path}, column {name!r}: can't be guessed: {self._not_guessed[name]}. Describe the features in "
                f"data.features, such as {{{name}: {{dtype: uint8, shape: [28, 28]}}}}, or leave it out: "
                f"{as_typed('data.exclude', [name])}"
            )
        return super().kind(name, schema)

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        self._starts, self._is_reading = [0], True
        for file in self._files:
            num_rows = 0
            for records in _blocks(file, self._pixel_bytes(names)):
                examples = [_parse(file, record) for record in records]
                cells = [self._column(name, examples, file=file, first=num_rows) for name in names]
                num_rows += len(records)
                yield pa.RecordBatch.from_arrays(cells, names=list(names))
            self._starts.append(self._starts[-1] + num_rows)
        self._is_reading = False

    def _column(self, name: str, examples: Sequence[Mapping[str, Any]], *, file: str, first: int) -> pa.Array:
        """Returns a feature of a block of examples, the first of which is the file's record `first`."""
        try:
            return self._features[name].column([example.get(name) for example in examples])
        except UnusableError as error:
            where = f"{file}: record {first + (error.row or 0)}"
            hint = " Describe the features in data.features" if first + (error.row or 0) >= GUESSED_RECORDS else ""
            raise DataError(f"{where}, column {name!r}: {error}.{hint}") from None

    def identity(self) -> dict[str, Any]:
        features = {name: [feature.dtype, list(feature.shape)] for name, feature in self._features.items()}
        decoding = {name: asdict(feature.pixels) for name, feature in self._features.items() if feature.pixels}
        # decoders of different versions may differ in a bit
        images = {"images": decoding, "pillow": PILLOW_VERSION} if decoding else {}
        return {"reader": "tfrecord", "files": versions(self._files), "features": features, **images}

    def num_bytes(self, names: Sequence[str]) -> float:
        """Returns the size of the files, since reading any feature takes as long as reading all, and of the pixels."""
        size = sum(unpacked_bytes(file) for file in self._files)
        return size + self._pixel_bytes(names) * size / self._record_bytes

    def memory_bytes(self, names: Sequence[str]) -> float:
        """Returns about half of what the columns need in memory, raw and encoded; pixels become floats."""
        size = sum(unpacked_bytes(file) for file in self._files)
        return size + self._pixel_bytes(names) * (1 + FLOAT_BYTES) / 2 * size / self._record_bytes

    def _pixel_bytes(self, names: Sequence[str]) -> int:
        """Returns the size of the pixels of a record's images."""
        return sum(math.prod(self._features[name].shape) for name in names if self.holds_images(name))

    def find(self, row: int, name: str | None = None) -> tuple[str, str | None]:
        for place, file in enumerate(self._files):
            if len(self._starts) == place + 1 and not self._is_reading:
                self._starts.append(self._starts[-1] + sum(1 for _ in read_records(file)))
            if len(self._starts) == place + 1 or row < self._starts[place + 1]:
                return f"{file}: record {row - self._starts[place]}", None
        return self.path, None


def _records(file: str) -> Iterator[tuple[str, Record]]:
    for record in read_records(file):
        yield file, record


def _blocks(file: str, pixel_bytes: int) -> Iterator[list[Record]]:
    """Yields the records of a file, some at a time; `pixel_bytes` is the size of the decoded images of one."""
    block: list[Record] = []
    size = 0
    for record in read_records(file):
        block.append(record)
        size += len(record.content) + pixel_bytes
        if size >= BATCH_BYTES or len(block) >= MAX_BATCH_RECORDS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _parse(file: str, record: Record) -> Mapping[str, Any]:
    """Returns the features of an example by name."""
    try:
        features: Mapping[str, Any] = example_class().FromString(record.content).features.feature
    except DecodeError:
        raise DataError(f"{file}: record {record.number} is no tf.train.Example") from None
    return features
