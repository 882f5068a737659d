"""The process that collects the provenance of a run: it reads what to collect, and writes what it has found.

It is a process of its own so that TensorFlow's import, which runs meanwhile, doesn't share Python's lock with it,
and so that nothing that happens to it can happen to the run. It reads one JSON object from its standard input, and
writes one line of JSON and then the contents of files, whose lengths the line says, to its standard output.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

from tfrun.files import strict_json
from tfrun.files.masking import has_secrets
from tfrun.files.provenance import sources
from tfrun.files.provenance.git import TooLargeError, WorkTree, git, reason_of
from tfrun.files.provenance.machine import read_machine
from tfrun.files.provenance.packages import read_packages
from tfrun.files.provenance.sources import Sources

FORMAT = 1
NICENESS = 5  # on a single core, the import of TensorFlow goes first


def main() -> None:
    """Answers the request on standard input."""
    os.nice(NICENESS)
    record, contents = collect(json.loads(sys.stdin.buffer.read()))
    line = strict_json.dumps({"record": record, "lengths": [len(content) for content in contents]})
    out = sys.stdout.buffer
    out.write(line.encode() + b"\n")
    out.writelines(contents)
    out.flush()


def collect(request: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """Returns the fields of `provenance.json`, and the contents of files that its numbers `copy` stand for.

    Args:
        request: what `recording.request` returns.
    """
    left_out = []
    tree = None
    try:
        tree = WorkTree.read(request["folder"])
    except (OSError, subprocess.SubprocessError, ValueError, TooLargeError) as error:
        left_out.append({"what": "git", "why": reason_of(error)})
    patch, contents = _patch(tree, is_asked=request["patch"])
    has_no_patch = request["patch"] and tree is not None and tree.is_dirty and not contents
    files = Sources(
        request["folder"],
        tree,
        installed=request["installed"],
        copies_changed=has_no_patch,
        is_asked=request["sources"],
    )
    wanted = sources.modules([(name, file) for name, file in request["modules"]], request["folder"])
    if request["config_folders"] is not None:
        configs, why = sources.configs(request["config_folders"])
        wanted += configs
        left_out += [{"what": "config", "why": why}] if why else []
    files.add(wanted)
    for entry in files.entries:
        if entry["copy"] is not None:
            entry["copy"] += len(contents)
    record = {
        "format": FORMAT,
        "at": request["at"],
        "folder": request["folder"],
        "tfrun": {**request["tfrun"], "git": git(request["tfrun"]["folder"])},
        "git": _git_fields(tree, patch),
        "python": request["python"],
        "packages": read_packages(request["path"]),
        "machine": read_machine(),
        "environment": request["environment"],
        "roots": files.roots,
        "files": files.entries,
        "has_configs": request["config_folders"] is not None,
        "left_out": left_out,
    }
    return record, contents + files.contents


def _patch(tree: WorkTree | None, *, is_asked: bool) -> tuple[dict[str, Any] | None, list[bytes]]:
    """Returns the entry of the patch, None without changes, and its content, if there is any."""
    if tree is None or not tree.is_dirty:
        return None, []
    if not is_asked:
        return {"copy": None, "bytes": None, "sha256": None, "why_no_copy": "provenance.patch=false"}, []
    content, why = tree.patch()
    if has_secrets(content):
        why = sources.HAS_SECRETS
    if why:
        return {"copy": None, "bytes": None, "sha256": None, "why_no_copy": why}, []
    digest = hashlib.sha256(content).hexdigest()
    return {"copy": 0, "bytes": len(content), "sha256": digest, "why_no_copy": None}, [content]


def _git_fields(tree: WorkTree | None, patch: dict[str, Any] | None) -> dict[str, Any] | None:
    if tree is None:
        return None
    return {
        "root": tree.root,
        "commit": tree.commit,
        "branch": tree.branch,
        "dirty": tree.is_dirty,
        "remote": tree.remote,
        "submodules": tree.submodules,
        "patch": patch,
    }
