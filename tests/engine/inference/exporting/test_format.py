"""A format has to be named; what each can hold is tested in `test_formats.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrun import cli

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold


def test_a_command_that_names_no_format_is_refused(regression: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(regression), "format=savedmodel"]) == 2
    assert "Did you mean 'saved_model'" in capsys.readouterr().err
    assert cli.main(["export", str(regression)]) == 2
    assert cli.main(["export", str(regression), "format=keras", "seed=3"]) == 2
    assert not (regression / "export").exists()
