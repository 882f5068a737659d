"""What the card beside an export says of runs, columns and targets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tfrun.commands.exported_run import ExportedRun
from tfrun.commands.model_card import write_card
from tfrun.config.column_kinds import (
    ArrayKind,
    BooleanKind,
    CategoryKind,
    ColumnKind,
    DateKind,
    HashedKind,
    NumberKind,
    OrderedKind,
    TokensKind,
)
from tfrun.config.settings import Settings
from tfrun.data.kinds import RawColumn, fit_column
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.data.windows import Window
from tfrun.files.exports import RECORD, Checked, Export
from tfrun.files.model_cards import CARD
from tfrun.files.runs import EXPORTS, RunFolder

Result = tuple[int, str, str]
Run = Callable[..., Result]
Write = Callable[..., str]
PRICE = {"output": FittedTarget("regression", [], 171_939.4, 65_248.3)}


@pytest.fixture
def write(settings: Callable[..., Settings], tmp_path: Path) -> Write:
    """Writes the card of an export of runs into `tmp_path/export`, and returns its text; `is_new` empties it first."""

    def write(
        folders: Sequence[Path] = (),
        *,
        format: str = "keras",
        fitted: Preprocessing | None = None,
        config: dict[str, Any] | None = None,
        predicts_target: bool = True,
        is_new: bool = True,
    ) -> str:
        if not folders:
            (tmp_path / "run").mkdir(exist_ok=True)
            (tmp_path / "run" / "run.json").write_text('{"status": "completed"}')
        if is_new:
            shutil.rmtree(tmp_path / "export", ignore_errors=True)
        members = [RunFolder(folder) for folder in folders or [tmp_path / "run"]]
        run_id = ", ".join(member.run_id for member in members)
        export = Export(format, tmp_path / "export", run_id=run_id, is_own_folder=False)
        with export.replaced(5) as folder:
            (folder / export.path.name).touch()
        of_run = (config or {}, settings(), fitted or Preprocessing(columns=(), targets=PRICE))
        write_card(export, [ExportedRun(member, *of_run) for member in members], Checked(7, 0.0123, predicts_target))
        return (tmp_path / "export" / CARD).read_text()

    return write


def section(text: str, head: str) -> str:
    return text.partition(f"\n## {head}\n\n")[2].partition("\n\n## ")[0]


def fact(write: Write, cells: Any, kind: ColumnKind) -> str:
    """Returns what the card says of a column that has learnt from these cells."""
    column = fit_column(RawColumn("c", np.array(cells), np.arange(len(cells)), "rows.csv"), kind)
    return facts(write(fitted=Preprocessing(columns=(column,), targets=PRICE)))[0][-1]


def facts(text: str) -> list[list[str]]:
    lines = section(text, "Inputs").splitlines()[2:]
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines if line.startswith("| ")]


def job(sweep: Path, number: int, best: float, last: float, test: float | None, **config: Any) -> Path:
    """Writes a job of a sweep: the best value of `val/mae`, its last one, and `test/mae`."""
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    base = {"seed": 1, "name": "it", "output_root": str(number), "checkpoint": {"monitor": "val/mae", "mode": "min"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(base | config))
    tests = {} if test is None else {"test/mae": test}
    run = {
        "status": "completed", "epoch": 5, "timing": {"steps_per_second": 1.0},
        "best": {"epoch": 3, "monitor": "val/mae", "val/mae": best}, "metrics": {"val/mae": last, **tests},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    (sweep / "trials.jsonl").touch()
    return folder


def spread(values: Sequence[float]) -> str:
    """Returns mean and standard deviation with three decimals, which the values here need."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} ({len(values)})"


def test_the_spread_over_seeds_is_that_of_the_runs_that_differ_in_nothing_else(tmp_path: Path, write: Write) -> None:
    best, tests = [0.3, 0.52, 0.41], [0.61, 0.35, 0.7]
    rows = zip(best, tests, strict=True)
    one, *_ = [job(tmp_path / "s", k, a, 9.0, b, seed=k, model={"units": 4}) for k, (a, b) in enumerate(rows)]
    other = job(tmp_path / "s", 3, 0.1, 9.0, 0.2, seed=0, model={"units": 8})
    lines = section(write([one]), "Metrics").splitlines()
    assert "Mean ± standard deviation over seeds of the same sweep, with the number of runs:" in lines
    assert lines[-1] == f"| mae | {spread(best)} | {spread(tests)} |"
    assert "| mae | 0.3 | 0.61 |" in lines  # its own
    assert section(write([other]), "Metrics").endswith("is not known: there is one run.")
    text = write([one, other])
    assert text.count(spread(best)) == 1 and "there is one run" in text


def test_the_spread_over_folds_says_whether_one_is_missing(tmp_path: Path, write: Write) -> None:
    best = [0.3, 0.52, 0.41]
    runs = [
        job(tmp_path / "s", k, value, 9.0, None, data={"name": "csv", "folds": 3, "fold": k})
        for k, value in enumerate(best)
    ]
    lines = section(write(runs[:1]), "Metrics").splitlines()
    assert "Mean ± standard deviation over folds of the same sweep, with the number of runs:" in lines
    assert lines[-1] == f"| mae | {spread(best)} | – |"
    shutil.rmtree(runs[2])
    lines = section(write(runs[:1]), "Metrics").splitlines()
    assert "with the number of runs: Not all folds have a value." in "\n".join(lines)
    assert lines[-1] == f"| mae | {spread(best[:2])} | – |"


def test_a_run_of_no_sweep_has_no_spread(tmp_path: Path, write: Write) -> None:
    runs = [job(tmp_path / "s", k, 0.3, 0.3, 0.3, seed=k) for k in range(2)]
    (tmp_path / "s" / "trials.jsonl").unlink()
    assert "there is one run" in write(runs[:1])


NUMBERS = [*range(1, 11), 10.0, np.nan]  # the median of those that aren't empty is 6


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            NumberKind(),
            "an empty cell becomes 6; scaled: (x − 5.917) / 2.9; 10 % to 90 %: 2.1 to 9.9",
        ),
        (NumberKind(impute=0.5, scale="none"), "an empty cell becomes 0.5; 10 % to 90 %: 1.1 to 9.9"),
        (NumberKind(scale="robust"), "an empty cell becomes 6; scaled: (x − 6) / 4.5; 10 % to 90 %: 2.1 to 9.9"),
        (NumberKind(scale="quantile"), "an empty cell becomes 6; scaled by their quantiles; all of them: 1 to 10"),
    ],
)
def test_facts_of_numbers(kind: NumberKind, expected: str, write: Write) -> None:
    """The deciles of 12 sorted numbers are at 1.1 and 9.9: 2 + 0.1 · (3 − 2) and 9 + 0.9 · (10 − 9).

    Their mean is 71 / 12, their variance 521 / 12 − (71 / 12)², and the middle half lies between 3.75 and 8.25.
    """
    assert fact(write, NUMBERS, kind) == expected


def test_facts_of_a_constant_and_of_close_numbers(write: Write) -> None:
    assert fact(write, [4.0] * 5, NumberKind()) == "an empty cell becomes 4; scaled: x − 4; 10 % to 90 %: 4 to 4"
    text = fact(write, np.linspace(37.7749, 37.7751, 11), NumberKind())
    assert text.endswith("10 % to 90 %: 37.77492 to 37.77508")  # four digits would be 37.77 twice


def texts(*cells: str) -> np.ndarray:
    return np.array(cells, object)


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (
            texts(*(f"2024-01-{day:02d}" for day in range(1, 12)), ""),
            DateKind(),
            "ISO 8601; an empty cell becomes 2024-01-06; 10 % to 90 %: 2024-01-02 to 2024-01-09",
        ),
        (
            texts(*(f"{day}.3.2021" for day in range(1, 12))),
            DateKind(format="%d.%m.%Y"),
            "as %d.%m.%Y; an empty cell becomes 2021-03-06; 10 % to 90 %: 2021-03-02 to 2021-03-10",
        ),
        (
            texts(*(f"2024-01-01T{hour:02d}:30:00" for hour in range(11))),
            DateKind(),
            "ISO 8601; an empty cell becomes 2024-01-01T05:30:00; "
            "10 % to 90 %: 2024-01-01T01:30:00 to 2024-01-01T09:30:00 (UTC)",
        ),
        (texts("b", "a", "b", ""), CategoryKind(), "2 values: b, a"),
        (texts("low", "high"), OrderedKind(values=["low", "high"]), "2 values: low, high"),
        (texts("yes", "yes", "no"), BooleanKind(), "an empty cell counts as true"),
        (np.array([0.0, 0.0, 1.0]), BooleanKind(), "an empty cell counts as false"),
        (texts("a", "b"), HashedKind(bins=1000), "texts, hashed to 1,000 ids; the texts aren't kept"),
        (texts("big red", "red"), TokensKind(length=8), "2 words: red, big; texts are cut to 8"),
        (np.zeros((4, 2, 3), "float32"), ArrayKind(), "arrays of the shape (2, 3)"),
    ],
    ids=["date", "format", "time", "category", "ordered", "yes", "0", "hash", "tokens", "array"],
)
def test_facts_of_other_kinds(cells: np.ndarray, kind: ColumnKind, expected: str, write: Write) -> None:
    assert fact(write, cells, kind) == expected


def test_what_the_model_gives(write: Write) -> None:
    def outputs(targets: dict[str, FittedTarget], target: Any = "price", **options: Any) -> list[str]:
        config = {"data": {"name": "csv", "target": target}}
        text = write(fitted=Preprocessing(columns=(), targets=targets), config=config, **options)
        return section(text, "Outputs").splitlines()

    number = "a number, (batch, 1), in the unit of the data, which tfrun doesn't know"
    ending = "in the training rows 171,939 ± 65,248 (mean ± standard deviation)"
    assert outputs(PRICE) == [f"- **price**: {number}; {ending}"]
    assert outputs(PRICE, None) == [f"- the target of the data set: {number}; {ending}"]
    classes = {"output": FittedTarget("classification", ["no", "yes|maybe"])}
    assert outputs(classes, "*sold*") == [
        r"- **\*sold\***: a probability for each class, (batch, 2), in this order. 2 classes: no, yes\|maybe"
    ]
    both = outputs({**PRICE, "sold": classes["output"]}, ["price", "sold"])
    assert both[0].startswith("- **price**, output of the mapping: a number")
    assert both[1].startswith("- **sold**, sold of the mapping: a probability")
    unscaled = {"output": FittedTarget("regression", horizon=12)}
    assert outputs(unscaled)[0].startswith("- **price**: a number, (batch, 12), ")
    assert outputs(unscaled)[0].endswith("its mean in the training rows isn't recorded, as it isn't scaled")
    assert outputs(PRICE, predicts_target=False) == ["- what the model computes; it doesn't predict the data's target"]


def test_windows_have_their_length(write: Write) -> None:
    column = fit_column(RawColumn("c", np.arange(5.0), np.arange(5), "rows.csv"), NumberKind())
    text = write(fitted=Preprocessing(columns=(column,), targets=PRICE, window=Window(24, 12, ("c",))))
    assert facts(text)[0][2] == "float32 (batch, 24), nan for empty"


def test_each_export_of_the_folder_has_its_line_and_its_code(tmp_path: Path, write: Write) -> None:
    write()
    record = tmp_path / "export" / RECORD
    entries = json.loads(record.read_text())
    of_earlier = {key: entries["model.keras"][key] for key in ("run_id", "sha256", "step")}
    record.write_text(json.dumps({**entries, "model.keras": of_earlier}))
    text = write(format="onnx", is_new=False)
    lines = section(text, "Files, and the checks at export").splitlines()[2:]
    assert lines[0].startswith("| model.keras | keras | not recorded | not recorded | ")
    assert lines[0].endswith("| the best of training up to step 5 | not recorded |")
    assert lines[1].startswith("| model.onnx | onnx | 20") and lines[1].endswith(
        "| 7 rows, at most 0.012 off the run's own predictions |"
    )
    code = section(text, "How to load it")
    assert "load_model('model.keras')" in code and "InferenceSession('model.onnx')" in code
    (tmp_path / "export" / "model.keras").unlink()
    assert "model.keras" not in write(format="onnx", is_new=False)


def test_exports_of_other_runs_are_left_out(tmp_path: Path, write: Write) -> None:
    write()
    record = tmp_path / "export" / RECORD
    entries = json.loads(record.read_text())
    entries["model.keras"]["run_id"] = "other"
    del entries[CARD]
    record.write_text(json.dumps(entries))
    (tmp_path / "export" / CARD).unlink()
    assert "model.keras" not in write(format="onnx", is_new=False)


def test_a_card_of_a_run_of_an_earlier_version(root: Path, tmp_path: Path, run: Run, engine: Any) -> None:
    """Exports in the run's own folder, of which an earlier version has recorded nothing, are there too."""
    folder = shutil.copytree(root / "tests/data_files/old_run", tmp_path / "old")
    (folder / "export").mkdir()
    (folder / "export" / "model.keras").touch()
    code, out, err = run("export", str(folder), "format=saved_model")
    assert code == 0 and err == "" and out == "MODEL_CARD.md describes it\n"
    text = (folder / "export" / CARD).read_text()
    lines = section(text, "Files, and the checks at export").splitlines()[2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| saved_model", "saved_model"], ["| model.keras", "keras"],
    ]  # fmt: skip
    assert (
        "- split: not recorded" in text
        and "- rows left out, without a target: not recorded" in text
        and "- parameters: 113\n" in text
    )
    assert "| mae | 47.0107 | not measured |" in text
    by_name = {line[0]: line[-1] for line in facts(text)}
    assert by_name["age"].startswith("an empty cell becomes 50.5; scaled: (x − 48.68) / 13.28; 10 % to 90 %: 29 to 66")
    assert by_name["sex"] == "2 values: 1, 2"


def test_a_card_that_a_person_has_changed(run: Run, engine: Any, trained: Path) -> None:
    """Below the line a person's words stay; above it the whole card does."""
    card = trained / "export" / CARD
    assert run("export", str(trained), "format=keras")[1] == "MODEL_CARD.md describes it\n"
    card.write_text(card.read_text().replace("**TO FILL IN**: of the model", "MIT"))
    assert run("export", str(trained), "format=onnx")[1] == "MODEL_CARD.md describes it\n"
    text = card.read_text()
    assert "MIT" in text and "| model.onnx | onnx |" in text and "| model.keras | keras |" in text
    card.write_text(text.replace("# Model card: ", "# My model: "))
    edited = card.read_text()
    out = run("export", str(trained), "format=litert")[1]
    assert (
        out
        == "MODEL_CARD.md was edited above the line that tfrun keeps, so it stays as it is; remove it for a new one\n"
    )
    assert card.read_text() == edited and (trained / "export" / EXPORTS["litert"]).exists()
