"""A Quart application: forms, uploads, streams both ways, start and stop, work after the answer."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from quart import Quart, request, session

app = Quart(__name__)
app.secret_key = "not a secret"
done: list[str] = []


@app.before_serving
async def open_up() -> None:
    print("opening", flush=True)


@app.after_serving
async def close_down() -> None:
    print("closing", flush=True)


@app.get("/visits")
async def visits() -> str:
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


@app.post("/upload")
async def upload() -> Any:
    file, form = (await request.files)["file"], await request.form
    return {"name": file.filename, "note": form["note"], "digest": hashlib.sha256(file.read()).hexdigest()}


@app.post("/digest")
async def digest() -> str:
    found = hashlib.sha256()
    async for piece in request.body:
        found.update(piece)
    return found.hexdigest()


@app.get("/stream")
async def stream() -> Any:
    count = int(request.args["lines"])

    async def lines() -> AsyncIterator[bytes]:
        try:
            for number in range(count):
                yield b"line %d\n" % number
        finally:
            print("stream ended", flush=True)

    return lines(), {"Content-Type": "text/plain"}


@app.get("/in-a-thread")
def in_a_thread() -> str:
    return "in a thread"


@app.post("/job")
async def job() -> Any:
    async def work() -> None:
        done.append("done")

    app.add_background_task(work)
    return "", 202


@app.get("/jobs")
async def jobs() -> Any:
    return done


@app.get("/fail")
async def fail() -> str:
    raise LookupError("of the view")
