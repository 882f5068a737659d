"""An export never takes the place of anything but an export of the same run."""

from __future__ import annotations

import json
import math
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import CheckpointError, ConfigError, ResourceError
from tfrun.files.exports import RECORD, Export, Quantized


def write(export: Export, content: str = "model", *, step: int = 3) -> None:
    export.refuse_to_replace()
    with export.replaced(step) as folder:
        if export.format == "saved_model":
            (folder / "saved_model" / "variables").mkdir(parents=True)
            (folder / "saved_model" / "variables" / "a").write_text(content)
        else:
            (folder / export.path.name).write_text(content)


def elsewhere(folder: Path, format: str = "keras", run_id: str = "run") -> Export:
    return Export(format, folder, run_id=run_id, is_own_folder=False)


@pytest.mark.parametrize("format", ["keras", "saved_model"])
def test_an_export_of_the_same_run_is_replaced(format: str, tmp_path: Path) -> None:
    export = elsewhere(tmp_path / "new" / "folder", format)
    write(export, "first")
    write(export, "second", step=4)
    files = [path for path in export.folder.rglob("*") if path.is_file()]
    assert {path.name: path.read_text() for path in files if path.name != RECORD}.popitem()[1] == "second"
    assert sorted(path.name for path in export.folder.iterdir()) == sorted([export.path.name, RECORD])
    record = json.loads((export.folder / RECORD).read_text())[export.path.name]
    assert (record["run_id"], record["step"]) == ("run", 4)


def test_formats_lie_beside_each_other(tmp_path: Path) -> None:
    for format in ("keras", "litert", "keras"):
        write(elsewhere(tmp_path, format))
    assert sorted(json.loads((tmp_path / RECORD).read_text())) == ["model.keras", "model.tflite"]


def test_what_is_no_export_of_the_run_stays(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("a year of work")
    with pytest.raises(ConfigError, match=r"out: .*model.keras exists, and is no export of this run. Remove it, or"):
        write(elsewhere(tmp_path))
    write(elsewhere(tmp_path / "other", run_id="another"))
    with pytest.raises(ConfigError, match="is no export of this run"):
        write(elsewhere(tmp_path / "other"))
    assert (tmp_path / "model.keras").read_text() == "a year of work"


@pytest.mark.parametrize("format", ["keras", "saved_model"])
def test_an_export_that_was_changed_stays(format: str, tmp_path: Path) -> None:
    export = Export(format, tmp_path, run_id="run", is_own_folder=True)
    write(export)
    (export.path if format == "keras" else export.path / "notes.txt").write_text("trained further")
    with pytest.raises(ConfigError, match="has been changed since it was exported"):
        write(export)


def test_links_and_files_stay(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("model")
    write(elsewhere(tmp_path / "a"))
    (tmp_path / "a" / "model.keras").unlink()
    (tmp_path / "a" / "model.keras").symlink_to(tmp_path / "precious")  # of the same contents
    with pytest.raises(ConfigError, match="has been changed"):
        write(elsewhere(tmp_path / "a"))
    with pytest.raises(ConfigError, match="out: must be a folder"):
        write(elsewhere(tmp_path / "precious"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / RECORD).write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match="exists, and isn't what tfrun writes"):
        write(elsewhere(tmp_path / "b"))


def test_a_damaged_record_of_the_run_s_own_exports(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"mod')
    with pytest.raises(CheckpointError, match=f"^{tmp_path / RECORD}: is damaged. Remove it, or name another folder"):
        write(Export("keras", tmp_path, run_id="run", is_own_folder=True))


def test_an_export_of_an_earlier_version_has_no_record(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("old")
    write(Export("keras", tmp_path, run_id="run", is_own_folder=True))
    assert (tmp_path / "model.keras").read_text() == "model"


def test_a_run_may_have_been_renamed(tmp_path: Path) -> None:
    for run_id in ("run", "renamed"):
        write(Export("keras", tmp_path, run_id=run_id, is_own_folder=True))


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    export = elsewhere(tmp_path)
    write(export)
    with pytest.raises(ConfigError, match="off"), export.replaced(4) as folder:
        (folder / "model.keras").write_text("wrong")
        raise ConfigError("off by 3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", RECORD]
    assert (tmp_path / "model.keras").read_text() == "model"


def test_what_comes_while_it_is_exported_stays(tmp_path: Path) -> None:
    """A person's file, and the version of another export that was begun at the same time."""
    served = Export("serving", tmp_path, run_id="run", is_own_folder=True, place="serving/houses/1")
    for export in (elsewhere(tmp_path), served):
        export.refuse_to_replace()
        error = r"exists, and is no export|is of another export that ended meanwhile"
        with pytest.raises(ConfigError, match=error), export.replaced(3) as folder:
            (folder / "serving").mkdir()
            (folder / "model.keras").write_text("model")
            export.path.mkdir(parents=True) if export is served else export.path.write_text("a year of work")
        assert not list(tmp_path.glob(".export*")) and not (tmp_path / RECORD).exists()
    assert elsewhere(tmp_path).path.read_text() == "a year of work" and not list(served.path.iterdir())


def test_records_of_exports_at_the_same_time_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits until the first has written what it has read and added to."""
    export, read = elsewhere(tmp_path), Export.recorded
    threads: list[threading.Thread] = []

    def recorded(self: Export) -> Any:
        known = read(self)
        if not threads:
            threads.append(threading.Thread(target=export.record, args=("b", {"run_id": "r", "sha256": "2"})))
            threads[0].start()
            threads[0].join(0.2)  # which has to end if nothing holds it up
        return known

    monkeypatch.setattr(Export, "recorded", recorded)
    export.record("a", {"run_id": "r", "sha256": "1"})
    threads[0].join()
    assert json.loads((tmp_path / RECORD).read_text()).keys() == {"a", "b"}


def test_what_a_killed_export_has_left_is_removed(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    (tmp_path / f".export.{killed.pid}" / "saved_model" / "variables").mkdir(parents=True)
    write(elsewhere(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", RECORD]


def test_a_folder_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="model.keras: can't be written: Not a directory. out=FOLDER names"):
        write(elsewhere(tmp_path / "file" / "folder"))


@pytest.mark.parametrize(
    ("higher_is_better", "values", "drop"),
    [
        (True, (0.90, 0.88), 0.02),  # accuracy: a difference
        (True, (0.90, 0.91), -0.01),
        (False, (200.0, 205.0), 0.025),  # an error: a share of it
        (False, (200.0, 190.0), -0.05),
        (None, (200.0, 190.0), 0.05),  # nobody knows: any change is a drop
        (False, (0.0, 0.0), 0.0),
        (False, (0.0, 0.1), math.inf),
    ],
)
def test_how_much_worse_a_metric_became(
    higher_is_better: bool | None, values: tuple[float, float], drop: float
) -> None:
    quantized = Quantized("int8", "m", higher_is_better, values, 10, sizes=(2, 1), milliseconds=(2.0, 1.0))
    assert quantized.drop == pytest.approx(drop)
    assert math.isnan(Quantized("int8", "m", False, (1.0, math.nan), 1, sizes=(2, 1), milliseconds=(2.0, 1.0)).drop)
