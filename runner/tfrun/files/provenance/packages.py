"""The installed distributions, with what pip has noted on where they are from (PEP 610, `direct_url.json`)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any
from urllib.parse import unquote, urlsplit

from tfrun.files.provenance.git import git, without_query

MAX_EDITABLE = 20  # of which git is asked


def read_packages(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Returns name, version and origin of each distribution that Python sees, sorted by name.

    Args:
        paths: the folders where Python looks for modules, in order; of two with the same name the first counts.
    """
    packages: dict[str, dict[str, Any]] = {}
    for distribution in metadata.distributions(path=list(paths)):
        try:
            name, version = _name_and_version(distribution)
            if name:
                packages.setdefault(
                    canonical(name), {"name": name, "version": version, "origin": _origin(distribution)}
                )
        except Exception:  # noqa: S112 (whatever a broken installation holds, the others count)
            continue
    editable = [package for package in packages.values() if "editable" in (package["origin"] or {})]
    for package in editable[:MAX_EDITABLE]:
        package["origin"]["git"] = git(package["origin"]["editable"])
    return [packages[key] for key in sorted(packages)]


def canonical(name: str) -> str:
    """Returns the one spelling of a distribution's name by which names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str | None]:
    """Returns what the first lines of a distribution's metadata say; reading all of them takes ten times as long."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or distribution.read_text("") or ""
    head = text.replace("\r\n", "\n").partition("\n\n")[0]
    values = dict(reversed(re.findall(r"^(Name|Version):[ \t]*(.*?)[ \t]*$", head, re.MULTILINE)))
    return values.get("Name", ""), values.get("Version") or None


def _origin(distribution: metadata.Distribution) -> dict[str, Any] | None:
    """Returns where a distribution is from: a folder, a repository or an archive; None for an index of packages."""
    text = distribution.read_text("direct_url.json")
    if not text:
        folder = os.path.abspath(str(distribution.locate_file("")))
        is_installed = os.path.basename(folder) in ("site-packages", "dist-packages")
        return None if is_installed else {"folder": folder}
    noted = json.loads(text)
    address = noted["url"]
    if "dir_info" in noted:
        path = unquote(urlsplit(address).path)
        return {"editable" if noted["dir_info"].get("editable") else "folder": path}
    if "vcs_info" in noted:
        return {noted["vcs_info"]["vcs"]: without_query(address), "commit": noted["vcs_info"].get("commit_id")}
    hashes = noted.get("archive_info", {}).get("hashes") or {}
    return {"archive": without_query(address), "sha256": hashes.get("sha256")}
