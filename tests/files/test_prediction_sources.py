from __future__ import annotations

from pathlib import Path

import pytest

from tfrun.errors import CheckpointError, ConfigError
from tfrun.files.prediction_sources import RECORD, record_source, refuse_other_source


def test_a_file_of_other_data_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    refuse_other_source(out, "/jan/rows.csv")
    out.write_text("predictions")
    refuse_other_source(out, "/jan/rows.csv")  # of an earlier version, without a record
    record_source(out, "/jan/rows.csv")
    record_source(tmp_path / "more.csv", "/feb/rows.csv")
    refuse_other_source(out, "/jan/rows.csv")
    with pytest.raises(ConfigError, match="rows.csv has the predictions for /jan/rows.csv. Received: /feb/rows.csv. N"):
        refuse_other_source(out, "/feb/rows.csv")
    out.unlink()
    refuse_other_source(out, "/feb/rows.csv")
    (tmp_path / RECORD).write_text("[")
    with pytest.raises(CheckpointError, match="sources.json: is damaged"):
        refuse_other_source(out, "/feb/rows.csv")
