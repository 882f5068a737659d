"""The arrows: who may import whom, and where TensorFlow lives."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

TENSORFLOW = ("tensorflow", "keras")
PACKAGE = "runner/tfrun"
TENSORFLOW_IN_DATA = ("data/layers.py", "data/id_functions.py", "data/encode.py")
ABOVE_IT = (*TENSORFLOW_IN_DATA, "data/examples.py")  # so importing these loads TensorFlow too
CONFIG = (  # it stops above the engine
    "tfrun.cli",
    "tfrun.commands",
    "tfrun.config.catalog_source",
    "tfrun.config.compose",
    "tfrun.config.explain",
    "tfrun.config.hydra_private",
    "tfrun.config.overrides",
    "tfrun.config.plain",
    "tfrun.config.sources",
    "hydra",
    "omegaconf",
)

MIRRORED = ("engine",)  # wings in which each module has a test file of its name
WITHOUT_TESTS = {"__init__": "empty, except for the engine's, which turns on the cache that test_xla_cache.py tests"}

# Where private names of libraries stand, and the modules that are private though their names don't begin with `_`.
PRIVATE = ("engine/private.py", "config/hydra_private.py", "sweep/optuna_private.py")
PRIVATE_MODULES = ("keras.src", "tensorflow.python", "tensorboard.compat")
# Names with an underscore that their libraries promise, and the one that Keras' own optimizers are written with.
PUBLIC_NAMES = {"_asdict", "_exit", "_replace", "_target_", "_get_variable_index"}


def files(root: Path, folder: str, outside: tuple[str, ...] = ()) -> list[Path]:
    """Returns the Python files of a folder; links are not followed, and `outside` names what is left out of it."""
    skipped = [root / folder / path for path in outside]
    return [
        file for file in sorted((root / folder).rglob("*.py")) if not any(file.is_relative_to(path) for path in skipped)
    ]


def nodes(node: ast.AST, in_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if in_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from nodes(child, in_functions)


def imports(file: Path, in_functions: bool = True) -> Iterator[tuple[str, int]]:
    """Yields the dotted names that a file imports, with their lines; `from a import b` is both a and a.b."""
    for node in nodes(ast.parse(file.read_text()), in_functions):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base, node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def offences(paths: list[Path], forbidden: tuple[str, ...], in_functions: bool = True) -> list[str]:
    assert paths
    return sorted(
        {
            f"{path}:{line} imports {name}"
            for path in paths
            for name, line in imports(path, in_functions)
            if any(name == prefix or name.startswith(f"{prefix}.") for prefix in forbidden)
        }
    )


# The wings from the bottom up: each imports only from those before it. `engine/x` is a folder or a file.
FLOORS = (
    ("folders", "host_cores", "host_memory", "stop_signals", "streams"),
    ("version", "errors", "console", "line_breaks", "narrow_tables"),
    ("protocols", "files", "engine/private"),
    ("config",),
    ("data", "reports", "engine/__init__"),
    ("components", "table", "arrays"),
    ("data/adapters",),
    ("data/data_set",),
    ("data/given_splits",),
    ("data/sources",),
    ("data/layers",),
    ("data/id_functions",),
    ("data/encode",),
    ("data/examples",),
    ("workers",),
    ("engine/training",),
    ("engine/building",),
    ("engine/recording",),
    ("engine/inference",),
    ("engine/verify", "engine/finding"),
    ("engine/resuming", "engine/run_warnings"),
    ("engine/training_run", "engine/following"),
    ("engine/experiment",),
    ("load_engine",),
    ("sweep",),
    ("finding",),
    ("commands",),
    ("cli",),
    ("python_api",),
    ("__main__", "__init__"),  # `tfrun.__init__` imports `python_api` only when it is asked for
)


def modules(root: Path) -> dict[str, Path]:
    """Returns the modules of the package by dotted name, those of the components included."""
    folders = {"tfrun": root / PACKAGE, "tfrun.components": root / "components"}
    found = {
        ".".join((package, *file.relative_to(folder).with_suffix("").parts)): file
        for package, folder in folders.items()
        for file in sorted(folder.rglob("*.py"))
    }
    assert len(found) > 200
    return found


def wing(module: str) -> str:
    """Returns the wing of a module: `engine/training` of `tfrun.engine.training.loop`."""
    parts = module.split(".")[1:]
    path = "/".join(parts[:2])
    return path if any(path in floor for floor in FLOORS) else parts[0]


def test_imports_between_the_wings_go_down(root: Path) -> None:
    """An import of the same floor or of a higher one would tie wings into a knot."""
    floor = {name: k for k, names in enumerate(FLOORS) for name in names}
    known = modules(root)
    wrong = [
        f"{module} imports {name}"
        for module, file in known.items()
        for name, _ in imports(file)
        if name in known and wing(name) != wing(module) and floor[wing(name)] >= floor[wing(module)]
    ]
    assert wrong == []


def test_training_sees_no_config(root: Path) -> None:
    """`engine/building` turns settings into objects; below it there are plain values only."""
    assert offences(files(root, f"{PACKAGE}/engine/training"), ("tfrun.config",)) == []


def test_modules_do_not_import_each_other_in_a_circle(root: Path) -> None:
    known = modules(root)
    graph = {module: {name for name, _ in imports(file) if name in known} for module, file in known.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_tensorflow_lives_in_the_engine_and_the_components(root: Path) -> None:
    rooms = ("engine", "sweep", "components", *TENSORFLOW_IN_DATA)
    assert offences(files(root, PACKAGE, outside=rooms), TENSORFLOW) == []


def test_sweep_imports_tensorflow_only_inside_functions(root: Path) -> None:
    assert offences(files(root, f"{PACKAGE}/sweep"), TENSORFLOW, in_functions=False) == []


def test_only_functions_reach_into_the_engine(root: Path) -> None:
    outside = files(root, PACKAGE, outside=("engine", "components"))
    assert offences(outside, ("tfrun.engine",), in_functions=False) == []


def test_engine_knows_no_config_system(root: Path) -> None:
    assert offences(files(root, f"{PACKAGE}/engine"), CONFIG) == []


def test_components_know_neither_the_engine_nor_the_command_line(root: Path) -> None:
    assert offences(files(root, "components"), ("tfrun.engine", *CONFIG)) == []


def test_datasets_need_no_tensorflow(root: Path) -> None:
    assert offences(files(root, "components/datasets"), TENSORFLOW) == []


@pytest.mark.parametrize("folder", [PACKAGE, "components", "conf", "tests"])
def test_imports_are_absolute_and_by_the_installed_name(root: Path, folder: str) -> None:
    paths = files(root, folder)
    assert offences(paths, ("runner", "components", "conf")) == []
    assert [f"{path}:{line}" for path in paths for name, line in imports(path) if name.startswith(".")] == []


def private_modules(file: Path) -> Iterator[str]:
    """Yields the private modules and names that a file imports from libraries."""
    for name, line in imports(file):
        is_hidden = any(part.startswith("_") and not part.endswith("__") for part in name.split("."))
        if is_hidden or any(f"{name}.".startswith(f"{module}.") for module in PRIVATE_MODULES):
            yield f"{file}:{line} imports {name}"


def private_attributes(file: Path) -> Iterator[str]:
    """Yields the attributes with an underscore that a file uses, of whatever object, and that it doesn't define."""
    tree = ast.parse(file.read_text())
    defined = set(PUBLIC_NAMES)
    used: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
            if is_own and isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
            used.append((node.attr, node.lineno))
            if ast.unparse(node) in PRIVATE_MODULES:
                yield f"{file}:{node.lineno} uses {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr", "delattr"):
            used += [(str(a.value), node.lineno) for a in node.args[1:2] if isinstance(a, ast.Constant)]
    for name, line in used:
        is_dunder = name.startswith("__") and name.endswith("__") and name != "__internal__"
        if name.startswith("_") and not is_dunder and name not in defined:
            yield f"{file}:{line} uses {name}"


def test_private_names_of_libraries_stand_in_one_file_for_each(root: Path) -> None:
    outside = [*files(root, PACKAGE, outside=PRIVATE), *files(root, "components")]
    found = [line for file in outside for line in (*private_modules(file), *private_attributes(file))]
    # TensorBoard's own messages, guarded where they are imported.
    events = root / PACKAGE / "engine" / "recording" / "tensorboard.py"
    assert [line for line in found if not line.startswith(f"{events}:") or "tensorboard." not in line] == []


@pytest.mark.parametrize(
    "line",
    [
        "import keras.src.backend",
        "from keras import src",
        "from tensorflow.python.eager import context",
        "from hydra._internal.hydra import Hydra",
        "from omegaconf import _utils",
        "import optuna._callbacks",
        "tf.__internal__.autograph",
        "keras.src.backend",
        "model._flatten_layers()",
        "optimizer._all_reduce_sum_gradients = None",
        "layer._metrics",
        "trial._trial_id",
        "override._value",
        "getattr(trial, '_trial_id')",
        "class Mine(Theirs):\n    def f(self):\n        return self._return_value",
    ],
)
def test_a_private_name_is_found(line: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(line)
    assert [*private_modules(file), *private_attributes(file)]


def test_all_json_is_written_without_nan(root: Path) -> None:
    """`json.dumps` writes NaN, which other programs can't read; only the hash of a checkpoint needs no file."""
    found = [
        f"{file.name}:{node.lineno}"
        for file in [*files(root, PACKAGE), *files(root, "components")]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.dumps", "json.dump")
    ]
    assert {line.partition(":")[0] for line in found} == {"strict_json.py", "checkpoints.py"} and len(found) == 3


def test_warnings_begin_alike(root: Path) -> None:
    """With `warning: `, on both streams; only what ends a command has the name of the program before it."""
    texts = {file: file.read_text() for file in [*files(root, PACKAGE), *files(root, "components")]}
    assert [str(file) for file, text in texts.items() if re.search(r"tfrun: warn|[\"']Warning: ", text)] == []
    assert sum("warning: " in text for text in texts.values()) > 5


@pytest.mark.parametrize("wing", MIRRORED)
def test_tests_mirror_the_modules(wing: str, root: Path) -> None:
    """`engine/training/loop.py` is tested in `tests/engine/training/test_loop.py`; no test file is of another name."""
    modules = {file.relative_to(root / PACKAGE) for file in files(root, f"{PACKAGE}/{wing}")}
    tested = {path for path in modules if path.stem not in WITHOUT_TESTS}
    tests = {file.relative_to(root / "tests") for file in (root / "tests" / wing).rglob("test_*.py")}
    assert {path.with_name(f"test_{path.name}") for path in tested} == tests


def test_no_file_means_nothing(root: Path) -> None:
    assert [file for file in [*files(root, PACKAGE), *files(root, "components")] if file.name == "utils.py"] == []


def test_keras_names_are_unique(root: Path) -> None:
    """Keras lets the later of two classes of one registered name replace the earlier silently."""
    names = [
        f"{ast.unparse(decorator)} {node.name}"
        for file in files(root, "components")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if "register_keras_serializable" in ast.unparse(decorator)
    ]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def loaded_after_importing(names: list[str]) -> str:
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
    code += f"print(*(name for name in {TENSORFLOW} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def module_names(root: Path, folder: str, package: str, outside: tuple[str, ...] = ()) -> list[str]:
    paths = [file.relative_to(root / folder).with_suffix("") for file in files(root, folder, outside)]
    names = [".".join((package, *path.parts)).removesuffix(".__init__") for path in paths]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.wheel
def test_importing_tfrun_loads_no_tensorflow(root: Path) -> None:
    names = module_names(root, PACKAGE, "tfrun", outside=("engine", *ABOVE_IT))
    assert loaded_after_importing(["tfrun.components", "tfrun.conf", *names]) == ""


@pytest.mark.wheel
def test_importing_the_datasets_loads_no_tensorflow(root: Path) -> None:
    assert loaded_after_importing(module_names(root, "components/datasets", "tfrun.components.datasets")) == ""


def test_the_engine_comes_without_scikit_learn_which_can_still_be_imported() -> None:
    code = "import sys\nfrom tfrun.load_engine import engine\nwith engine(None): pass\n"
    code += "assert 'keras' in sys.modules and 'sklearn' not in sys.modules\nimport sklearn.datasets"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_each_promise_has_its_test(root: Path) -> None:
    """docs/guarantees.md names tests that are there."""
    sources: dict[str, str] = {}  # two folders may have a test_train.py
    for path in (root / "tests").rglob("test_*.py"):
        sources[path.name] = sources.get(path.name, "") + path.read_text()
    name = ""
    found = re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", (root / "docs" / "guarantees.md").read_text())
    named = [pair for pair in found if any(pair)]
    assert len(named) > 12
    for file, function in named:
        name = file or name
        assert name in sources
        assert not function or f"def {function}(" in sources[name], function


def test_links_between_the_documents_lead_somewhere(root: Path) -> None:
    """Each link names a file that is there, and a heading in it."""
    documents = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    heads = {path: re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE) for path in documents}
    anchors = {path: {_anchor(head) for head in of_document} for path, of_document in heads.items()}
    lost = []
    for path in documents:
        for link in re.findall(r"\]\(\s*(?!\w+:)([^)\s]+)\)", path.read_text()):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists() or (anchor and target in anchors and anchor not in anchors[target]):
                lost.append(f"{path.relative_to(root)}: {link}")
    assert lost == []


def _anchor(head: str) -> str:
    """Returns the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-")
