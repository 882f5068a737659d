"""The files that paths and patterns of the config's data stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrun.config.data_paths import expand, fixed_part, matching, version_of


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few files; the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows" / "old").mkdir(parents=True)
    for name in ("rows/b.csv", "rows/a.csv", "rows/old/c.csv", "x[1].csv"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_patterns_are_expanded_by_name(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(rows))
    assert expand("rows/*.csv") == ["rows/a.csv", "rows/b.csv"]
    assert expand("rows/**/*.csv") == ["rows/a.csv", "rows/b.csv", "rows/old/c.csv"]
    assert expand(["rows/old/*", "rows/a.csv"]) == ["rows/old/c.csv", "rows/a.csv"]
    assert expand("~/rows/?.csv") == [str(rows / "rows/a.csv"), str(rows / "rows/b.csv")]
    assert expand("x[1].csv") == ["x[1].csv"]  # a file of just this name
    assert (matching("none.csv"), matching("none*")) == ([], [])


@pytest.mark.parametrize(
    ("path", "fixed"),
    [("rows/a.csv", "rows/a.csv"), ("rows/*.csv", "rows"), ("**/a.csv", "."), ("/data/x?/a.csv", "/data"), ("a", "a")],
)
def test_the_part_before_a_pattern(path: str, fixed: str) -> None:
    assert fixed_part(path) == fixed


def test_any_change_of_a_file_is_another_version(rows: Path) -> None:
    data = {"path": "rows/*.csv", "validation_path": ["x[1].csv"], "test_path": "rows/old", "name": "csv"}
    versions = [version_of(data)]
    assert version_of(data) == versions[0] and len(versions[0]) == 4
    for name in ("rows/a.csv", "rows/new.csv", "rows/old/new.csv", "x[1].csv"):
        (rows / name).write_text(f"changed {name}")
        versions.append(version_of(data))
        assert versions[-1] not in versions[:-1]
    (rows / "rows/a.csv").unlink()
    assert version_of(data) not in versions
    assert version_of({"path": 7}) == version_of({"path": "none.csv"}) == version_of({}) == []
