"""What a person has written in a card stays."""

from __future__ import annotations

from pathlib import Path

from tfrun.files import model_cards
from tfrun.files.exports import Export
from tfrun.files.model_cards import CARD


def write(folder: Path, text: str, run_id: str = "run") -> str:
    return model_cards.write(Export("keras", folder, run_id=run_id, is_own_folder=False), text, to_fill_in="licence?\n")


def test_what_is_below_the_line_is_kept(tmp_path: Path) -> None:
    assert write(tmp_path, "one\n") == "MODEL_CARD.md describes it"
    card = tmp_path / CARD
    card.write_text(card.read_text().replace("licence?", "MIT"))
    assert write(tmp_path, "two\n") == "MODEL_CARD.md describes it"
    assert card.read_text() == f"two\n{model_cards.MARK}MIT\n"


def test_other_cards_stay_as_they_are(tmp_path: Path) -> None:
    card = tmp_path / CARD
    card.write_text("mine")
    assert "isn't tfrun's" in write(tmp_path, "two\n") and card.read_text() == "mine"
    card.unlink()
    write(tmp_path, "one\n")
    assert "is that of run" in write(tmp_path, "two\n", "other")
    card.write_text("edited " + card.read_text())
    assert "was edited above the line" in write(tmp_path, "two\n") and card.read_text().startswith("edited one\n")
