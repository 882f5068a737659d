"""The commands that serve a version."""

from __future__ import annotations

from tfrun.commands.serving_commands import serving_commands


def test_a_server_watches_all_versions_and_a_request_goes_to_the_newest() -> None:
    serve, request = serving_commands("serving/houses/3", folder='"$PWD"')
    assert serve == (
        'tensorflow_model_server --rest_api_port=8501 --model_name=houses --model_base_path="$PWD"/serving/houses'
    )
    assert request == (
        'curl -d @"$PWD"/serving/houses/3/assets.extra/request.json http://localhost:8501/v1/models/houses:predict'
    )
