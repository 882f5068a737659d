"""The work of a worker that follows worker 0: it builds the same pieces, and then does what worker 0 announces.

    build the pieces, when all workers have imported TensorFlow
    until worker 0 says that the run ends:
        do what it is about to do: train a block, read the state, evaluate rows, …

It decides nothing, and writes no file except its log. `_Work.run` lists everything that can be announced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.earlier_runs import as_it_began
from tfrun.config.settings import Settings
from tfrun.data.table import Table
from tfrun.engine import private
from tfrun.engine.building import memory
from tfrun.engine.building.reuse import Reuse
from tfrun.engine.building.worker_errors import lost_workers
from tfrun.engine.recording.signals import stop_on_signals
from tfrun.engine.training import ftrl
from tfrun.engine.training.exchange_limit import STUCK
from tfrun.engine.training.groups import scale_learning_rates
from tfrun.errors import Interrupted, WorkerLostError
from tfrun.workers.channel import SILENCE_SECONDS
from tfrun.workers.follower import Follower, end_of

BUILD_SECONDS = 600.0  # of silence, while TensorFlow is imported and worker 0 builds: neither can always answer


def follow(settings: Settings, catalog: Catalog, *, table: Table, follower: Follower) -> int:
    """Follows worker 0 to the end of the run, and returns the exit code.

    Args:
        settings: the config, which is that of worker 0.
        catalog: the components that exist.
        table: the raw rows, which are those of worker 0.
        follower: connected to worker 0.

    Raises:
        WorkerLostError: another worker is gone, or worker 0 has ended with an error, whose exit code this one has too.
        Interrupted: a signal has ended the run.
        TfrunError: this worker can't build the pieces. Worker 0 has received the message too.
    """

    def ask_to_stop(number: int) -> None:
        follower.say("stop", number=number)

    with stop_on_signals(ask_to_stop, before_end=lambda _: None):
        try:
            with memory.one_line_errors(), lost_workers(follower.why_lost):
                return _Work(settings, catalog, table=table, follower=follower).run()
        except (WorkerLostError, Interrupted) as error:
            if STUCK in str(error):  # which worker 0 may not have noticed itself
                follower.fail(error)
            raise
        except BaseException as error:
            follower.fail(error)
            raise


class _Work:
    """The pieces of a run, as far as they are built, and the commands of worker 0 over them."""

    def __init__(self, settings: Settings, catalog: Catalog, *, table: Table, follower: Follower):
        self._settings = settings
        self._catalog = catalog
        self._table = table
        self._follower = follower
        self._reuse = Reuse()
        self._program: Any = None  # until it is built

    def run(self) -> int:
        """Does what worker 0 announces, and returns the exit code with which it ends."""
        self._follower.say("ready")
        commands: Mapping[str, Callable[..., object]] = {
            "build": self._build,
            "build_program": self._build_program,
            "run": self._run,
            "read": lambda: self._state.read(),
            "write": self._write,
            "keep_restored_weights": lambda step: ftrl.keep_restored_weights(self._pieces.parts.step.active, step),
            "scale_learning_rates": lambda factor: scale_learning_rates(self._pieces.parts.step.active, factor),
            "load_best": lambda: self._pieces.load_best(self._program),
            "evaluate": lambda arrays: self._program.evaluate(arrays["rows"]),
        }
        while True:
            message = self._follower.next(silence=SILENCE_SECONDS if self._program else BUILD_SECONDS)
            do = message.pop("do")
            if do == "end":
                if message["code"]:
                    raise end_of(self._follower.cluster, message)
                return 0
            commands[do](**message)

    def _build(self, run: Mapping[str, Any]) -> None:
        """Builds the pieces; all workers begin with the weights of worker 0."""
        settings = as_it_began(self._settings, run)
        settings = replace(settings, init=replace(settings.init, reads_weights=False))
        pieces = self._reuse.build_pieces(settings, self._catalog, table=self._table, cluster=self._follower.cluster)
        self._pieces = replace(pieces, limit_seconds=settings.strategy.timeout_seconds)
        self._follower.when_lost(lambda: private.abort_exchanges("worker 0 is gone"))

    def _build_program(self, streams: bool) -> None:
        self._pieces, kept = self._reuse.program(self._pieces, streams=streams)
        self._program = kept.program
        self._state = self._pieces.state(self._program)

    def _run(self, first_step: int, num_steps: int, mode: str) -> None:
        self._program.mode = mode
        self._program.run(first_step, num_steps)

    def _write(self, arrays: Mapping[str, Any]) -> None:
        self._state.write(arrays)
        self._program.state_was_written()
