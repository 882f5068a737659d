"""The table that a sweep prints at its end, the reasons of failures, and the commands that may follow."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tfrun.config.keys import short_names
from tfrun.config.split_checks import FOLD_KEYS
from tfrun.console import Terminal, say, say_wrapped, shown_number, tensorboard_command
from tfrun.files.runs import newest_folder
from tfrun.folders import shown
from tfrun.narrow_tables import print_table
from tfrun.sweep.candidates import Candidate, candidates, ranked
from tfrun.sweep.outcome import Outcome

MAX_ROWS = 10


def print_sweep(
    sweep: Path,
    outcomes: Sequence[Outcome],
    *,
    mode: str,
    best: Candidate | None,
    is_interrupted: bool = False,
    out_of_fold: Path | None = None,
    console: Console | None = None,
) -> None:
    """Prints the summary of a sweep.

    Args:
        sweep: its folder.
        outcomes: of the jobs that were started.
        mode: `min` or `max`: which monitored value is best.
        best: of them, or None.
        is_interrupted: whether a signal stopped the sweep.
        out_of_fold: the file of the best cross-validation's predictions, if there is one.
        console: where to print; None means the terminal.
    """
    console = console or Terminal()
    compared = candidates(outcomes)
    has_folds = any(candidate.num_folds for candidate in compared)
    rows = (compared if best is None else ranked(compared, mode))[:MAX_ROWS]
    title = f"{sweep.parent.name}: {_counted(outcomes)}"
    print_table(console, (_folds_table if has_folds else _table)(title, rows, compared=compared, best=best))
    if len(rows) < len(compared):
        more = f"the {MAX_ROWS} best" if best is not None else f"the first {MAX_ROWS}"
        say(console, f"These are {more}. All of them: tfrun compare {_name(sweep)} top=all")
    if best is None and (reason := _why_no_best(compared)):
        say(console, reason)
    for outcome in outcomes:
        if outcome.has_error:
            say(console, f"{outcome.label}  {outcome.status}: {outcome.error}")
            say(console, f"   {shown(outcome.folder.log)}")
    say_wrapped(console, f"sweep      {shown(sweep)}", indent=11)
    say_wrapped(console, f"curves     {tensorboard_command(sweep)}", indent=11)
    say_wrapped(console, f"compare    tfrun compare {_name(sweep)}", indent=11)
    if out_of_fold is not None:
        say_wrapped(console, f"predicted  {shown(out_of_fold)}: each row by the job of its fold", indent=11)
    if best is not None and best.num_folds and (words := _words_without_folds(best)):
        say_wrapped(console, f"all rows   tfrun {shlex.join(words)}", indent=11)
    if best is not None:
        say_wrapped(console, f"best       {_described(best)}", indent=11)
    if is_interrupted or any(outcome.status == "stopped" for outcome in outcomes):
        say_wrapped(console, f"resume     tfrun resume {_name(sweep)}", indent=11)


def _name(sweep: Path) -> str:
    """Returns the shortest name by which a command finds a sweep."""
    return "latest" if newest_folder() == sweep else shown(sweep)


def _counted(outcomes: Sequence[Outcome]) -> str:
    """Returns how many jobs there are, and how many of them haven't completed: `34 jobs, 2 failed, 3 pruned`."""
    counts = Counter(outcome.status for outcome in outcomes if outcome.status != "completed")
    jobs = f"{len(outcomes)} job{'s' if len(outcomes) != 1 else ''}"
    return ", ".join([jobs, *(f"{count} {status}" for status, count in counts.items())])


def _described(best: Candidate) -> str:
    """Returns the best candidate with its values and its result: `#34 learning_rate=0.0367, val/loss 0.2017`."""
    names = short_names(list(best.swept))
    values = [f"{name}={value}" for name, value in zip(names, best.swept.values(), strict=True)]
    monitor = best.outcomes[0].monitor or "value"
    over = f" over {best.num_folds} folds" if best.num_folds else ""
    return f"{' '.join([f'#{best.numbers}', *values])}, {monitor} {shown_number(best.mean, digits=5)}{over}"


def _why_no_best(compared: Sequence[Candidate]) -> str:
    """Returns why none of the candidates is the best; empty if none has completed."""
    completed = [outcome for candidate in compared for outcome in candidate.outcomes if outcome.status == "completed"]
    if any(candidate.is_complete for candidate in compared):
        return "no best job, because these values can't be compared. checkpoint.monitor=val/<metric> can be"
    if completed and all(outcome.value is None for outcome in completed):
        return "no best job, because the monitored value is defined in none"
    if completed:
        return "no best, because no cross-validation has a value in all of its folds"
    return ""


def _words_without_folds(candidate: Candidate) -> list[str]:
    """Returns the overrides that train a cross-validation's config on the rows of all folds."""
    overrides = candidate.outcomes[0].folder.read_run().get("overrides", [])
    words = [word for word in overrides if word.lstrip("+").partition("=")[0] not in FOLD_KEYS]
    is_search = any(word.lstrip("+").startswith("hparams_search=") for word in words)
    return [*words, "hydra.mode=RUN"] if is_search else words  # a file of this group may begin a sweep by itself


def _table(title: str, rows: Sequence[Candidate], *, compared: Sequence[Candidate], best: Candidate | None) -> Table:
    """Returns a row for each job: its number, the values that differ, the monitored value, and how it ended.

    Args:
        title: the table's.
        rows: the jobs that are shown.
        compared: all jobs, by number.
        best: the best of them, or None.
    """
    outcomes = [candidate.outcomes[0] for candidate in compared]
    keys = list(dict.fromkeys(key for outcome in outcomes for key in outcome.swept))
    table = _titled(title, "job", keys, monitors=[outcome.monitor for outcome in outcomes])
    table.add_column("status")
    first_with: dict[str, str] = {}  # values -> the number of the first job that has them
    for outcome in outcomes:
        first_with.setdefault(str(dict(outcome.swept)), outcome.folder.path.name)
    for outcome in (candidate.outcomes[0] for candidate in rows):
        number = outcome.folder.path.name
        first = first_with[str(dict(outcome.swept))]
        notes = [outcome.status]
        notes += ["best"] if best is not None and outcome in best.outcomes else []
        notes += [f"from #{outcome.source}"] if outcome.source else []
        notes += [f"repeats #{first}"] if first != number else []
        value = shown_number(outcome.value, digits=5)
        table.add_row(number, *(outcome.swept.get(key, "") for key in keys), value, ", ".join(notes))
    return table


def _folds_table(
    title: str, rows: Sequence[Candidate], *, compared: Sequence[Candidate], best: Candidate | None
) -> Table:
    """Returns a row for each cross-validation: mean and deviation of the monitored value over the folds.

    The arguments are those of `_table`.
    """
    keys = list(dict.fromkeys(key for candidate in compared for key in candidate.swept))
    outcomes = [outcome for candidate in compared for outcome in candidate.outcomes]
    table = _titled(title, "jobs", keys, monitors=[outcome.monitor for outcome in outcomes])
    table.add_column("deviation", justify="right")
    table.add_column("folds")
    for candidate in rows:
        counts = Counter(outcome.status for outcome in candidate.outcomes)
        notes = [f"{counts.pop('completed', 0)} of {candidate.num_folds or '?'}"]
        notes += [f"{count} {status}" for status, count in counts.items()]
        notes += ["best"] if candidate == best else []
        table.add_row(
            candidate.numbers,
            *(candidate.swept.get(key, "") for key in keys),
            shown_number(candidate.mean, digits=5),
            shown_number(candidate.deviation, digits=2),
            ", ".join(notes),
        )
    return table


def _titled(title: str, first: str, keys: Sequence[str], *, monitors: Sequence[str | None]) -> Table:
    """Returns a table with the columns of the jobs, of the keys that differ and of the monitored value."""
    table = Table(title=title, title_justify="left")
    table.add_column(first, justify="right")
    for name in short_names(keys):
        table.add_column(name)
    table.add_column(" ".join(dict.fromkeys(filter(None, monitors))) or "value", justify="right")
    return table
