"""For people who test their own applications, and for penstock's own tests: servers to speak to, and a client for all
that a client should not do. Only the standard library is needed; any test runner will do.

    with serve_in_thread(app, port=0) as server, Client(server.url) as client:
        client.send(request("/"))
        assert client.answer().status == 200
"""

from ..embedding import StartError, serve_in_thread
from .client import Answer, BadAnswer, Client, ask, request
from .server import Process, ProcessError, serve_in_process

__all__ = [
    "Answer", "BadAnswer", "Client", "Process", "ProcessError", "StartError", "ask", "request", "serve_in_process", "serve_in_thread",
]  # fmt: skip
