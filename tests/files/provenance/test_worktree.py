from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import CheckpointError
from tfrun.files.provenance import record
from tfrun.files.provenance.record import Patch, Provenance
from tfrun.files.provenance.recording import Recording, Subject
from tfrun.files.provenance.worktree import checked_out, package_folder
from tfrun.files.runs import RunFolder

Call = Callable[..., str]


@pytest.fixture
def recorded(tmp_path: Path, git: Call, monkeypatch: pytest.MonkeyPatch) -> Provenance:
    """The record of a run in `sub`: git has the plugin with other contents, and neither `helper.py`."""
    folder = tmp_path / "sub"
    folder.mkdir()
    (tmp_path / ".gitignore").write_text("outputs\n")
    (folder / "plugin.py").write_text("import helper\n")
    git("init", "-q", ".")
    git("add", ".")
    git("commit", "-qm", "one")
    (folder / "plugin.py").write_text("import helper  # new\n")
    (folder / "helper.py").write_text("1\n")
    monkeypatch.chdir(folder)
    run = RunFolder(tmp_path / "outputs" / "a" / "2026-01-01_00-00-00_abcdef")
    run.path.mkdir(parents=True)
    run.config_yaml.touch()
    with Recording.start(run, Subject([("plugin", folder / "plugin.py")])):
        pass
    read = record.read(run.path)
    assert read is not None and read.git is not None and read.git.patch is not None
    return read


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def refused(recorded: Provenance, folder: Path) -> str:
    with pytest.raises(CheckpointError) as raised, checked_out(recorded, folder):
        raise AssertionError("it is there")
    return str(raised.value)


def test_the_code_of_the_run_is_there_and_then_gone(tmp_path: Path, git: Call, recorded: Provenance) -> None:
    (tmp_path / "sub" / "plugin.py").write_text("edited\n")
    (tmp_path / "sub" / "helper.py").unlink()
    git("commit", "-qam", "two")
    with checked_out(recorded, tmp_path) as code:
        assert files(code) == {"plugin.py": "import helper  # new\n", "helper.py": "1\n"}
        assert code.name == "sub"
        assert len(git("worktree", "list").splitlines()) == 2
        tree = code.parent
    assert not tree.exists() and not tree.parent.exists()
    assert len(git("worktree", "list").splitlines()) == 1
    assert files(tmp_path / "sub") == {"plugin.py": "edited\n"}


def test_it_is_removed_after_an_error(tmp_path: Path, git: Call, recorded: Provenance) -> None:
    with pytest.raises(KeyboardInterrupt), checked_out(recorded, tmp_path) as code:
        raise KeyboardInterrupt
    assert not code.exists()
    assert len(git("worktree", "list").splitlines()) == 1


def with_git(recorded: Provenance, **changes: Any) -> Provenance:
    assert recorded.git is not None
    return replace(recorded, git=replace(recorded.git, **changes))


def test_code_that_is_not_there(tmp_path: Path, git: Call, recorded: Provenance) -> None:
    assert "outside of git" in refused(replace(recorded, git=None), tmp_path)
    assert "git has no such commit. Received: '--output=x'" in refused(
        with_git(recorded, commit="--output=x"), tmp_path
    )
    assert "is gone from the repository" in refused(with_git(recorded, commit="0" * 40), tmp_path)
    assert "there is no repository in /" in refused(recorded, Path("/"))
    left_out = Patch(None, None, "provenance.patch=false")
    assert "provenance.patch=false" in refused(with_git(recorded, patch=left_out), tmp_path)
    git("checkout", "-q", "--", ".")
    assert len(git("worktree", "list").splitlines()) == 1


def with_patch(recorded: Provenance, content: bytes) -> Provenance:
    assert recorded.git is not None and recorded.git.patch is not None and recorded.git.patch.file is not None
    recorded.git.patch.file.write_bytes(content)
    return with_git(recorded, patch=Patch(recorded.git.patch.file, hashlib.sha256(content).hexdigest(), None))


ADDED = (
    "diff --git a/{0} b/{0}\nnew file mode {1}\n--- /dev/null\n+++ b/{0}\n"
    "@@ -0,0 +1 @@\n+{2}\n\\ No newline at end of file\n"
)
OUT = ["../out.txt", "/tmp/out.txt", ".git", ".git/hooks/post-checkout", "sub/../../out.txt"]


@pytest.mark.parametrize(
    "name", ["../out.txt", "/tmp/out.txt", ".git", ".git/hooks/post-checkout", "sub/../../out.txt"]
)
def test_a_patch_that_leads_out(tmp_path: Path, recorded: Provenance, name: str) -> None:
    crafted = with_patch(recorded, ADDED.format(name, "100755", "x").encode())
    assert "changes.patch doesn't apply" in refused(crafted, tmp_path)


@pytest.mark.parametrize("content", [b"nonsense", b"\0" * 1000, b"diff --git a/x b/x\n@@ -1,9"])
def test_a_patch_that_is_none(tmp_path: Path, recorded: Provenance, content: bytes) -> None:
    assert "changes.patch doesn't apply" in refused(with_patch(recorded, content), tmp_path)


def test_a_patch_that_was_changed_or_is_a_link(tmp_path: Path, recorded: Provenance) -> None:
    assert recorded.git is not None and recorded.git.patch is not None and recorded.git.patch.file is not None
    file = recorded.git.patch.file
    content = file.read_bytes()
    file.write_bytes(content + b"\n")
    assert "the patch is damaged" in refused(recorded, tmp_path)
    file.unlink()
    (tmp_path / "elsewhere").write_bytes(content)
    file.symlink_to(tmp_path / "elsewhere")
    assert "the patch is damaged" in refused(recorded, tmp_path)


def with_copy(recorded: Provenance, path: str) -> Provenance:
    (file,) = [file for file in recorded.files if file.name == "helper"]
    return replace(recorded, files=(replace(file, path=path),))


def test_copies_that_lead_out(tmp_path: Path, recorded: Provenance) -> None:
    assert recorded.git is not None
    root = recorded.git.root
    for path in ("/etc/helper.py", f"{root}/../helper.py", f"{root}/.git/hooks/x", f"{root}/.GIT/x"):
        assert "is outside of the run's repository" in refused(with_copy(recorded, path), tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    link = ADDED.format("link", "120000", str(out)).encode()
    crafted = with_copy(with_patch(recorded, link), f"{root}/link/helper.py")
    assert "is outside of the run's repository" in refused(crafted, tmp_path)
    assert list(out.iterdir()) == []
    damaged = next(file for file in recorded.files if file.name == "helper")
    assert damaged.copy is not None
    damaged.copy.write_text("2\n")
    assert "is damaged" in refused(recorded, tmp_path)


def test_no_program_of_the_repository_runs(tmp_path: Path, git: Call, recorded: Provenance) -> None:
    ran = tmp_path / "ran"
    hook = tmp_path / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    git("config", "filter.evil.smudge", f"touch {ran}; cat")
    git("config", "filter.evil.process", f"touch {ran}")
    git("config", "core.fsmonitor", f"touch {ran}")
    (tmp_path / ".git" / "info" / "attributes").write_text("*.py filter=evil\n")
    with checked_out(recorded, tmp_path) as code:
        assert (code / "plugin.py").read_text() == "import helper  # new\n"
    assert not ran.exists()


def test_tfrun_itself_is_in_the_repository(tmp_path: Path, recorded: Provenance) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "runner" / "tfrun").mkdir(parents=True)
    assert recorded.git is not None
    crafted = replace(recorded, tfrun={"version": "1", "folder": f"{recorded.git.root}/runner/tfrun", "git": None})
    folder = Path(recorded.folder)
    assert package_folder(crafted, tree / "sub", folder) is None  # it isn't tfrun
    (tree / "runner" / "tfrun" / "__main__.py").touch()
    assert package_folder(crafted, tree / "sub", folder) == tree / "runner"
    assert package_folder(recorded, tree / "sub", folder) is None
