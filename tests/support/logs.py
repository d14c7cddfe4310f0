"""What tests of the log need: exchanges without a connection, and all that was logged written."""

import logging
from types import SimpleNamespace
from typing import Any

from penstock.codec.events import RequestHead

LOGGERS = ("penstock", "penstock.error", "penstock.access", "penstock.asgi")


def flush() -> None:
    """Wait until what was logged is written."""
    for name in LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.flush()


def exchange(path: bytes = b"/", **facts: Any) -> Any:
    """An exchange at its end, as far as the log reads it; each fact may be another."""
    head: dict[str, Any] = {"method": "GET", "path": path, "query": b"", "version": "1.1", "fields": []}
    end = {
        "status": 200, "sent": 5, "received": 0, "started_at": 1.0, "first_byte_at": 0.0, "ending": "ok",
        "forwarded_client": None, "fields": [],
    }  # fmt: skip
    client = facts.pop("client", ("127.0.0.1", 5000))
    for name in list(facts):
        if name in head:
            head[name] = facts.pop(name)
    return SimpleNamespace(head=RequestHead(**head, body_length=0, keeps_alive=True, expects_continue=False, upgrade=()), connection=SimpleNamespace(client=client), **{**end, **facts})
