"""The model card of an export, as Markdown.

Its sections are those of Mitchell et al., "Model Cards for Model Reporting", 2019, arXiv:1810.03993 (section 4). tfrun
writes what it knows; what only a person knows has a place to be filled in. What isn't known is said not to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfrun.console import shown_number
from tfrun.files.exports import Quantized
from tfrun.files.strict_json import defined
from tfrun.reports.card_numbers import mean_text
from tfrun.reports.markdown import code_block, escaped, table
from tfrun.reports.quantization import sentence_on_quantized
from tfrun.reports.texts import shortened

NOT_RECORDED = "not recorded"
TO_FILL_IN = "**TO FILL IN**"
MAX_COLUMNS = 200  # lines of the table of inputs
MAX_VALUES = 20  # categories or classes that are named
MAX_LETTERS = 60  # of a category or a class
RANGE = "10 % to 90 %"
SPLITS = ("val", "test")
ENSEMBLE_COMPARED = "the mean of the runs' predictions"


@dataclass(frozen=True)
class Input:
    """A column that the model takes.

    Attributes:
        name, kind: the column's.
        type: what the export takes, for a person.
        facts: what the training rows had, as Markdown.
    """

    name: str
    kind: str
    type: str
    facts: str


@dataclass(frozen=True)
class Spread:
    """The runs that differ from this one in what a repetition changes.

    Attributes:
        over: what that is: `seeds`, `folds`, or both.
        is_complete: False if a fold of a cross-validation is missing.
        values: metric → mean, standard deviation and number of runs; only those of at least two.
    """

    over: str
    is_complete: bool
    values: Mapping[str, tuple[float, float, int]]


@dataclass(frozen=True)
class Member:
    """A run whose model the export holds, alone or with others.

    Attributes:
        run_id: its id.
        run: its `run.json`.
        config: its config.
        spread: the runs that repeat it, or None.
    """

    run_id: str
    run: Mapping[str, Any]
    config: Mapping[str, Any]
    spread: Spread | None = None


@dataclass(frozen=True)
class Loading:
    """How an export is loaded.

    Attributes:
        needs: what has to be installed, as Markdown.
        code: code that loads the export from the card's folder and predicts one row.
        language: the code's.
    """

    needs: str
    code: str
    language: str = "python"


@dataclass(frozen=True)
class ModelCard:
    """The contents of a card.

    Attributes:
        members: the runs; several are an ensemble.
        exports: what is recorded of each export of the folder, by file; of those of earlier versions that is little.
        inputs: the columns, those of the first run.
        outputs: lines about targets and predictions, as Markdown.
        loading: heading, of an export's format or file → how to load it.
    """

    members: Sequence[Member]
    exports: Mapping[str, Mapping[str, Any]]
    inputs: Sequence[Input]
    outputs: Sequence[str]
    loading: Mapping[str, Loading] = field(default_factory=dict)


def card_text(card: ModelCard) -> str:
    """Returns the part of a card that tfrun writes."""
    first = card.members[0]
    name = escaped(str(first.config.get("name", first.run_id)))
    what = f"{name}, an ensemble of {len(card.members)} runs" if len(card.members) > 1 else name
    parts = [
        f"# Model card: {what}",
        "## Model details",
        *(_details(member, number=k, count=len(card.members)) for k, member in enumerate(card.members, start=1)),
        "## Files, and the checks at export",
        _exports(card.exports, compared="the run's own predictions" if len(card.members) == 1 else ENSEMBLE_COMPARED),
        "## Data",
        *_data_of_all(card.members),
        "## Metrics",
        *_metrics_of_all(card.members),
        "## Inputs",
        _inputs(card),
        "## Outputs",
        "\n".join(f"- {line}" for line in card.outputs),
        "## How to load it",
        "Run in this folder. The cells are examples: of a number or a date what an empty cell becomes, of texts a "
        "common one if the run has kept any, else an empty one, of arrays zeros.",
        *(
            f"### {heading}\n\nNeeds {loading.needs}.\n\n{code_block(loading.code, loading.language)}"
            for heading, loading in card.loading.items()
        ),
        "",
    ]
    return "\n\n".join(parts)


def to_fill_in() -> str:
    """Returns the part of a card that a person fills in."""
    questions = {
        "Licence": "of the model, and of the data that it was trained on",
        "Intended use": "what it is for, and for whom; what it is not for",
        "Limitations": "for which rows its predictions are worse, and what nobody has looked at",
        "Ethical considerations": "people in the data, risks and harms",
        "Contact": "who answers questions about it",
    }
    parts = [f"## {head}\n\n{TO_FILL_IN}: {question}." for head, question in questions.items()]
    return "\n" + "\n\n".join(parts) + "\n"


def _details(member: Member, *, number: int, count: int) -> str:
    run, config = member.run, member.config
    groups = run.get("groups") or []
    optimizers = [f"{group.get('name')}: {group.get('optimizer')}" for group in groups if isinstance(group, dict)]
    parameters = run.get("parameters")
    versions = run.get("versions") or {}
    metrics = config.get("metric")
    lines = {
        "run": escaped(member.run_id),
        "model": _component(config, "model"),
        "loss": _component(config, "loss"),
        "algorithm": _component(config, "algorithm"),
        "optimizer": escaped(", ".join(optimizers)) if optimizers else NOT_RECORDED,
        "metrics": escaped(", ".join(metrics)) if isinstance(metrics, dict) and metrics else NOT_RECORDED,
        "parameters": f"{parameters:,}" if isinstance(parameters, int) else NOT_RECORDED,
        "trained": f"{_text(run.get('started'))} to {_text(run.get('ended'))}",
        "trained with": ", ".join(f"{key} {_text(versions.get(key))}" for key in ("tfrun", "tensorflow", "keras")),
        "seed": _text(run.get("seed")),
        "git": _git(run),
    }
    head = [f"### Run {number}\n"] if count > 1 else []
    return "\n".join([*head, *(f"- {key}: {value}" for key, value in lines.items())])


def _component(config: Mapping[str, Any], section: str) -> str:
    of_section = config.get(section)
    return _text(of_section.get("name") if isinstance(of_section, dict) else None)


def _git(run: Mapping[str, Any]) -> str:
    if "git" not in run:
        return NOT_RECORDED
    git = run["git"]
    if not isinstance(git, dict):
        return "the folder in which training began is in no repository"
    changes = "with changes that aren't in it" if git.get("dirty") else "without changes"
    return f"commit {_text(git.get('commit'))}, {changes}"


def _exports(exports: Mapping[str, Mapping[str, Any]], *, compared: str) -> str:
    lines = []
    for name, entry in exports.items():
        difference = defined(entry.get("difference"))
        checked = NOT_RECORDED
        if difference is not None:
            checked = f"{entry.get('checked_rows')} rows, at most {difference:.2g} off {compared}"
        versions = entry.get("versions") or {}
        by = ", ".join(f"{key} {escaped(str(version))}" for key, version in versions.items())
        step = entry.get("step")
        lines.append(
            [escaped(name), _text(entry.get("format")), _text(entry.get("exported")), by or NOT_RECORDED]
            + [f"the best of training up to step {step}" if isinstance(step, int) else NOT_RECORDED, checked]
        )
    sentences = [
        f"- {escaped(name)}: {escaped(sentence_on_quantized(Quantized.of_json(entry['quantized'])))}"
        for name, entry in exports.items()
        if "quantized" in entry
    ]
    head = table(["file", "format", "exported", "by", "weights", "checked in a clean process"], lines)
    return "\n\n".join([head, *(["What quantizing has changed:", "\n".join(sentences)] if sentences else [])])


def _data_of_all(members: Sequence[Member]) -> list[str]:
    """Returns the data of each run, once if they are the same."""
    texts = [_data(member) for member in members]
    if len(set(texts)) == 1:
        return [texts[0]] + (["The same for all runs; the split may differ with their seeds."] if texts[1:] else [])
    return [part for k, text in enumerate(texts, start=1) for part in (f"### Run {k}", text)]


def _data(member: Member) -> str:
    data = member.run.get("data") or {}
    split = data.get("split")
    rule = ", ".join(f"{key} {value}" for key, value in split.items()) if isinstance(split, dict) else None
    lines = {
        "data set": _component(member.config, "data"),
        "source": _text(data.get("source")),
        "rows": _number(data.get("rows")),
        "rows left out, without a target": _number(data.get("rows_left_out")),
        "training, validation and test": ", ".join(_number(data.get(split)) for split in ("train", "val", "test")),
        "split": _text(rule),
        **_windows(data.get("windows")),
        "fingerprint of the contents": _text(data.get("fingerprint")),
    }
    return "\n".join(f"- {key}: {value}" for key, value in lines.items())


def _windows(windows: Any) -> dict[str, str]:
    if not isinstance(windows, dict):
        return {}
    length, horizon = (_number(windows.get(key)) for key in ("length", "horizon"))
    return {"windows": f"{length} rows of a series, from old to new, with which the next {horizon} are predicted"}


def _metrics_of_all(members: Sequence[Member]) -> list[str]:
    """Returns the metrics of each run; what their repetitions give is there once if it is the same."""
    if len(members) == 1:
        return [*_metrics(members[0]), _spread(members[0].spread)]
    parts = ["The ensemble was not evaluated: these are the metrics of its runs."]
    is_shared = members[0].spread is not None and all(member.spread == members[0].spread for member in members)
    for number, member in enumerate(members, start=1):
        parts += [f"### Run {number}", *_metrics(member), *([] if is_shared else [_spread(member.spread)])]
    return [*parts, *(["### Their spread", _spread(members[0].spread)] if is_shared else [])]


def _metrics(member: Member) -> list[str]:
    best, last = member.run.get("best") or {}, member.run.get("metrics") or {}
    names = list(dict.fromkeys(key.partition("/")[2] for key in (*best, *last) if key.partition("/")[0] in SPLITS))
    epoch, monitor = best.get("epoch"), best.get("monitor")
    if not names:
        return ["No metric of validation or test rows is recorded."]
    head = "Which epoch is the best is not recorded."
    if epoch is not None:
        by = f", that of the best {escaped(str(monitor))}" if monitor is not None else ""
        head = f"With the weights of the best epoch, {epoch}{by}."
    lines = [[escaped(name), _value(best, f"val/{name}"), _value(last, f"test/{name}")] for name in names]
    return [head, table(["metric", "validation", "test"], lines)]


def _value(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "not measured"
    value = defined(values[key])
    return "not defined" if value is None else shown_number(value)


def _spread(spread: Spread | None) -> str:
    if spread is None or not spread.values:
        return "How much they vary with the seed or the rows is not known: there is one run."
    lines = []
    for name in dict.fromkeys(key.partition("/")[2] for key in spread.values):
        cells = []
        for split in SPLITS:
            mean, deviation, count = spread.values.get(f"{split}/{name}", (0.0, 0.0, 0))
            cells.append(f"{mean_text(mean, deviation, digits=3)} ({count})" if count else "–")
        lines.append([escaped(name), *cells])
    missing = "" if spread.is_complete else " Not all folds have a value."
    head = f"Mean ± standard deviation over {spread.over} of the same sweep, with the number of runs:{missing}"
    return f"{head}\n\n{table(['metric', 'validation', 'test'], lines)}"


def _inputs(card: ModelCard) -> str:
    lines = [[escaped(i.name), escaped(i.kind), escaped(i.type), i.facts] for i in card.inputs[:MAX_COLUMNS]]
    parts = [table(["column", "kind", "takes", "training rows"], lines)]
    if more := len(card.inputs) - MAX_COLUMNS:
        parts += [f"{more:,} more columns."] if more > 0 else []
    if any(RANGE in each.facts for each in card.inputs):
        parts.append(
            f"{RANGE} is from the first to the ninth decile of the training rows, where empty cells count as what they "
            "become. The least and the greatest value of these columns aren't recorded."
        )
    if len(card.members) > 1:
        parts.append("These are the columns as the first run has learnt them.")
    return "\n\n".join(parts)


def values_text(values: Sequence[str], one: str, several: str) -> str:
    """Returns how many values there are, and the first of them, as Markdown.

    Args:
        values: all of them.
        one, several: what they are called: "class" and "classes".
    """
    first = ", ".join(escaped(shortened(value, MAX_LETTERS)) for value in values[:MAX_VALUES])
    more = f", and {len(values) - MAX_VALUES:,} more" if len(values) > MAX_VALUES else ""
    return f"{len(values):,} {one if len(values) == 1 else several}: {first}{more}"


def _text(value: Any) -> str:
    return NOT_RECORDED if value is None else escaped(str(value))


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else NOT_RECORDED
