"""`tfrun new FOLDER`: a project of one's own, with an experiment, a package of components, data and tests.

The files are made from those in the folder `project`: `$package` and `$title` are filled in.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template

from tfrun.commands.command_line import CommandLine
from tfrun.errors import ConfigError, some
from tfrun.files.disk import refusals, temporary_path

TEMPLATES = Path(__file__).with_name("project")
SUFFIX = ".template"
TAKEN = ("conf", "data", "outputs", "multirun", "tests")  # folders of a project
NUM_ROWS = 200
PRICES = {"north": 2, "east": 3, "south": 4}  # district -> thousands for a square metre
COMMANDS = (
    "tfrun -cd conf experiment=first",
    "tfrun check -cd conf experiment=first loss=asymmetric metric=within model=small_net",
    "python -m pytest",
)


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    word, folder = _folder(command_line)
    files = project_files(folder.resolve().name)
    write_project(folder, files)
    print(f"{word}: a project of {len(files)} files")
    print("\n".join(f"  {path}" for path in sorted(files)))
    print("\n".join(["", "Try:", "", f"  cd {shlex.quote(word)}", *(f"  {command}" for command in COMMANDS)]))
    return 0


def _folder(command_line: CommandLine) -> tuple[str, Path]:
    """Returns the folder as it is typed, and its path. Raises ConfigError if it can't become a project."""
    words = command_line.words
    if len(words) != 1 or command_line.settings or not words[0]:
        received = " ".join(map(shlex.quote, words)) or "none"
        raise ConfigError(f"new: needs one folder, for example: tfrun new houses. Received: {received}")
    (word,) = words
    folder = Path(word).expanduser()
    with refusals(folder):
        if folder.is_symlink() and not folder.exists():
            raise ConfigError(f"new: the folder must be new or empty. Received: {word!r}, a link to nothing")
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"new: the folder must be new or empty. Received: {word!r}, a file")
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if names:
        raise ConfigError(f"new: the folder must be new or empty. Received: {word!r}, which has {some(names)}")
    return word, folder


def package_name(title: str) -> str:
    """Returns the name of a project's package: that of its folder as an identifier which nothing else has."""
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    if not name or name[0].isdigit():
        name = f"project_{name}".rstrip("_")
    spec = importlib.util.find_spec(name)
    is_module = spec is not None and spec.origin is not None  # else it is a folder, perhaps the project's own
    return f"{name}_project" if keyword.iskeyword(name) or name in TAKEN or is_module else name


def project_files(title: str) -> dict[str, str]:
    """Returns the texts of a project's files by their paths in it; `title` is the name of its folder."""
    package = package_name(title)
    files = {"data/homes.csv": homes()}
    for template in TEMPLATES.rglob(f"*{SUFFIX}"):
        path = template.relative_to(TEMPLATES).as_posix().removesuffix(SUFFIX)
        path = {"gitignore": ".gitignore"}.get(path, re.sub("^package/", f"{package}/", path))
        files[path] = Template(template.read_text("utf-8")).substitute(package=package, title=title)
    return files


def homes() -> str:
    """Returns made-up homes as CSV: price = area · (2, 3 or 4 by district) + noise of −10 to 10."""
    lines = ["area,district,price"]
    for k in range(NUM_ROWS):
        district = list(PRICES)[k % 3]
        area = 30 + 37 * k % 171
        lines.append(f"{area},{district},{area * PRICES[district] + 53 * k % 21 - 10}")
    return "\n".join(lines) + "\n"


def write_project(folder: Path, files: Mapping[str, str]) -> None:
    """Writes the files into a folder that is new or empty, all or none of them.

    Raises:
        ResourceError: the disk refuses.
    """
    is_new = not folder.exists()
    aside = temporary_path(folder) if is_new else folder / temporary_path(Path("project")).name
    with refusals(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            for path, text in files.items():
                (aside / path).parent.mkdir(parents=True, exist_ok=True)
                (aside / path).write_text(text, "utf-8")
            if is_new:
                aside.rename(folder)
            for part in () if is_new else sorted(aside.iterdir()):
                part.rename(folder / part.name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
