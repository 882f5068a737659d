"""Every command that trains, lists or shows in README.md and docs/ has a config that can be composed and checked."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.types import RunMode

from tfrun import cli
from tfrun.commands.command_line import CommandLine, Flags
from tfrun.commands.inputs import compose, read_inputs
from tfrun.config.schema import build_settings
from tfrun.sweep import multirun

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^ {2,}(?:\$ )?(?:\./scripts/)?tfrun ((?:'[^']*'|[^'\n])*)$", re.MULTILINE)
NOT_WHOLE = ("…", "<", "{mine}", "RUN")  # what stands for words of the reader's
OF_OTHER_FILES = ("--config-dir", "plugins=", "experiment=mine", "experiment=lower_upper")
ON_PURPOSE = "los=huber"  # the page shows its error
ROWS = 40
COLUMNS: dict[str, dict[str, Sequence[object]]] = {  # of the files that the pages name
    "houses.csv": {
        "district": ["north", "south"],
        "rooms": [1, 2, 3, 4],
        "price": [100, 200.5, 150],
        "sold": ["yes", "no"],
    },
    "reviews.csv": {"review": ["very good", "not so good"], "town": ["Bonn", "Ulm"], "stars": [1, 2, 3, 4, 5]},
    "visits.csv": {
        "day": [f"{day:02}.03.2024" for day in range(1, 9)],
        "size": ["low", "mid", "high"],
        "zip": [1067, 99974],
        "member": ["yes", "no"],
        "age": [20, 30, ""],
        "patient": range(12),
        "paid": [1.5, 2.25],
        "cost": [10, 20, 30],
    },
    "clicks.parquet": {
        "user": [2**60 + 1, 7, 2**60 + 3],
        "item": [1, 2, 3, 4, 5],
        "genres": [[1, 2], [], [3]],
        "price": [1.5, 2.0],
        "click": [0, 1, 1],
    },
    "sales.csv": {"day": [f"2024-03-{day:02}" for day in range(1, 29)], "shop": ["a", "b"], "amount": [1, 2, 3]},
    "clicks.csv": {"user": ["a", "b", "c"], "item": ["x", "y"], "clicked": ["no", "no", "no", "yes"]},
    "views.csv": {"user": ["a", "b", "c"], "country": ["de", "fr"], "film": ["x", "y"], "seconds": [1, 20, 300]},
    "loans.csv": {"income": range(10), "default": ["no", "no", "no", "yes"]},
    "passengers.csv": {"month": [f"{1950 + k // 12}-{k % 12 + 1:02}" for k in range(150)], "passengers": range(150)},
    "train.csv": {"age": range(30), "price": [1.5, 2.5], "churn": ["yes", "no"]},
}
COLUMNS |= dict.fromkeys(("val.csv", "test.csv"), COLUMNS["train.csv"])
NOT_READ = ("digits.tfrecord", "photos.tfrecord", "photos")  # only their paths are looked at
ANSWERED = ("list", "show")


def documented() -> list[str]:
    """Returns the command lines of all pages, each once, with the lines that a backslash or a quote continues."""
    texts = [re.sub(r" *\\\n\s+", " ", (ROOT / page).read_text()) for page in PAGES]
    lines = [" ".join(line.partition(" #")[0].split()) for text in texts for line in COMMAND.findall(text)]
    return list(dict.fromkeys(line for line in lines if not any(part in line for part in NOT_WHOLE)))


LINES = [line for line in documented() if line != ON_PURPOSE and not any(part in line for part in OF_OTHER_FILES)]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the files that the pages name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, columns in COLUMNS.items():
        num_rows = max(ROWS, *(len(cells) for cells in columns.values()))
        cells = [list(itertools.islice(itertools.cycle(values), num_rows)) for values in columns.values()]
        if name.endswith(".parquet"):
            pq.write_table(pa.table(dict(zip(columns, cells, strict=True))), name)
            continue
        lines = [",".join(map(str, row)) for row in zip(*cells, strict=True)]
        Path(name).write_text("\n".join([",".join(columns), *lines]) + "\n")
    for name in NOT_READ:
        (Path(name).touch if "." in name else Path(name).mkdir)()


def is_of(line: str, commands: tuple[str, ...]) -> bool:
    return line.split()[0] in commands


def test_there_are_commands_to_check() -> None:
    assert len(LINES) > 60


@pytest.mark.parametrize("line", [line for line in LINES if is_of(line, ANSWERED) or "--cfg" in line])
def test_commands_that_answer_at_once(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(shlex.split(line)) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", [line for line in LINES if is_of(line, cli.COMMANDS)])
def test_commands_on_runs_exist(line: str) -> None:
    command, *words = shlex.split(line)
    assert command in cli.COMMANDS and (words or command == "list")


@pytest.mark.parametrize("line", [line for line in LINES if not is_of(line, cli.COMMANDS) and "--cfg" not in line])
def test_configs_fit_their_data(line: str) -> None:
    words = shlex.split(line)
    if "hydra/launcher=ray" in words and importlib.util.find_spec("ray") is None:
        pytest.skip("needs the extra ray and its plugin of Hydra")
    is_sweep = "-m" in words
    words = [word for word in words if word != "-m"]
    run_mode = RunMode.MULTIRUN if is_sweep else RunMode.RUN
    configs, composed = compose(CommandLine(tuple(words), Flags(multirun=is_sweep)), run_mode)
    if is_sweep:
        launcher = multirun._read_launcher(composed.cfg.hydra.launcher)
        source = multirun._new_source(configs, composed.cfg, launcher=launcher)
        build_settings(source.first.config, configs.catalog)
    elif "data=csv" in words:
        assert read_inputs(composed.config, configs.catalog, overrides=words).table.source
    else:
        build_settings(composed.config, configs.catalog, overrides=words)
