"""A FastAPI application as people write them: validation, files, dependencies, background work, streams, lifespan."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import BackgroundTasks, Depends, FastAPI, File, Form, Path, Query, Request, UploadFile
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field


class Line(BaseModel):
    """One line of an order."""

    article: str = Field(min_length=1)
    count: int = Field(gt=0)
    price: float = Field(ge=0)


class Order(BaseModel):
    """What a client posts."""

    customer: str
    lines: list[Line]


class Total(BaseModel):
    """What it is answered."""

    customer: str
    total: float


class OutOfStock(Exception):
    """An application's own error."""

    def __init__(self, article: str) -> None:
        self.article = article


class State(TypedDict):
    """What the lifespan gives to every request."""

    shelf: dict[str, int]
    finished: list[str]
    loop: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    print("opening", flush=True)
    yield {"shelf": {"kettle": 3, "teapot": 0}, "finished": [], "loop": type(asyncio.get_running_loop()).__module__}
    print("closing", flush=True)


app = FastAPI(lifespan=lifespan)


@app.exception_handler(OutOfStock)
async def refuse(request: Request, error: OutOfStock) -> JSONResponse:
    return JSONResponse({"out_of_stock": error.article}, status_code=409, headers={"Retry-After": "60"})


@app.get("/articles/{number}")
async def article(
    number: Annotated[int, Path(ge=1)],
    tag: Annotated[list[str], Query()],
    name: Annotated[str | None, Query(min_length=3)] = None,
) -> dict[str, object]:
    return {"number": number, "tag": tag, "name": name}


@app.post("/orders", status_code=201)
async def order(order: Order, request: Request) -> Total:
    shelf: dict[str, int] = request.state.shelf
    for line in order.lines:
        if shelf.get(line.article, 0) < line.count:
            raise OutOfStock(line.article)
    return Total(customer=order.customer, total=sum(line.count * line.price for line in order.lines))


@app.post("/files")
async def files(title: Annotated[str, Form()], document: Annotated[UploadFile, File()]) -> dict[str, object]:
    digest, size = hashlib.sha256(), 0
    while piece := await document.read(65536):
        digest.update(piece)
        size += len(piece)
    return {"title": title, "name": document.filename, "size": size, "sha256": digest.hexdigest()}


def in_a_thread() -> Iterator[str]:
    """A dependency that is no coroutine, so it runs in the thread pool, before and after the answer is made."""
    yield threading.current_thread().name


@app.get("/threads")
async def threads(dependency: Annotated[str, Depends(in_a_thread)]) -> dict[str, str]:
    return {"dependency": dependency, "endpoint": threading.current_thread().name}


@app.get("/in-a-thread")
def endpoint_in_a_thread() -> dict[str, str]:
    return {"endpoint": threading.current_thread().name}


@app.post("/jobs/{name}", status_code=202)
async def start_job(name: str, background: BackgroundTasks, request: Request) -> dict[str, str]:
    async def work() -> None:
        await asyncio.sleep(0.01)
        request.state.finished.append(name)

    background.add_task(work)
    return {"started": name}


@app.get("/jobs")
async def jobs(request: Request) -> list[str]:
    finished: list[str] = request.state.finished
    return finished


@app.get("/count")
async def count(to: int) -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(to):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(numbers(), media_type="text/plain")


@app.get("/count-in-threads")
async def count_in_threads(to: int) -> StreamingResponse:
    return StreamingResponse((f"{number}\n" for number in range(to)), media_type="text/plain")


@app.get("/request")
async def the_request(request: Request) -> dict[str, object]:
    return {
        "client": request.client,
        "headers": request.headers.items(),
        "http_version": request.scope["http_version"],
        "loop": request.state.loop,
        "path": request.url.path,
        "raw_path": request.scope["raw_path"].decode("ascii"),
        "url": str(request.url),
    }


@app.get("/bug")
async def bug() -> None:
    raise RuntimeError("a bug in the application")
