"""A Litestar application: typed handlers, dependencies, uploads, streams, Server-Sent Events, start and stop."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from litestar import Litestar, Request, get, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import UploadFile
from litestar.di import Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Response, ServerSentEvent, Stream


@dataclass
class Item:
    name: str
    price: float


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    print("opening", flush=True)
    yield
    print("closing", flush=True)


ITEMS: dict[str, Item] = {}


async def currency(request: Request) -> str:
    return str(request.headers.get("currency", "EUR"))


@post("/items")
async def add(data: Item) -> Item:
    ITEMS[data.name] = data
    return data


@get("/items/{name:str}")
async def show(name: str, currency: str) -> dict[str, str]:
    return {"name": name, "price": f"{ITEMS[name].price:.2f} {currency}"}


@post("/upload", status_code=200)
async def upload(data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)]) -> dict[str, str]:
    return {"name": data.filename, "digest": hashlib.sha256(await data.read()).hexdigest()}


@post("/digest", status_code=200)
async def digest(request: Request) -> str:
    found = hashlib.sha256()
    async for piece in request.stream():
        found.update(piece)
    return found.hexdigest()


@get("/stream")
async def stream() -> Stream:
    async def lines() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"line {number}\n"

    return Stream(lines(), media_type="text/plain")


@get("/events")
async def events() -> ServerSentEvent:
    async def numbers() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)

    return ServerSentEvent(numbers())


@get("/job")
async def job() -> Response[str]:
    async def work() -> None:
        print("worked", flush=True)

    return Response("begun", background=BackgroundTask(work))


@get("/sync", sync_to_thread=True)
def in_a_thread() -> str:
    return "in a thread"


app = Litestar([add, show, upload, digest, stream, events, job, in_a_thread], lifespan=[lifespan], dependencies={"currency": Provide(currency)})
