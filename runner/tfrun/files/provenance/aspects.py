"""Compares a run's code, packages and machine with those of now, and says what can be promised if it trains again.

    code, patch, sources        other code may compute anything:                nothing is promised
                                other files of the repository don't matter:     the same bits
    packages                    those that results depend on:                   nothing is promised
    python, machine, threads, environment, and other packages                   the same up to rounding
    everything is the same                                                      the same bits

If something isn't known, nothing is promised.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.errors import some
from tfrun.files.provenance.git import MAX_PATCH_BYTES
from tfrun.files.provenance.packages import canonical
from tfrun.files.provenance.record import Difference, Provenance, differences
from tfrun.files.provenance.versions import PACKAGES
from tfrun.files.run_json import is_of_earlier_version

SAME, DIFFERS, UNKNOWN = "same", "differs", "unknown"
BITS, ROUNDING, NOTHING = "the same bits", "the same up to rounding", "nothing"
HARMLESS = ("memory_bytes", "memory_limit_bytes", "cores_limit", "kernel")  # of a machine; no result depends on them
MAX_NAMES, MAX_LETTERS = 6, 60
NO_RECORD = "the run has no record of it"
NO_REPOSITORY = "fatal: not a git repository"  # in git's words; then there is no commit that could be another one
PLURALS = ("sources", "packages", "threads", "data")  # among the names of aspects
HEADER = re.compile(rb"^diff --git (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Aspect:
    """Something that a run is made from, compared with now.

    Attributes:
        name: what it is: `packages` for example.
        state: `same`, `differs` or `unknown`.
        details: what differs, or why it isn't known.
        leaves: what can still be promised if it differs.
    """

    name: str
    state: str
    details: tuple[str, ...] = ()
    leaves: str = NOTHING

    @property
    def text(self) -> str:
        """The details on one line, the first few of many."""
        return some(self.details, MAX_NAMES)


@dataclass(frozen=True)
class Now:
    """The code, packages and machine that a run would be made from now.

    Attributes:
        record: as a run that starts now would have it.
        patch: the changes of tracked files, b"" if there are none.
        has_plugins: whether the run has any.
    """

    record: Provenance
    patch: bytes
    has_plugins: bool


def compare(before: Provenance | None, now: Now, *, run: Mapping[str, Any]) -> list[Aspect]:
    """Returns the aspects of a run, compared with now.

    Args:
        before: the run's record; None if an earlier version trained it, so that only `run.json` says anything.
        now: what it would be made from now.
        run: its `run.json`.

    Returns:
        Those of the code, the patch, the sources, the packages, Python, the machine and the environment, in this order.
    """
    if before is None:
        return _by_run_json(run, now)
    by_aspect: dict[str, list[Difference]] = {}
    for difference in differences(before, now.record):
        by_aspect.setdefault(difference.aspect, []).append(difference)
    of_aspect = by_aspect.get
    sources = _sources(before, now.record, of_aspect("sources", []))
    # a commit with other files of the repository changes nothing, unless tfrun itself is in there
    leaves = BITS if sources.state == SAME and not _is_in_repository(before, before.tfrun.get("folder")) else NOTHING
    return [
        _code(before, now.record, of_aspect("code", []), leaves=leaves),
        _patch(before, now, of_aspect("patch", []), leaves=leaves),
        sources,
        _packages(before, of_aspect("packages", []), now=now),
        _plain("python", of_aspect("python", [])),
        _plain("machine", [item for item in of_aspect("machine", []) if item.name not in HARMLESS]),
        _plain("environment", of_aspect("environment", [])),
    ]


def promise(aspects: Sequence[Aspect]) -> tuple[str, str]:
    """Returns what can be promised, `BITS`, `ROUNDING` or `NOTHING`, and a sentence that says it."""
    by_promise: dict[str, list[str]] = {BITS: [], ROUNDING: [], NOTHING: []}
    for aspect in aspects:
        if aspect.state == DIFFERS:
            by_promise[aspect.leaves].append(aspect.name)
    unknown = [aspect.name for aspect in aspects if aspect.state == UNKNOWN and aspect.leaves != BITS]
    if names := by_promise[NOTHING]:
        return NOTHING, f"Nothing can be promised: {_listed(names)} {differs(names)}"
    rest = ROUNDING if by_promise[ROUNDING] else BITS
    if unknown:
        what = f"{_listed(unknown)} {_verb(unknown, 'is', 'are')} unknown"
        return NOTHING, f"Nothing can be promised: {what}. If nothing differs there, the run gives {rest}"
    if names := by_promise[ROUNDING]:
        what = f"{_listed(names)} {differs(names)}"
        return ROUNDING, f"Promised are the same numbers up to rounding: {what}"
    if names := by_promise[BITS]:
        what = f"{_listed(names)} {differs(names)}, but no module that the run is known to import"
        return BITS, f"Promised are the same bits: {what}"
    return BITS, "Promised are the same bits: nothing differs that they depend on"


def compare_data(before: str, after: str) -> Aspect:
    """Returns whether two fingerprints of data are the same."""
    if before == after:
        return Aspect("data", SAME)
    return Aspect("data", DIFFERS, (f"fingerprint {short(before)} → {short(after)}",))


def changed_files(before: bytes, after: bytes) -> list[str]:
    """Returns the paths whose parts of two patches differ."""
    one, other = _parts(before), _parts(after)
    return [path for path in sorted({*one, *other}) if one.get(path) != other.get(path)]


def changed_text(name: str, before: Any, after: Any) -> str:
    """Returns `name before → after`, with printable characters only."""
    return f"{clean(name)} {clean(before)} → {clean(after)}"


def changed_commit(before: Any, after: Any) -> str:
    """Returns `commit before → after`, the commits by their first twelve digits; None is `none`."""
    return f"commit {short(before or 'none')} → {short(after or 'none')}"


def differs(names: Sequence[str]) -> str:
    """Returns the verb for names of aspects: `differs` for one of them that is singular, else `differ`."""
    return _verb(names, "differs", "differ")


def clean(value: Any, letters: int = MAX_LETTERS) -> str:
    """Returns a value as a short text of printable characters: a record may have been written by anyone."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(letter if letter.isprintable() else "?" for letter in text[: 2 * letters])
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def short(digest: Any) -> str:
    """Returns the first twelve digits of a commit or a SHA-256."""
    return clean(str(digest)[:12])


def _code(before: Provenance, after: Provenance, items: Sequence[Difference], *, leaves: str) -> Aspect:
    details = tuple(_described(item) for item in items)
    if details:
        return Aspect("code", DIFFERS, details, NOTHING if any(item.name == "tfrun" for item in items) else leaves)
    refused = [why for record in (before, after) for what, why in record.left_out if what == "git"]
    unknown = [f"git: {clean(why)}" for why in dict.fromkeys(refused) if not why.startswith(NO_REPOSITORY)]
    git = before.git
    if _is_dirty(before.tfrun["git"]) and not _is_covered(before, str(before.tfrun.get("folder"))):
        unknown.append("tfrun itself has changes that aren't recorded")
    for path, submodule in (git.submodules if git else {}).items():
        unknown += [f"submodule {clean(path)} has changes that aren't recorded"] if _is_dirty(submodule) else []
    return Aspect("code", UNKNOWN if unknown else SAME, tuple(unknown))


def _patch(before: Provenance, now: Now, items: Sequence[Difference], *, leaves: str) -> Aspect:
    after = now.record
    patches = [record.git.patch for record in (before, after) if record.git and record.git.patch]
    if missing := [patch.why_no_file for patch in patches if patch.sha256 is None]:
        return Aspect("patch", UNKNOWN, (f"left out: {clean(missing[0])}",), leaves)
    if not items:
        return Aspect("patch", SAME, () if patches else ("no changes",))
    content = read_patch(before)
    if content is None:
        return Aspect("patch", DIFFERS, ("the run's can't be read",), leaves)
    names = [clean(name) for name in changed_files(content, now.patch)]
    return Aspect("patch", DIFFERS, tuple(names) or ("its text",), leaves)


def read_patch(record: Provenance) -> bytes | None:
    """Returns a run's patch, b"" if it has none, and None if it isn't there or isn't the recorded one."""
    patch = record.git and record.git.patch
    if not patch:
        return b""
    return None if patch.file is None else read_copy(patch.file, patch.sha256, MAX_PATCH_BYTES)


def read_copy(file: Path, sha256: str | None, limit: int) -> bytes | None:
    """Returns a file of a record if it is one, has at most `limit` bytes, and its SHA-256; else None."""
    try:
        if not file.is_file() or file.is_symlink() or file.stat().st_size > limit:
            return None
        content = file.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


def _sources(before: Provenance, after: Provenance, items: Sequence[Difference]) -> Aspect:
    if items:
        return Aspect("sources", DIFFERS, tuple(clean(item.name) for item in items))
    unread = [clean(file.name) for record in (before, after) for file in record.files if file.sha256 is None]
    if unread:
        return Aspect("sources", UNKNOWN, tuple(f"{name} wasn't read" for name in unread))
    return Aspect("sources", SAME, () if after.files else ("no plugins",))


def _packages(before: Provenance, items: Sequence[Difference], *, now: Now) -> Aspect:
    names = [item.name for item in items]
    weighty = now.has_plugins or any(canonical(name) in PACKAGES for name in names)
    if names:
        first = sorted(items, key=lambda item: (canonical(item.name) not in PACKAGES, item.name))
        return Aspect("packages", DIFFERS, tuple(map(_of_package, first)), NOTHING if weighty else ROUNDING)
    unknown = []
    for name, package in now.record.other_packages.items():
        origin = package.origin or {}
        if _is_dirty(origin.get("git")) and not _is_covered(before, str(origin.get("path"))):
            unknown.append(f"{clean(name)} has changes that aren't recorded")
    return Aspect("packages", UNKNOWN if unknown else SAME, tuple(unknown))


def _plain(name: str, items: Sequence[Difference]) -> Aspect:
    return Aspect(name, DIFFERS if items else SAME, tuple(_described(item) for item in items), ROUNDING)


def _by_run_json(run: Mapping[str, Any], now: Now) -> list[Aspect]:
    """Returns the aspects of a run that an earlier version trained, whose `run.json` has its commit and versions."""
    versions = run.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    return [
        _code_by_run_json(run, now, versions.get("tfrun")),
        Aspect("patch", UNKNOWN, (NO_RECORD,)),
        Aspect("sources", UNKNOWN, (NO_RECORD,)) if now.has_plugins else Aspect("sources", SAME, ("no plugins",)),
        _packages_by_run_json(versions, now),
        _python_by_run_json(versions.get("python"), now),
        Aspect("machine", UNKNOWN, (NO_RECORD,), ROUNDING),
        Aspect("environment", UNKNOWN, (NO_RECORD,), ROUNDING),
    ]


def _code_by_run_json(run: Mapping[str, Any], now: Now, version: Any) -> Aspect:
    git = run.get("git") if isinstance(run.get("git"), dict) else None
    details = []
    commit = now.record.git.commit if now.record.git else None
    if git and git.get("commit") != commit:
        details.append(changed_commit(git.get("commit"), commit))
    if version != now.record.tfrun["version"]:
        details.append(changed_text("tfrun", version, now.record.tfrun["version"]))
    elif is_of_earlier_version(run):
        details.append("an earlier version of tfrun")
    if details:
        return Aspect("code", DIFFERS, tuple(details))
    if git and _is_dirty(git):
        return Aspect("code", UNKNOWN, ("it had changes that aren't recorded",))
    return Aspect("code", SAME if git else UNKNOWN, () if git else (NO_RECORD,))


def _packages_by_run_json(versions: Mapping[str, Any], now: Now) -> Aspect:
    """Returns whether the packages of `run.json` are the same; of all others nothing is known."""
    before = {name: version for name, version in versions.items() if name not in ("python", "tfrun")}
    installed = {canonical(name): package.version for name, package in now.record.packages.items()}
    differing = [
        changed_text(name, version, installed.get(canonical(name)) or "not installed")
        for name, version in before.items()
        if installed.get(canonical(name)) != version
    ]
    if differing:
        return Aspect("packages", DIFFERS, tuple(differing))
    same = f"those that results depend on ({len(before)}) are the same; others: " if before else ""
    return Aspect("packages", UNKNOWN, (f"{same}{NO_RECORD}",))


def _python_by_run_json(before: Any, now: Now) -> Aspect:
    after = now.record.python.get("version")
    if not before:
        return Aspect("python", UNKNOWN, (NO_RECORD,), ROUNDING)
    if before == after:
        return Aspect("python", SAME, (), ROUNDING)
    return Aspect("python", DIFFERS, (f"{clean(before)} → {after}",), ROUNDING)


def _described(item: Difference) -> str:
    if isinstance(item.before, list) and isinstance(item.after, list):  # the flags of a processor
        texts = [[str(value) for value in side] for side in (item.before, item.after)]
        lost, new = (sorted({*one} - {*other}) for one, other in (texts, texts[::-1]))
        return clean(f"{item.name} {' '.join([*(f'-{name}' for name in lost[:4]), *(f'+{name}' for name in new[:4])])}")
    return f"{clean(item.name)} {_side(item.before)} → {_side(item.after)}"


def _of_package(item: Difference) -> str:
    sides = [side[0] if side is not None else None for side in (item.before, item.after)]
    if sides[0] == sides[1]:  # of another commit, or from elsewhere
        return f"{clean(item.name)} {_side(sides[0])} of another origin"
    return f"{clean(item.name)} {' → '.join('not installed' if side is None else _side(side) for side in sides)}"


def _side(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):  # tfrun's version, and the commit of its checkout
        return " ".join(_side(part) for part in value if part)
    if isinstance(value, dict) and isinstance(value.get("commit"), str):
        return short(value["commit"]) + (" with changes" if value.get("dirty") else "")
    return short(value) if isinstance(value, str) and re.fullmatch("[0-9a-f]{40,64}", value) else clean(value, 40)


def _is_dirty(entry: Any) -> bool:
    return isinstance(entry, dict) and bool(entry.get("dirty"))


def _is_covered(record: Provenance, folder: str) -> bool:
    """Returns whether the patch has the changes of a folder."""
    patch = record.git and record.git.patch
    return bool(patch and patch.sha256 and _is_in_repository(record, folder))


def _is_in_repository(record: Provenance, folder: Any) -> bool:
    return record.git is not None and Path(str(folder)).is_relative_to(record.git.root)


def _parts(patch: bytes) -> dict[str, bytes]:
    """Returns path -> SHA-256 of its part of a patch."""
    starts = [match.start() for match in HEADER.finditer(patch)]
    parts = {}
    for start, end in itertools.pairwise([*starts, len(patch)]):
        head = patch[start:end].partition(b"\n")[0].removeprefix(b"diff --git ").decode(errors="replace")
        path = head[: len(head) // 2].removeprefix("a/")  # both halves are the same path
        parts[path] = hashlib.sha256(patch[start:end]).digest()
    return parts


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _verb(names: Sequence[str], one: str, several: str) -> str:
    is_one = len(names) == 1 and names[0] not in PLURALS
    return one if is_one else several
