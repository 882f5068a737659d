"""How a study's database is connected to: nothing waits for ever for a server that can't be reached any more."""

from __future__ import annotations

from typing import Any

CONNECT_SECONDS = 30  # to a server that doesn't answer
PATIENCE_SECONDS = 120  # for an answer; a network that is back earlier costs nothing
NUM_PROBES = 4  # in that time, while nothing comes from the server
LIBPQ = ("psycopg", "psycopg2")  # the drivers that take the options of PostgreSQL's own library


def engine_options(address: str, *, patience_seconds: int = PATIENCE_SECONDS) -> dict[str, Any]:
    """Returns the arguments with which SQLAlchemy connects to a database. What the address says itself stays.

    Without them a command would wait for a quarter of an hour if the network drops everything, as a firewall does, and
    for ever if the server's machine ends between a question and its answer.

    Args:
        address: of the database.
        patience_seconds: the longest time without an answer.
    """
    from sqlalchemy.engine import make_url

    url = make_url(address)
    options: dict[str, Any] = {"pool_pre_ping": True}  # a connection that the server has closed meanwhile is made anew
    if url.get_backend_name() == "postgresql" and url.get_driver_name() in LIBPQ:
        probe_seconds = max(1, patience_seconds // (NUM_PROBES + 1))
        patience = {
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": 1000 * patience_seconds,
            "keepalives_idle": probe_seconds,
            "keepalives_interval": probe_seconds,
            "keepalives_count": NUM_PROBES,
        }
        options["connect_args"] = {key: value for key, value in patience.items() if key not in url.query}
    return options
