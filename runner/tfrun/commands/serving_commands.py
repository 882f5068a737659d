"""The commands that serve an export with TensorFlow Serving, for a person to copy."""

from __future__ import annotations

import shlex

from tfrun.console import Terminal, say
from tfrun.files.exports import Export

REST_PORT = 8501  # TensorFlow Serving's own choice
REQUEST = "assets.extra/request.json"  # in the folder of a version


def serving_commands(version: str, *, folder: str) -> tuple[str, str]:
    """Returns the command that starts a server of all versions of a model, and the one that sends it a request.

    Args:
        version: the path of the version below the folder of the exports: serving/<name>/<number>.
        folder: this folder, as a shell reads it.
    """
    base = version.rpartition("/")[0]
    name = base.rpartition("/")[2]
    url = f"http://localhost:{REST_PORT}/v1/models/{name}:predict"
    options = f"--rest_api_port={REST_PORT} --model_name={name} --model_base_path={folder}/{base}"
    return f"tensorflow_model_server {options}", f"curl -d @{folder}/{version}/{REQUEST} {url}"


def say_how_to_serve(export: Export) -> None:
    """Prints these commands if it is such an export."""
    if export.format == "serving":
        serve, request = serving_commands(export.key, folder=shlex.quote(str(export.folder.absolute())))
        say(Terminal(), f"serve    {serve}")
        say(Terminal(), f"request  {request}")
