"""For people who test their own applications, and for penstock's own tests: servers to speak to, and a client for all
that a client should not do. Only the standard library is needed; any test runner will do.

    with serve_in_thread(app, port=0) as server, Client(server.url) as client:
        client.send(request("/"))
        assert client.answer().status == 200
"""

from ..embedding import StartError as StartError
from ..embedding import serve_in_thread as serve_in_thread
from .client import Answer as Answer
from .client import BadAnswer as BadAnswer
from .client import Client as Client
from .client import ask as ask
from .client import request as request
from .server import Process as Process
from .server import ProcessError as ProcessError
from .server import serve_in_process as serve_in_process
