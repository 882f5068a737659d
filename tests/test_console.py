from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tfrun.console import library_output_to


def test_a_log_on_a_full_disk_loses_its_lines_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with library_output_to(Path("/dev/full")):
        logging.getLogger("tfrun").warning("training goes on")
    assert capfd.readouterr() == ("", "")


def test_what_libraries_log_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with library_output_to(tmp_path / "log"):
        logging.getLogger("tfrun").warning("training goes on")
    assert (tmp_path / "log").read_text().endswith("WARNING tfrun: training goes on\n")
    assert capfd.readouterr() == ("", "")
