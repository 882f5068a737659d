"""An export for a server is a new version, and those that are there stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrun.errors import ConfigError
from tfrun.files.serving_versions import new_version, versions


def test_the_next_version_follows_the_newest(tmp_path: Path) -> None:
    assert new_version(tmp_path, "houses", version=None) == 1
    folder = tmp_path / "serving" / "houses"
    for name in ("1", "007", "3.old", "²", "notes"):
        (folder / name).mkdir(parents=True)
    assert versions(folder) == {1, 7}
    assert new_version(tmp_path, "houses", version=None) == 8
    assert new_version(tmp_path, "houses", version=5) == 5
    assert new_version(tmp_path, "flats", version=None) == 1


def test_a_version_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    (tmp_path / "serving" / "houses" / "07").mkdir(parents=True)
    with pytest.raises(
        ConfigError, match=r"^version: .* stays as it is, .*\. Received: 7 of houses\. The next one: 8$"
    ):
        new_version(tmp_path, "houses", version=7)
