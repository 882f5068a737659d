from __future__ import annotations

from collections.abc import Iterator

import pytest

from tfrun.config.compose import Configs, open_configs


@pytest.fixture(scope="module")
def hydra(request: pytest.FixtureRequest) -> Iterator[Configs]:
    """Hydra and the components, for command lines that begin with the words of the module's `BASE`."""
    with open_configs(request.module.BASE) as opened:
        yield opened
