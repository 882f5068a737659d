"""The text of a card, from values that are written down here."""

from __future__ import annotations

from typing import Any

from tfrun.reports.model_card import (
    NOT_RECORDED,
    RANGE,
    TO_FILL_IN,
    Input,
    Loading,
    Member,
    ModelCard,
    Spread,
    card_text,
    to_fill_in,
    values_text,
)

RUN: dict[str, Any] = {
    "started": "2026-11-28T08:15:11+00:00", "ended": "2026-11-28T08:15:18+00:00", "seed": 0, "parameters": 31701,
    "groups": [{"name": "wide", "optimizer": "ftrl"}, {"name": "deep", "optimizer": "adam"}],
    "versions": {"tfrun": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
    "git": {"commit": "abc123", "dirty": True},
    "data": {"source": "a|b.csv", "rows": 4000, "rows_left_out": 0, "train": 3200, "val": 400, "test": 400,
             "split": {"by": "group", "column": "_shop_"}, "fingerprint": "f00"},
    "best": {"epoch": 3, "monitor": "val/mae", "val/mae": 2.5, "val/r2": None},
    "metrics": {"train/mae": 1.0, "val/mae": 9.0, "test/mae": 2.75},
}  # fmt: skip
CONFIG = {"name": "houses", "data": {"name": "csv"}, "model": {"name": "mlp"}, "loss": {"name": "mse"},
          "algorithm": {"name": "supervised"}, "metric": {"mae": {}, "r2": {}}}  # fmt: skip


def card(*members: Member, **fields: Any) -> str:
    defaults: dict[str, Any] = {"exports": {}, "inputs": [], "outputs": []}
    return card_text(ModelCard(members or [Member("r1", RUN, CONFIG)], **(defaults | fields)))


def section(text: str, head: str) -> str:
    return text.partition(f"\n## {head}\n\n")[2].partition("\n\n## ")[0]


def test_what_the_run_is() -> None:
    text = card()
    assert text.startswith("# Model card: houses\n\n## Model details\n")
    assert section(text, "Model details").splitlines() == [
        "- run: r1",
        "- model: mlp",
        "- loss: mse",
        "- algorithm: supervised",
        "- optimizer: wide: ftrl, deep: adam",
        "- metrics: mae, r2",
        "- parameters: 31,701",
        "- trained: 2026-11-28T08:15:11+00:00 to 2026-11-28T08:15:18+00:00",
        "- trained with: tfrun 0.1.0, tensorflow 2.21.0, keras 3.15.1",
        "- seed: 0",
        "- git: commit abc123, with changes that aren't in it",
    ]


def test_the_data_and_their_split() -> None:
    assert section(card(), "Data").splitlines() == [
        "- data set: csv",
        r"- source: a\|b.csv",
        "- rows: 4,000",
        "- rows left out, without a target: 0",
        "- training, validation and test: 3,200, 400, 400",
        r"- split: by group, column \_shop\_",
        "- fingerprint of the contents: f00",
    ]
    run = {**RUN, "data": {**RUN["data"], "windows": {"series": 2, "length": 24, "horizon": 12}}}
    windows = "- windows: 24 rows of a series, from old to new, with which the next 12 are predicted"
    assert windows in section(card(Member("r1", run, CONFIG)), "Data").splitlines()


def test_metrics_are_those_of_the_best_weights() -> None:
    """Validation is that of the best epoch, not of the last."""
    lines = section(card(), "Metrics").splitlines()
    assert lines[0] == "With the weights of the best epoch, 3, that of the best val/mae."
    assert lines[4:6] == ["| mae | 2.5 | 2.75 |", "| r2 | not defined | not measured |"]
    assert lines[-1] == "How much they vary with the seed or the rows is not known: there is one run."


def test_the_spread_of_repetitions() -> None:
    values = {"val/mae": (2.4812, 0.1234, 5), "test/mae": (16832.16, 2650.4, 4)}
    text = section(card(Member("r1", RUN, CONFIG, Spread("seeds", True, values))), "Metrics")
    assert "\n\nMean ± standard deviation over seeds of the same sweep, with the number of runs:\n\n" in text
    assert text.splitlines()[-1] == "| mae | 2.481 ± 0.123 (5) | 16,832 ± 2650 (4) |"
    partial = Spread("folds", False, {"val/mae": (2.0, 0.5, 2)})
    text = section(card(Member("r1", RUN, CONFIG, partial)), "Metrics")
    assert "with the number of runs: Not all folds have a value." in text
    assert text.splitlines()[-1] == "| mae | 2.000 ± 0.500 (2) | – |"


def test_an_ensemble_names_its_runs_and_what_they_share_once() -> None:
    spread = Spread("seeds", True, {"val/mae": (2.0, 0.5, 3)})
    other = {**RUN, "seed": 1, "best": {"epoch": 4, "monitor": "val/mae", "val/mae": 2.125}}
    members = [Member("s/0", RUN, CONFIG, spread), Member("s/1", other, CONFIG, spread)]
    entry = {"format": "onnx", "checked_rows": 64, "difference": 0.0481}
    text = card(*members, exports={"model.onnx": entry})
    assert text.startswith("# Model card: houses, an ensemble of 2 runs\n")
    details = section(text, "Model details")
    assert details.startswith("### Run 1\n\n- run: s/0\n") and "\n### Run 2\n\n- run: s/1\n" in details
    assert "| 64 rows, at most 0.048 off the mean of the runs' predictions |" in text
    data = section(text, "Data")
    assert data.count("- source: ") == 1 and data.endswith("the split may differ with their seeds.")
    metrics = section(text, "Metrics")
    assert metrics.startswith("The ensemble was not evaluated: these are the metrics of its runs.\n\n### Run 1\n")
    assert "| mae | 2.5 | 2.75 |" in metrics and "| mae | 2.125 | 2.75 |" in metrics
    assert metrics.count("2.000 ± 0.500 (3)") == 1 and "### Their spread" in metrics
    assert section(text, "Inputs").endswith("These are the columns as the first run has learnt them.")


def test_an_ensemble_of_different_data_has_those_of_each() -> None:
    """Folds have other training rows, and members of several sweeps another spread."""
    other = {**RUN, "data": {**RUN["data"], "train": 3201}}
    spreads = [Spread("folds", True, {"val/mae": (2.0, deviation, 3)}) for deviation in (0.5, 0.25)]
    runs = zip(("s/0", "t/0"), (RUN, other), spreads, strict=True)
    text = card(*(Member(name, run, CONFIG, spread) for name, run, spread in runs))
    data = section(text, "Data")
    assert data.startswith("### Run 1\n") and ": 3,200, 400, 400" in data and ": 3,201, 400, 400" in data
    metrics = section(text, "Metrics")
    assert "2.000 ± 0.500 (3)" in metrics and "2.000 ± 0.250 (3)" in metrics and "Their spread" not in metrics


def test_what_an_earlier_version_did_not_record_is_said() -> None:
    exports = {"model.keras": {"format": "keras"}}
    text = card(Member("r1", {}, {}), exports=exports)
    assert text.startswith("# Model card: r1\n")
    for line in section(text, "Model details").splitlines()[1:]:
        assert line.endswith(NOT_RECORDED), line
    assert all(line.split(": ")[1].startswith(NOT_RECORDED) for line in section(text, "Data").splitlines())
    assert section(text, "Metrics").startswith("No metric of validation or test rows is recorded.")
    row = section(text, "Files, and the checks at export").splitlines()[-1]
    assert row == f"| model.keras | keras {f'| {NOT_RECORDED} ' * 4}|"
    without = {**RUN, "best": {"val/mae": 2.5}}
    assert "Which epoch is the best is not recorded." in card(Member("r1", without, CONFIG))
    without = {**RUN, "best": {"epoch": 3, "val/mae": 2.5}}
    assert "With the weights of the best epoch, 3.\n" in card(Member("r1", without, CONFIG))
    assert "the folder in which training began is in no repository" in card(Member("r1", {"git": None}, {}))


def test_strange_names_are_no_markup() -> None:
    """Each line of the table has its four cells, and each fence its end."""
    names = ["a|b", "_x_", "`c`", "<b>", "line\nbreak", " ", "[l](http://x)", "**", "\u202eleft"]
    inputs = [Input(name, "number", "float32 (batch, 1)", "") for name in names]
    code = 'rows = {\n    "```": 1,\n}'
    text = card(inputs=inputs, loading={"keras": Loading("Keras", code)})
    lines = section(text, "Inputs").splitlines()[2 : 2 + len(names)]
    assert [line.split(" | ")[0] for line in lines] == [
        r"| a\|b", r"| \_x\_", r"| \`c\`", r"| \<b\>", r"| line\\nbreak", '| " "', r"| \[l\](http\://x)", r"| \*\*",
        r"| \\u202eleft",
    ]  # fmt: skip
    assert f"### keras\n\nNeeds Keras.\n\n````python\n{code}\n````" in text


def test_ranges_are_explained_where_there_are_some() -> None:
    assert "decile" not in card(inputs=[Input("a", "category", "string", "2 values: x, y")])
    assert f"{RANGE} is from the first to the ninth decile" in card(inputs=[Input("a", "number", "f", f"{RANGE}: 1")])


def test_many_columns_and_values_are_counted() -> None:
    inputs = [Input(f"c{k}", "number", "float32", "") for k in range(1250)]
    text = section(card(inputs=inputs), "Inputs")
    assert "| c199 |" in text and "| c200 |" not in text and "\n\n1,050 more columns." in text
    values = [f"v{k}" for k in range(1021)]
    assert values_text(values, "value", "values").startswith("1,021 values: v0, v1, ")
    assert values_text(values, "value", "values").endswith("v19, and 1,001 more")
    assert values_text(["x" * 61], "class", "classes") == f"1 class: {'x' * 59}…"


def test_what_only_a_person_knows_has_its_place() -> None:
    text = to_fill_in()
    assert text.count(TO_FILL_IN) == 5
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Licence", "Intended use", "Limitations", "Ethical considerations", "Contact",
    ]  # fmt: skip
