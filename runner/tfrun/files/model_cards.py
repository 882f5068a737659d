"""`MODEL_CARD.md` beside the exports of a run: what a person has written in it stays."""

from __future__ import annotations

import hashlib
import os

from tfrun.files.disk import write_atomically
from tfrun.files.exports import Export

CARD = "MODEL_CARD.md"
MARK = "<!-- tfrun keeps what is below this line when it exports again; what is above it, it writes anew. -->\n"


def write(export: Export, text: str, *, to_fill_in: str) -> str:
    """Writes the card of an export and returns a sentence about it, for a person.

    An earlier card of the same run is replaced up to `MARK`; the rest is a person's. A card that was changed above
    it, or that isn't of this run, stays as it is.

    Args:
        export: what was exported.
        text: what tfrun knows.
        to_fill_in: what only a person knows, for a new card.

    Raises:
        ResourceError: the disk refuses.
    """
    path = export.folder / CARD
    rest = to_fill_in
    if os.path.lexists(path):
        entry = export.recorded().get(CARD)
        if entry is None or path.is_symlink() or not path.is_file():
            return f"{CARD} isn't tfrun's, so it stays as it is"
        if entry["run_id"] != export.run_id and not export.is_own_folder:
            return f"{CARD} is that of {entry['run_id']}, so it stays as it is; out=FOLDER names another folder"
        before, mark, rest = path.read_bytes().decode(errors="replace").partition(MARK)
        if not mark or _sha256(before) != entry["sha256"]:
            return f"{CARD} was edited above the line that tfrun keeps, so it stays as it is; remove it for a new one"
    write_atomically(path, text + MARK + rest)
    export.record(CARD, {"run_id": export.run_id, "sha256": _sha256(text)})
    return f"{CARD} describes it"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
