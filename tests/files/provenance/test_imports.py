from __future__ import annotations

from pathlib import Path

from tfrun.files.provenance.imports import follow, root_of


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def names(folder: Path, modules: dict[str, str]) -> dict[str, str]:
    given = {name: str(folder / file) for name, file in modules.items()}
    return {name: str(Path(file).relative_to(folder)) for name, file in follow(given, str(folder)).items()}


def test_imports_are_followed_from_module_to_module(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "plugin.py": "import numpy, os.path\nimport a.b\ndef f():\n    from c import d, value\n",
            "a/__init__.py": "",
            "a/b.py": "from . import e\nfrom .. import too_far\nfrom .f.g import h",
            "a/e.py": "import plugin",
            "a/f/__init__.py": "raise SystemExit  # nothing is run",
            "a/f/g.py": "",
            "c/__init__.py": "value = 1",
            "c/d.py": "import other",
            "unused.py": "",
            "too_far.py": "",
        },
    )
    assert names(tmp_path, {"plugin": "plugin.py"}) == {
        "a": "a/__init__.py",
        "a.b": "a/b.py",
        "a.e": "a/e.py",
        "a.f": "a/f/__init__.py",
        "a.f.g": "a/f/g.py",
        "c": "c/__init__.py",
        "c.d": "c/d.py",
    }


def test_modules_beside_a_plugin_count_but_those_of_the_current_folder_come_first(tmp_path: Path) -> None:
    write(tmp_path, {"here/x.py": "", "there/plugin.py": "import x, y", "there/x.py": "", "there/y.py": ""})
    followed = follow({"plugin": str(tmp_path / "there" / "plugin.py")}, str(tmp_path / "here"))
    assert followed == {"x": str(tmp_path / "here" / "x.py"), "y": str(tmp_path / "there" / "y.py")}


def test_the_root_of_a_module() -> None:
    assert root_of("a", "/r/a.py") == "/r"
    assert root_of("a", "/r/a/__init__.py") == "/r"
    assert root_of("a.b", "/r/a/b.py") == "/r"
    assert root_of("a.b", "/r/a/b/__init__.py") == "/r"


def test_what_is_no_python_is_followed_no_further(tmp_path: Path) -> None:
    deep = "x = " + "(" * 500 + ")" * 500 + "\nimport b\n"
    write(tmp_path, {"a.py": "import b, c, d, e\n", "b.py": "import (", "c.py": "\0", "d.py": deep, "e.py": "import a"})
    (tmp_path / "e.py").write_bytes(b"\xff\n")
    assert set(names(tmp_path, {"a": "a.py"})) == {"b", "c", "d", "e"}
