"""What a format can't hold is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrun import cli

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold


def test_a_format_that_can_not_hold_the_model_is_refused(regression: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(regression), "format=savedmodel"]) == 2
    assert "Did you mean 'saved_model'" in capsys.readouterr().err
    assert cli.main(["export", str(regression)]) == 2
    assert cli.main(["export", str(regression), "format=keras", "seed=3"]) == 2
    assert cli.main(["export", str(regression), "format=litert"]) == 2
    assert not (regression / "export").exists()
