from __future__ import annotations

from typing import Any

from rich.console import Console

from tfrun.engine.recording.profile import NUM_OPERATIONS
from tfrun.engine.recording.tensorboard import TensorBoard


def test_a_profile_is_a_text_and_the_last_lines(small: Any, monkeypatch: Any) -> None:
    texts: dict[str, str] = {}
    monkeypatch.setattr(TensorBoard, "write_text", lambda self, tag, markdown, step: texts.update({tag: markdown}))
    console = Console(record=True, width=100, quiet=False)
    folder = small.train("trainer.compile=graph", "trainer.profile=[2,4]", console=console)
    shown = console.export_text()
    assert texts["profile"].startswith("profile of steps 2 to 4\n\n| operation | calls | ms | share |")
    assert len(texts["profile"].splitlines()) == 4 + NUM_OPERATIONS
    assert "profile of steps 2 to 4" in shown and "operation" in shown
    (trace,) = folder.tensorboard.glob("train/plugins/profile/*/trace.json")
    assert "MatMul" in trace.read_text()  # whether it is among the ten that took longest depends on the machine
    assert shown.rstrip().endswith("for ui.perfetto.dev") and str(folder.path.name) in shown


def test_a_run_is_not_watched_unless_it_is_asked_to_be(small: Any) -> None:
    folder = small.train()
    assert not (folder.tensorboard / "train" / "plugins").exists()
