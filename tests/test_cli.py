from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfrun import __version__, cli, load_engine

Result = tuple[int, str, str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs main() in tmp_path and returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> Result:
        code = cli.main(argv)
        return code, *capsys.readouterr()

    return call


class Engine:
    """Stands in for tfrun.engine.experiment and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any, dict[str, Any]]] = []
        self.error: BaseException | None = None

    def __enter__(self) -> tuple[Engine, float]:
        return self, 0.0

    def __exit__(self, *error: object) -> None:
        pass

    def train(self, config: Any, folder: Any, catalog: Any, table: Any, **options: Any) -> int:
        self.calls.append(("train", config, folder, options))
        if self.error:
            raise self.error
        return 0

    def evaluate(self, config: Any, folder: Any, catalog: Any, table: Any, **options: Any) -> None:
        self.calls.append(("evaluate", config, folder, options))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    stand_in = Engine()
    monkeypatch.setattr(load_engine, "engine", lambda log: stand_in)
    return stand_in


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["loss=hubber"], 2, "Did you mean 'huber'?"),
        (["loss.dleta=2"], 2, "Did you mean 'loss.delta'?"),
        (["+loss.dleta=2"], 2, "Did you mean 'loss.delta'?"),
        (["++loss.dleta=2"], 2, "Did you mean 'loss.delta'?"),
        (["++metric.mae.nothing=2"], 2, "metric.mae.nothing: unknown key"),
        (["loss.delta=abc"], 2, "loss.delta: must be a finite number > 0. Received: 'abc'."),
        (["loss.delta=-1"], 2, "Received: -1."),
        (["data=csv"], 2, "data.path, data.target: must be given"),
        (["data=csv", "data.path=nowhere.csv"], 3, "data.path: no such file. Received: 'nowhere.csv'"),
        (["optimzer=adam"], 2, "Did you mean 'optimizer'?"),
        (["optimizer.groups.wide.match=["], 2, "not an override at character 30"),
        (['optimizer.groups.wide.match="["'], 2, "not a regular expression"),
        (["trainer.max_epochs=0"], 2, "trainer.max_epochs: must be a whole number >= 1, or null. Received: 0."),
        (["x={"], 2, "not an override at character 4"),
        (["trian"], 2, "Did you mean 'train'?"),
        (["--confg-dir=x"], 2, "unrecognized arguments: --confg-dir=x"),
        (["--cfg", "jb"], 2, "invalid choice: 'jb'"),
        (["--cfg", "job", "loss.dleta=2"], 2, "Did you mean 'loss.delta'?"),
        (["--cfg", "job", "-p", "los"], 2, "Did you mean 'loss'?"),
        (["--cfg", "job", "-m"], 2, "--multirun, --cfg: one at a time"),
        (["list", "--cfg", "job"], 2, "--cfg: one at a time, and only to train"),
        (["--resolve"], 2, "only together with --cfg"),
        (["list", "los"], 2, "Did you mean 'loss'?"),
        (["show"], 2, "needs GROUP=NAME"),
        (["show", "loss"], 2, "needs GROUP=NAME"),
        (["show", "loss=hubr"], 2, "Did you mean 'huber'?"),
        (["show", "trainer=defalt"], 2, "Did you mean 'default'?"),
        (["resume"], 2, "needs one run folder"),
        (["resume", "nowhere"], 2, "nowhere: not a run folder"),
        (["plugins=nope"], 2, "no module named 'nope'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    run: Callable[..., Result], tmp_path: Path, argv: list[str], code: int, message: str
) -> None:
    status, out, err = run(*argv)
    assert status == code
    assert out == ""
    assert err.startswith("tfrun: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_help_lists_commands_groups_and_flags(run: Callable[..., Result]) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for command in cli.COMMANDS:
        assert f"tfrun {command} " in out or f"tfrun [{command}] " in out
    assert "huber" in out and "for_wide_deep" in out and "tfrun list" in out


def test_list(run: Callable[..., Result]) -> None:
    code, out, _ = run("list", "loss", "strategy")
    assert code == 0
    assert out.startswith("loss\n")
    assert "\n  huber " in out
    assert "\nstrategy\n" in out and "  cpu       Uses the CPU, even if there is a GPU." in out
    assert "schedule\n" in run("list")[1]


def test_show_component_has_all_there_is_to_know(run: Callable[..., Result]) -> None:
    code, out, _ = run("show", "loss=huber")
    assert code == 0
    assert "regression.py:" in out
    assert "delta: Annotated[float, Gt(0)] = 1.0" in out
    assert "linear" in out  # from the docstring
    assert out.endswith("loss:\n  name: huber\n  delta: 1.0\n")


def test_show_file_and_schedule_and_groups(run: Callable[..., Result], root: Path) -> None:
    assert (root / "conf/trainer/default.yaml").read_text() in run("show", "trainer=default")[1]
    assert "optimizer:\n  schedule:\n    name: cosine\n" in run("show", "schedule=cosine")[1]
    assert "match: ^wide/" in run("show", "optimizer=for_wide_deep")[1]


def test_plugin_is_listed_and_shown(run: Callable[..., Result], tmp_path: Path) -> None:
    source = "@register.loss('mine')\ndef mine(y_true, y_pred, weight: float = 2.0):\n  'My own.'\n"
    (tmp_path / "own.py").write_text(f"raise SystemExit\n{source}")
    assert "  mine                             My own." in run("list", "loss", "plugins=own")[1]
    assert "own.py:3" in run("show", "loss=mine", "plugins=[own]")[1]
    code, out, _ = run("--cfg", "job", "plugins=[own]", "loss=mine", "-p", "loss")
    assert (code, out) == (0, "# @package loss\nname: mine\nweight: 2.0\n")


def test_cfg_prints_yaml(run: Callable[..., Result]) -> None:
    code, out, _ = run("loss.delta=2", "--cfg", "job", "name=a_${seed}")
    assert code == 0
    config = yaml.safe_load(out)
    assert config["loss"] == {"name": "huber", "delta": 2}
    assert config["name"] == "a_${seed}"
    assert "hydra" not in config
    assert "name: a_42\n" in run("--cfg", "job", "--resolve", "name=a_${seed}")[1]
    assert yaml.safe_load(run("--cfg", "hydra")[1])["hydra"]["job"]["name"] == "tfrun"


def test_cfg_shows_what_is_missing(run: Callable[..., Result]) -> None:
    code, out, _ = run("--cfg", "job", "data=csv")
    assert code == 0
    assert yaml.safe_load(out)["data"]["path"] == "???"


def test_version(run: Callable[..., Result]) -> None:
    assert run("--version")[:2] == (0, f"tfrun {__version__}\n")


def test_hydra_help(tfrun: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    # in a process of its own: Hydra sets logging up anew and closes the handlers that other tests' libraries made
    done = tfrun("--hydra-help")
    assert done.returncode == 0
    assert "--multirun" in done.stdout


def test_completion_knows_components(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "tfrun loss=hu")
    assert run("-sc", "query=bash")[1].strip() == "loss=huber"


def test_train_claims_a_folder_and_records_the_config(
    run: Callable[..., Result], engine: Engine, tmp_path: Path
) -> None:
    code, _, err = run("train", "name=first", "loss.delta=2", "seed=0")
    assert (code, err) == (0, "")
    ((_, config, folder, _),) = engine.calls
    assert folder.path.parent == tmp_path / "outputs" / "first"
    assert config.loss.to_dict() == {"name": "huber", "delta": 2.0}
    assert config.seed == 0
    written = yaml.safe_load((folder.path / "config.yaml").read_text())
    assert written["optimizer"]["groups"]["wide"]["name"] == "ftrl"
    overrides = yaml.safe_load((folder.path / ".hydra" / "overrides.yaml").read_text())
    assert overrides == ["name=first", "loss.delta=2", "seed=0"]
    assert "output_dir" in (folder.path / ".hydra" / "hydra.yaml").read_text()


def test_resume_takes_up_the_config_with_what_may_change(run: Callable[..., Result], engine: Engine) -> None:
    run("seed=3")
    folder = engine.calls[0][2]
    code, _, err = run("resume", str(folder.path), "trainer.max_epochs=50", "early_stopping.patience=4", "tags=[more]")
    assert (code, err) == (0, "")
    _, config, again, options = engine.calls[1]
    assert again.path == folder.path
    assert options["resume"] is True
    assert (config.seed, config.trainer.max_epochs, config.early_stopping.patience) == (3, 50, 4)
    run("resume", str(folder.path))
    assert engine.calls[2][1].trainer.max_epochs == 50


def test_resume_refuses_what_the_state_would_not_fit(run: Callable[..., Result], engine: Engine) -> None:
    run()
    path = str(engine.calls[0][2].path)
    code, _, err = run("resume", path, "loss.delta=2", "trainer.max_epochs=50")
    assert code == 6
    assert "loss.delta: 1.0 -> 2" in err
    assert "max_epochs: 20" not in err
    assert "trainer.max_steps" in err  # of the allowed list
    assert run("resume", path, "loss.dleta=2")[0] == 2
    assert len(engine.calls) == 1


def test_resume_that_fails_leaves_the_config(run: Callable[..., Result], engine: Engine) -> None:
    from tfrun.errors import CheckpointError

    run()
    folder = engine.calls[0][2]
    before = folder.config_yaml.read_text()
    engine.error = CheckpointError("does not fit")
    assert run("resume", str(folder.path), "trainer.max_epochs=50")[0] == 6
    assert yaml.safe_load(folder.config_yaml.read_text()) == yaml.safe_load(before)


def test_evaluate_takes_other_data_only(run: Callable[..., Result], engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{k},{k}.5\n" for k in range(12)))
    run("data.batch_size=8")
    path = str(engine.calls[0][2].path)
    assert run("evaluate", path, "data=csv", "data.path=rows.csv", "data.target=y")[0] == 0
    name, config, _, _ = engine.calls[1]
    assert (name, config.data.name, config.data.batch_size) == ("evaluate", "csv", 8)
    code, _, err = run("evaluate", path, "model=mlp")
    assert code == 2 and "takes other data only" in err


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (ValueError("a bug"), 1)])
def test_exit_code_of_what_is_no_mistake(
    run: Callable[..., Result], engine: Engine, error: BaseException, code: int
) -> None:
    engine.error = error
    status, _, err = run()
    assert status == code
    assert ("Traceback" in err and "a bug" in err) == (code == 1)


@pytest.mark.wheel
@pytest.mark.parametrize(
    "argv",
    [["--help"], ["list"], ["show", "loss=huber"], ["--cfg", "job"], ["loss=hubber"], ["loss.dleta=2"], ["--info"]],
    ids=" ".join,
)
def test_answers_import_neither_tensorflow_nor_keras(tmp_path: Path, argv: list[str]) -> None:
    heavy = ("tensorflow", "keras", "pyarrow", "sklearn", "rich")
    code = f"import sys; from tfrun.cli import main; code = main({argv}); "
    code += f"print('LOADED', [name for name in {heavy} if name in sys.modules]); sys.exit(code)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "LOADED []"
    assert result.returncode == (2 if "=hub" in argv[-1] and argv[0] != "show" or "dleta" in argv[-1] else 0)


@pytest.mark.wheel
def test_console_script_exits_with_the_code(tfrun: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    result = tfrun("loss=hubber")
    assert result.returncode == 2
    assert result.stderr.startswith("tfrun: error: loss: unknown option. Received: 'hubber'.")
