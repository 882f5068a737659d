"""What runs of one process reuse: the compiled program, the encoded rows, the raw rows.

The next job of a sweep most often has the rows of the one before, and the same structure: then only its numbers
differ, which are inputs of the program, so that nothing is traced or compiled again.

`docs/architecture.md` compares the keys of these caches.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras

from tfrun import host_memory
from tfrun.config.catalog import Catalog
from tfrun.config.data_paths import version_of
from tfrun.config.data_settings import DataSettings
from tfrun.config.settings import Settings
from tfrun.data.examples import Examples
from tfrun.data.table import Table
from tfrun.engine.building import devices
from tfrun.engine.building.assembly import encode_rows, order_and_plan, pieces_over
from tfrun.engine.building.id_ranges import check_ids
from tfrun.engine.building.pieces import Beginning, Pieces
from tfrun.engine.training.modes import Choice
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.program import Program
from tfrun.engine.training.vectorize import Lanes
from tfrun.files import strict_json
from tfrun.files.weights.opened import version_of as version_of_weights
from tfrun.workers.cluster import Cluster

# keys that don't change what a run begins with
NO_PART_OF_BEGINNING = ("name", "output_root", "resume", "tags", "provenance")
BEGINNINGS_BYTES = 2**28  # of the beginnings kept of earlier runs
MAX_STATE_BYTES = 2**29  # of a program that is kept: its variables lie beside those of the next run for a while
FOLDS_SHARE = 0.25  # of the memory for data that the raw rows of all folds may use


class KeptProgram(NamedTuple):
    """The program of the last run.

    Attributes:
        structure: what it was traced for.
        pieces: the pieces over whose variables it was traced, without their data.
        program: the program.
        choices: the modes that were chosen for it, by the config's mode and the plan.
        lanes: those that were made for runs that were trained together, by the number of runs.
        beginnings: the values that its runs began with.
    """

    structure: str
    pieces: Pieces
    program: Program
    choices: dict[tuple[str, Plan], Choice]
    lanes: dict[int, Lanes]
    beginnings: dict[str, Beginning]

    def fits(self, pieces: Pieces, structure: str) -> bool:
        """Returns whether other pieces can use the program: they differ in inputs of it only."""
        is_same = self.structure == structure and pieces.strategy.num_replicas_in_sync == 1
        accepts = is_same and self.pieces.parts.inputs.accepts(pieces.parts.inputs.read())
        return accepts and self.has_model_for(pieces.examples)

    def has_model_for(self, examples: Examples) -> bool:
        """Returns whether the model would be the same for other examples: what it has read of their deciles is."""
        return self.pieces.parts.deciles.accepts(examples.preprocessing.features.numbers)

    def adopt(self, pieces: Pieces, *, streams: bool) -> Pieces:
        """Returns other pieces over this program's variables, which get the values of the other pieces' variables."""
        beginning = pieces.beginning
        if beginning is None:
            beginning = pieces.read_beginning()
            self.remember(_begins_with(pieces.settings, pieces.examples), beginning)
        self.pieces.begin(beginning, pieces.settings)
        self.program.start(pieces.make_feed(streams=streams), pieces.val_rows)
        return replace(
            pieces,
            parts=self.pieces.parts,
            best=self.pieces.best,
            stopper=self.pieces.stopper,
            beginning=beginning,
        )

    def remember(self, key: str, beginning: Beginning) -> None:
        """Keeps the values that a run began with; drops the oldest ones if all are too large together."""
        self.beginnings[key] = beginning
        while sum(kept.num_bytes for kept in self.beginnings.values()) > BEGINNINGS_BYTES:
            del self.beginnings[next(iter(self.beginnings))]


@dataclass
class Reuse:
    """The caches of the runs of one process, at most one entry each."""

    _program: KeptProgram | None = None
    _examples: tuple[Table, str, Examples] | None = None
    _table: tuple[str, Table] | None = None
    _all_folds: tuple[str, Table] | None = None

    def table(self, settings: Settings, read: Callable[[], Table]) -> Table:
        """Returns a run's raw rows: those of the last run, if neither the config nor the files have changed.

        Encoding releases the columns of a table, so it is used again only for runs that need no other encoding of it.
        The folds of a cross-validation are encoded in different ways, each from a copy of a table that is kept for all
        of them, unless that takes too much memory.
        """
        data = settings.data
        rows = _rows_of(data)
        of_run = settings.trainer.precision, version_of(data.to_dict())
        key = _to_json([rows, *of_run])
        if self._table is None or self._table[0] != key:
            self._table = None  # before there are others in memory
            self._table = (key, self._table_of_fold(data, _to_json([rows | {"fold": None}, *of_run]), read))
        return self._table[1]

    def _table_of_fold(self, data: DataSettings, key: str, read: Callable[[], Table]) -> Table:
        """Returns the rows of a run; `key` is the same for all folds of its rows."""
        if self._all_folds is None or self._all_folds[0] != key:
            self._all_folds = None
            table = read()
            if data.fold is None or table.num_bytes > FOLDS_SHARE * host_memory.data_bytes():
                return table
            self._all_folds = (key, table)
        return self._all_folds[1].copy()

    def build_pieces(
        self, settings: Settings, catalog: Catalog, *, table: Table, cluster: Cluster | None = None
    ) -> Pieces:
        """Builds a run's pieces; over the last run's variables, if it differed in learning rates only.

        The variables have the values of a beginning, once `program` has been called.

        Args:
            settings: the config.
            catalog: the components that exist.
            table: the raw rows.
            cluster: the workers that train together, or None.

        Raises:
            TfrunError: the devices, the data or the components are not as the config says.
        """
        strategy = devices.prepare(settings.trainer, settings.strategy, seed=settings.seed, cluster=cluster)
        examples = self._encoded(settings, catalog, table=table)
        if self._program is not None and self._program.program.state_bytes > MAX_STATE_BYTES:
            self._program = None
        kept = self._program
        beginning = kept and kept.beginnings.get(_begins_with(settings, examples))
        if kept is None or beginning is None or not kept.has_model_for(examples):
            return pieces_over(settings, catalog, table=table, strategy=strategy, examples=examples)
        check_ids(kept.pieces.parts.model, examples, table)
        order, plan = order_and_plan(settings, examples)
        devices.check_batch_size(order.batch_size, strategy, microbatches=settings.trainer.microbatches)
        return replace(
            kept.pieces,
            settings=settings,
            strategy=strategy,
            table=table,
            examples=examples,
            order=order,
            plan=plan,
            beginning=beginning,
        )

    def program(self, pieces: Pieces, *, streams: bool) -> tuple[Pieces, KeptProgram]:
        """Returns the pieces and their program: the last run's, compiled already, if it fits."""
        structure = pieces.structure(streams=streams)
        if self._program is not None and self._program.fits(pieces, structure):
            return self._program.adopt(pieces, streams=streams), self._program
        if pieces.beginning is not None:
            pieces.begin(pieces.beginning, pieces.settings)
        without_data = replace(pieces, table=None, examples=None)  # type: ignore[arg-type] # nobody asks it for them
        program = pieces.make_program(streams=streams)
        self._program = KeptProgram(structure, without_data, program, choices={}, lanes={}, beginnings={})
        return pieces, self._program

    def _encoded(self, settings: Settings, catalog: Catalog, *, table: Table) -> Examples:
        """Returns the encoded rows: those of the last run, if they are of the same table and encoded alike."""
        same = settings.init.source if settings.init.preprocessing == "same" else None
        key = _to_json([_rows_of(settings.data), keras.config.floatx(), same])
        if self._examples is not None and self._examples[0] is table and self._examples[1] == key:
            return self._examples[2]
        self._examples = None  # before there are others in memory
        kept, self._table = self._table, None  # a table whose encoding fails is released in part
        examples = encode_rows(settings, catalog, table=table)
        self._table = kept
        self._examples = (table, key, examples)
        return examples


@functools.cache
def process_reuse() -> Reuse:
    """Returns the caches of this process. A forked process has its own, since its parent trains nothing."""
    return Reuse()


def _begins_with(settings: Settings, examples: Examples) -> str:
    """Returns everything that a run's first values follow from, except its learning rates."""
    config = {key: value for key, value in settings.to_dict().items() if key not in NO_PART_OF_BEGINNING}
    groups = {
        name: {**group.to_dict(), "learning_rate": group.learning_rate is None}
        for name, group in settings.groups.items()
    }
    source = version_of_weights(settings.init.source) if settings.init.source and settings.init.reads_weights else None
    return _to_json([config | {"optimizer": groups}, examples.fingerprint, source])


def _rows_of(data: DataSettings) -> dict[str, Any]:
    """Returns what encoded rows depend on; augmentations change those of a batch only."""
    return {key: value for key, value in data.to_dict().items() if key != "augment"}


def _to_json(value: Any) -> str:
    return strict_json.dumps(value, sort_keys=True, default=str)
