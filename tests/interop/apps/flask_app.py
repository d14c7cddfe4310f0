"""A Flask application: forms, sessions, uploads, streams both ways, files, errors."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from flask import Flask, abort, request, send_file, session, stream_with_context

app = Flask(__name__)
app.secret_key = "not a secret"


@app.get("/hello/<name>")
def hello(name: str) -> str:
    return f"Hello, {name}!"


@app.route("/visits")
def visits() -> str:
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


@app.post("/upload")
def upload() -> Any:
    file = request.files["file"]
    return {"name": file.filename, "note": request.form["note"], "digest": hashlib.sha256(file.read()).hexdigest()}


@app.post("/digest")
def digest() -> str:
    """Of the body as it comes, with a length or in chunks."""
    found = hashlib.sha256()
    while piece := request.stream.read(10_000):
        found.update(piece)
    return found.hexdigest()


@app.get("/stream")
def stream() -> Any:
    def lines() -> Iterator[str]:
        try:
            for number in range(int(request.args["lines"])):
                yield f"line {number}\n"
        except GeneratorExit:
            print("the reader left", flush=True)
            raise

    return stream_with_context(lines()), {"Content-Type": "text/plain"}


@app.get("/file")
def file() -> Any:
    return send_file(os.environ["STATIC"] + "/large.bin", conditional=True)


@app.get("/about")
def about() -> Any:
    return {"url": request.url, "address": request.remote_addr, "agents": request.headers.getlist("X-Twice")}


@app.get("/fail")
def fail() -> str:
    raise LookupError("of the view")


@app.get("/teapot")
def teapot() -> str:
    app.logger.warning("no coffee here")
    return str(abort(418))


