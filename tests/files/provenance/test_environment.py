from __future__ import annotations

import pytest

from tfrun.files.provenance.environment import NAMES, read_environment
from tfrun.files.xla_cache import FLAG, cache_folder


def test_only_variables_of_the_list_are_read() -> None:
    secrets = {"TF_VAR_password": "x", "TF_TOKEN_app": "x", "AWS_SECRET_ACCESS_KEY": "x", "XLA_FLAGS_2": "x"}
    assert read_environment(secrets | {"OMP_NUM_THREADS": "3", "KERAS_BACKEND": ""}) == {
        "OMP_NUM_THREADS": "3",
        "KERAS_BACKEND": "",
    }


def test_no_name_of_the_list_is_one_for_secrets() -> None:
    words = {word for name in NAMES for word in name.split("_")}
    assert not words & {"TOKEN", "KEY", "SECRET", "PASSWORD", "PASS", "CREDENTIALS", "USER", "VAR"}
    assert len(set(NAMES)) == len(NAMES)


def test_users_and_long_values_are_cut_off() -> None:
    read = read_environment({"KERAS_HOME": "https://me:secret@host/" + "x" * 2000})
    assert read["KERAS_HOME"].startswith("https://***:***@host/x") and len(read["KERAS_HOME"]) == 1000


@pytest.mark.parametrize(("before", "expected"), [("", {}), ("--a=1 ", {"TF_XLA_FLAGS": "--a=1"})])
def test_the_flag_that_tfrun_adds_is_left_out(before: str, expected: dict[str, str]) -> None:
    assert read_environment({"TF_XLA_FLAGS": f"{before}{FLAG}{cache_folder()}/xla/1"}) == expected
