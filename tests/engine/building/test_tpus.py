"""A TPU that isn't there. One that is was never tried."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tfrun.engine.building.tpus import over_tpu
from tfrun.errors import ResourceError


@pytest.mark.skipif(bool(tf.config.list_physical_devices("TPU")), reason="there is a TPU")
def test_a_tpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(ResourceError, match="strategy: tpu needs a TPU on this host.*Received: null: ") as caught:
        over_tpu(None)
    assert "\n" not in str(caught.value)
