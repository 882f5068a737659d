"""Runs what README.md and the pages of docs/ show, page by page, from top to bottom, in a folder with the page's files.

Trainings are short here (`shortened`), and processes have imported TensorFlow already. `LEFT_OUT` says what isn't run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = _load("documented_pages")
ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
STEPS = {page: pages.read_page(ROOT, page) for page in PAGES}
LONGEST_FIRST = sorted(PAGES, key=lambda page: -len(STEPS[page]))  # as they are read, two at a time
PLACEHOLDERS = re.compile(r"…|<|\bRUN\b|\bSWEEP\b")
PRESET = "needs a large file of weights; tests/components/test_presets.py trains a small one"
WORKERS = "needs two machines; tests/end_to_end/test_workers.py starts such workers"
LEFT_OUT = {  # the beginning of a line: why it isn't run
    "./scripts/test": "this is one of its tests",
    ".venv/bin/pip install": "needs the network",
    "reproduce latest env=venv": "needs the network",
    ".venv/bin/tensorboard": "serves until it is stopped",
    ".venv/bin/python scripts/bench.py": "takes minutes, and tests/scripts runs it",
    "npm install": "needs the network",
    "python -m http.server": "serves until it is stopped",
    "export RAY_": "the process of the test has it",
    "-m seed=1,2 hydra/launcher=submitit_slurm": "tests/end_to_end/test_slurm.py runs it",
    "-m seed=1,2,3,4 hydra/launcher=ray +hydra.launcher.ray.init.address": "needs a cluster of Ray",
    "export DATABASE": "tests/sweep/test_lost_trials.py starts a server",
    "-m hparams_search=optuna 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))' model=mlp "
    "hydra.sweeper.n_trials=200 hydra.sweeper.storage": "tests/sweep/test_lost_trials.py starts a server",
    "python_api/": "is a drawing of folders",
    "with zipfile.ZipFile(": "tests/components/test_datasets.py runs it",
    "import numpy as np\nfrom sklearn.datasets import fetch_california_housing": "needs the network",
    "import keras\nimport numpy as np\n\n(x, y), (x_test, y_test) = keras.datasets": "needs the network",
    "experiment=lower_upper data=npz data.path=fashion.npz": "needs data from the network",
    '@register.dataset("reviews"': "needs the network",
    "plugins=[mine] data=reviews": "needs data from the network",
    "plugins=[mine] data=mnist": "needs data from the network",
    "evaluate latest data.part=test": "needs data from the network",
    "data=images data.path=photos 'data.size=[224,224]' model=pretrained 'model.backbone={preset": PRESET,
    "export TF_CONFIG=": WORKERS,
    "strategy=multi_worker data=csv": WORKERS,
    "data=csv data.path=reviews.csv data.target=stars data.exclude=[town] model=pretrained": PRESET,
}
# Pages whose trainings aren't shortened, as they show figures; and the file without which they can't be done.
FULL = {"docs/chapter-12.md": ROOT.parent / "shared" / "data" / "housing.csv"}
PYTHON_ELSEWHERE = {  # pages whose code is run by another test
    "docs/python.md": "tests/python_api/test_notebook.py",
    "docs/tour.md": "tests/python_api/test_notebook.py",
}
EXTRAS = {
    "hparams_search=": "optuna",
    "importance=true": "optuna",
    "hydra/launcher=ray": "hydra_plugins.hydra_ray_launcher",
}
PRELUDES = {  # what the code of a page needs before its first line: its readers have it in their own modules
    "docs/components.md": """
from typing import Annotated, Any

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge, Gt, Le

from tfrun import register
from tfrun.table import Table


def build_network(num_inputs, num_outputs):
    return keras.Sequential([keras.Input((num_inputs,)), keras.layers.Dense(num_outputs)])


@keras.saving.register_keras_serializable("mine")
class MyNetwork(keras.Model):
    def __init__(self, num_outputs, **kwargs):
        super().__init__(**kwargs)
        self.head = keras.layers.Dense(num_outputs)

    def call(self, x):
        return self.head(x)

    def get_config(self):
        return {**super().get_config(), "num_outputs": self.head.units}
""",
}
TIMEOUT_SECONDS = 600  # a job of Ray imports TensorFlow in a new process, beside everything else that runs
SHORT = ("trainer.max_epochs=1", "trainer.compile=eager", "data.limit_rows=64")
SHORT_SEARCHES = {
    "hparams_search=optuna": ("hydra.sweeper.n_trials=3",),
    "hparams_search=pbt": ("hydra.sweeper.population=3", "hydra.sweeper.every_epochs=1", "trainer.max_epochs=2"),
}
SHORTER = (
    (r"^trainer\.max_epochs=\d+$", "trainer.max_epochs=1"),
    (r"^(hydra\.sweeper\.(?:n_trials|population))=\d+$", r"\1=3"),
    (r"^data\.folds=\d+$", "data.folds=2"),
    (r"range\(\d+\)", "range(3)"),
    (r"bins: \d{5,}", "bins: 1000"),
    (r"^seed=1,2,3,4$", "seed=1,2,3"),
)
# in the table below a command of a page in FULL
FIGURES = re.compile(r"^\| `(?P<metric>(?:train|val|test)/\w+)` \| [\d.]+ \| (?P<ours>[\d.]+) \|$")
# of a warm process: lets the process that checks an export or a saved model start with Keras imported
WARM_CHECKS = """
import importlib.util, pathlib, sys, types
spec = importlib.util.spec_from_file_location("warm_processes", {file!r})
warm = sys.modules["warm_processes"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(warm)
server = warm.Server("keras", None, {address!r})
def run(command, cwd=None, **others):
    return server.process(command[2:], cwd=pathlib.Path(cwd or ".")).completed({timeout})
from tfrun.engine.inference.exporting import clean_process
from tfrun.engine.verify import findings
clean_process.subprocess = findings.subprocess = types.SimpleNamespace(run=run)
"""
MAKE_FILES = """
import importlib.util, pathlib
spec = importlib.util.spec_from_file_location("documented_files", {file!r})
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
files.make_files(pathlib.Path("."), pathlib.Path({page!r}).read_text(), housing_csv=pathlib.Path({housing!r}))
"""


def reason(step: Any) -> str:
    """Returns why a step isn't run, or an empty string."""
    if step.kind == "python" and step.page in PYTHON_ELSEWHERE:
        return f"{PYTHON_ELSEWHERE[step.page]} runs it"
    return next((why for start, why in LEFT_OUT.items() if step.text.startswith(start)), "")


def missing_extra(step: Any) -> str:
    """Returns the package that a step needs and that isn't installed, or an empty string."""
    for part, package in EXTRAS.items():
        if part in step.text:
            try:
                if importlib.util.find_spec(package) is None:
                    return package
            except ModuleNotFoundError:
                return package
    return ""


def shortened(words: list[str]) -> list[str]:
    """Returns a command that trains as the documented one does, but for an epoch on few rows, and few jobs."""
    if words[:2] == ["find", "batch_size"]:
        return [*words, "data.limit_rows=64"]
    is_resumed = words[0] == "resume"
    if not is_resumed and words[0] != "train" and "=" not in words[0] and not words[0].startswith("-"):
        return words
    for pattern, replacement in SHORTER:
        words = [re.sub(pattern, replacement, word) for word in words]
    if is_resumed:
        return [re.sub(r"^trainer\.max_epochs=1$", "trainer.max_epochs=2", word) for word in words]
    if "--cfg" in words:
        return words
    if any(word.startswith("trainer.profile=") for word in words):
        words = [*words, "trainer.max_epochs=15"]  # so that it has these steps
    added = [*SHORT, *next((more for part, more in SHORT_SEARCHES.items() if part in words), ())]
    keys = [word.partition("=")[0] for word in words]
    return [*words, *(word for word in added if word.partition("=")[0] not in keys)]


class Reader:
    """Does what a page says.

    Attributes:
        problems: a text for each step that didn't do what the page says.
        skipped: the packages that steps need and that aren't installed.
        metrics: of a page in FULL, by the number of a command's line, the metrics of the last epoch and of the test.
    """

    def __init__(self, page: str, folder: Path, server: Callable[[str], Any], env: dict[str, str]):
        self.folder = folder
        self.problems: list[str] = []
        self.skipped: set[str] = set()
        self.metrics: dict[int, dict[str, Any]] = {}
        self._page = page
        self._cwd = folder
        self._server = server
        self._env = env
        self._code = PRELUDES.get(page, "")

    def read(self) -> Reader:
        """Does all steps in order."""
        self._write_modules()
        for step in STEPS[self._page]:
            if reason(step):
                continue
            if package := missing_extra(step):
                self.skipped.add(package)
                continue
            problem = getattr(self, f"_{step.kind}")(step)
            if problem:
                self.problems.append(f"{step}\n{problem}")
        return self

    def _write_modules(self) -> None:
        """Writes the page's components into the modules that its commands name in `plugins=[…]`."""
        code = [step.text for step in STEPS[self._page] if step.kind == "python" and "@register." in step.text]
        texts = " ".join(step.text for step in STEPS[self._page])
        for names in re.findall(r"plugins=\[([\w,]+)\]", texts):
            for name in names.split(","):
                if code and not (self.folder / f"{name}.py").exists():
                    (self.folder / f"{name}.py").write_text("\n\n".join([self._code, *code]))

    def _file(self, step: Any) -> str:
        path = self._cwd / step.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text)
        return ""

    def _python(self, step: Any) -> str:
        if "@register." in step.text:
            return ""
        process = self._server("keras").process([self._code + step.text], cwd=self._cwd, env=self._env)
        done = process.completed(TIMEOUT_SECONDS)
        return (
            "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        )

    def _shell(self, step: Any) -> str:
        words = step.words
        if words[0] == "cd":
            self._cwd = self._cwd / words[1]
            return "" if self._cwd.is_dir() else f"there is no folder {words[1]}"
        done = subprocess.run(
            words, cwd=self._cwd, env=self._env, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
        return "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr[-1500:]}"

    def _command(self, step: Any) -> str:
        before = WARM_CHECKS.format(
            file=str(ROOT / "tests" / "warm_processes.py"),
            address=self._server("keras")._address,
            timeout=TIMEOUT_SECONDS,
        )
        words = step.words if step.page in FULL else shortened(step.words)
        process = self._server("tfrun").process(words, cwd=self._cwd, env=self._env, before=before)
        done = process.completed(TIMEOUT_SECONDS)
        shown = " ".join(step.prints)
        expected = 2 if "error:" in shown else 0
        if done.returncode != expected:
            return f"tfrun {shlex.join(words)}\nexit code {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        if step.page in FULL and (files := list(self._cwd.glob("outputs/*/*/metrics.jsonl"))):
            lines = max(files, key=lambda path: path.stat().st_mtime_ns).read_text().splitlines()
            self.metrics[step.line] = {key: value for line in lines for key, value in json.loads(line).items()}
        printed = " ".join((done.stdout + done.stderr).split())
        pattern = ".*?".join(re.escape(part.strip()) for part in " ".join(shown.split()).split("…"))
        return "" if re.search(pattern, printed) else f"prints {printed[-1500:]}"


@pytest.fixture(scope="module")
def readers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, warm_server: Callable[[str], Any]
) -> Iterator[dict[str, Future[Reader]]]:
    """Reads the pages of the selected tests, two at a time."""
    for kind in ("keras", "tfrun"):
        warm_server(kind)
    env = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "COLUMNS": "200"}
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    selected = {spec.params.get("page") for spec in specs if spec}

    def read(page: str) -> Reader:
        folder = tmp_path_factory.mktemp(Path(page).stem)
        code = MAKE_FILES.format(
            file=str(ROOT / "tests" / "documented_files.py"),
            page=str(ROOT / page),
            housing=str(ROOT.parent / "shared" / "data" / "housing.csv"),
        )
        done = warm_server("keras").process([code], cwd=folder, env=env).completed(TIMEOUT_SECONDS)
        assert done.returncode == 0, done.stderr
        return Reader(page, folder, warm_server, env).read()

    with ThreadPoolExecutor(2) as pool:
        yield {
            page: pool.submit(read, page)
            for page in LONGEST_FIRST
            if page in selected and FULL.get(page, ROOT).exists()
        }


def test_there_are_commands_to_run() -> None:
    assert sum(step.kind == "command" for steps in STEPS.values() for step in steps) > 100


def test_no_command_leaves_words_to_the_reader() -> None:
    steps = [step for steps in STEPS.values() for step in steps if step.kind in ("command", "shell")]
    assert [str(step) for step in steps if PLACEHOLDERS.search(step.text) and not reason(step)] == []


def test_what_is_left_out_is_there() -> None:
    texts = [step.text for steps in STEPS.values() for step in steps]
    assert [start for start in LEFT_OUT if not any(text.startswith(start) for text in texts)] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in LONGEST_FIRST if STEPS[page]])
def test_what_a_page_says(page: str, readers: dict[str, Future[Reader]]) -> None:
    if page in FULL and not FULL[page].is_file():
        pytest.skip(f"the data file {FULL[page]} is not there")
    reader = readers[page].result()
    assert not reader.problems, "\n\n".join(reader.problems)
    if reader.skipped:
        pytest.skip(f"not run, since these aren't installed: {', '.join(sorted(reader.skipped))}")


@pytest.mark.slow
@pytest.mark.parametrize("page", list(FULL))
def test_figures_of_a_page_are_those_of_its_commands(page: str, readers: dict[str, Future[Reader]]) -> None:
    if not FULL[page].is_file():
        pytest.skip(f"the data file {FULL[page]} is not there")
    metrics, wrong, num_figures = readers[page].result().metrics, [], 0
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        if row := FIGURES.match(line):
            command = max(each for each in metrics if each < number)
            computed = metrics[command][row["metric"]]
            num_figures += 1
            if float(row["ours"]) != pytest.approx(computed, rel=0.1):  # another processor rounds otherwise
                wrong.append(f"{page}:{number}: {row['metric']} is {computed}, after the command of line {command}")
    assert num_figures > 20
    assert not wrong, "\n".join(wrong)
