"""How a study's database is connected to."""

from __future__ import annotations

from typing import Any

import pytest

from tfrun.sweep.databases import engine_options

PING = {"pool_pre_ping": True}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("sqlite:////tmp/study.db", PING),
        ("mysql://user:password@host/db", PING),
        ("postgresql+pg8000://host/db", PING),  # its options have other names
        (
            "postgresql://user:password@host/db",
            PING
            | {
                "connect_args": {
                    "connect_timeout": 30,
                    "tcp_user_timeout": 60_000,  # milliseconds
                    "keepalives_idle": 12,
                    "keepalives_interval": 12,
                    "keepalives_count": 4,
                }
            },
        ),
    ],
)
def test_a_server_that_doesn_t_answer_is_waited_for_as_long_as_others_wait(
    address: str, expected: dict[str, Any]
) -> None:
    assert engine_options(address, patience_seconds=60) == expected


def test_what_the_address_says_stays() -> None:
    options = engine_options("postgresql://host/db?connect_timeout=5&keepalives_idle=7", patience_seconds=2)
    assert options["connect_args"] == {"tcp_user_timeout": 2000, "keepalives_interval": 1, "keepalives_count": 4}
