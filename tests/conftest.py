"""What all tests share. Nothing goes onto sys.path: the tests run on the installed package."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FOR_NUMBERS = ("loss=huber", "metric=regression", "trainer.max_epochs=20")  # what `auto` is for a target of numbers
ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest file first: it is one worker's, and the other one would wait for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_documented_commands.py")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the runs of the tests find out about speed stays with the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _shipped_components() -> None:
    load_helper("warm_processes").remember_shipped_components()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def housing_csv() -> Path:
    """California housing: 20640 rows, numbers and one text column."""
    path = ROOT.parent / "shared" / "data" / "housing.csv"
    if not path.is_file():
        pytest.skip(f"the data file {path} is not there")
    return path


@pytest.fixture(scope="session")
def settings() -> Callable[..., Any]:
    """Returns the checked config of a command line: `settings("trainer.max_epochs=3").trainer.max_epochs`.

    What would follow from the data is what fits the diabetes table, so that nothing is read.
    """
    from tfrun.config.compose import open_configs
    from tfrun.config.schema import build_settings

    def compose(*words: str) -> Any:
        given = {word.lstrip("+~").partition("=")[0] for word in words}
        chosen = [] if "experiment" in given else [word for word in FOR_NUMBERS if word.partition("=")[0] not in given]
        overrides = [*chosen, *words]
        with open_configs(overrides) as configs:
            return build_settings(configs.compose(overrides).config, configs.catalog, overrides=overrides)

    return compose


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs main() in tmp_path, in this process, and returns (exit code, stdout, stderr)."""
    from tfrun import cli

    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        code = cli.main(argv)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def tfrun(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the console script in tmp_path: `tfrun("show", "loss=huber")`; `env` is added to the environment."""
    script = Path(sys.executable).with_name("tfrun")

    def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **(env or {})}
        return subprocess.run([script, *args], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def warm_server() -> Iterator[Callable[[str], Any]]:
    """Returns the server of warm_processes.py for "tfrun" or "keras"; each is started when a test needs it."""
    start = load_helper("warm_processes").Server.start
    servers: dict[str, Any] = {}

    def server(kind: str) -> Any:
        if kind not in servers:
            servers[kind] = start(kind)
        return servers[kind]

    yield server
    for each in servers.values():
        each.stop()


@pytest.fixture
def warm_tfrun(tmp_path: Path, warm_server: Callable[[str], Any]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Is like `tfrun`, in a process that has imported TensorFlow already: see warm_processes.py."""

    def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        process = warm_server("tfrun").process(args, cwd=tmp_path, env={**os.environ, **(env or {})})
        done: subprocess.CompletedProcess[str] = process.completed(120)
        return done

    return run


@pytest.fixture
def warm_checks(warm_server: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the process that checks an export or a saved model start with Keras imported, and nothing of tfrun."""
    from tfrun.engine.inference.exporting import clean_process
    from tfrun.engine.verify import findings

    def run(command: list[str], cwd: str | None = None, **others: Any) -> subprocess.CompletedProcess[str]:
        assert command[:2] == [sys.executable, "-c"]
        done: subprocess.CompletedProcess[str] = (
            warm_server("keras").process(command[2:], cwd=Path(cwd or ".")).completed(120)
        )
        return done

    for module in (clean_process, findings):
        monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=run))


@pytest.fixture(scope="session")
def browser() -> Any:
    """Starts Chromium and yields a page of it, see browser.py."""
    return load_helper("browser").browser


@pytest.fixture(scope="session")
def node_packages() -> Path:
    """The folder with the npm packages that tests run, see node_packages.py."""
    folder: Path = load_helper("node_packages").installed()
    return folder


@pytest.fixture(scope="session")
def build() -> Any:
    """Builders of small training steps. Loaded on demand, since most tests don't need TensorFlow."""
    return load_helper("small_steps").Build()


def load_helper(name: str) -> ModuleType:
    """Imports a file beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
