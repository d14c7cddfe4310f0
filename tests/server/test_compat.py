import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.client import ask, request
from support.streams import CERTIFICATE

import penstock
from penstock.tls import context_of

Server, Config = penstock.Server, penstock.Config


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"app"})


async def broken(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed"})


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Gives back what a Config does to the loggers of the process."""
    kept = [(logger, list(logger.handlers), logger.propagate, logger.level)
            for logger in map(logging.getLogger, ("penstock", "penstock.access", "penstock.error"))]
    yield
    for logger, handlers, propagate, level in kept:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def make(given: Any = app, **options: Any) -> Any:
    return Server(Config(given, **{"port": 0, "log_level": "warning", "access_log": False, **options}))


@contextlib.contextmanager
def in_thread(server: Any) -> Iterator[int]:
    """As many programs do it; the port."""
    thread = threading.Thread(target=server.run)
    started = threading.Event()
    config, server.config.callback_notify = server.config, None

    async def note() -> None:
        started.set()

    config.callback_notify = note
    thread.start()
    try:
        assert started.wait(15)
        assert server.started
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


def test_a_server_in_a_thread_is_watched_and_ended_by_its_attributes() -> None:
    server = make()
    assert (server.started, server.should_exit, server.servers) == (False, False, [])
    with in_thread(server) as port:
        assert ask(("127.0.0.1", port), request()).body == b"app"
        assert server.servers[0].is_serving()
        assert not server.should_exit
        # In the server's own thread, after what it did for the answer.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), server._loop).result(10)
        assert server.server_state.total_requests == 1
        assert server.server_state.tasks == set()
        assert server.server_state.connections is not None
    assert server.should_exit and not server.servers[0].is_serving()


def test_force_exit_ends_it_at_once() -> None:
    server = make(timeout_graceful_shutdown=None)
    with in_thread(server) as port:
        with socket.create_connection(("127.0.0.1", port)) as waiting:
            server.force_exit = True
            assert waiting.recv(1) == b""


def test_in_a_running_loop_a_signal_ends_it() -> None:
    server = make()

    async def main() -> None:
        task = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGINT)
        await task

    asyncio.run(main())
    assert server.should_exit


def test_signals_can_be_left_to_the_program() -> None:
    server = make(signals=False)

    async def main() -> None:
        before = signal.getsignal(signal.SIGINT)
        task = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGINT) is before
        server.handle_exit(signal.SIGTERM, None)
        await task

    asyncio.run(main())


def test_told_to_exit_before_it_starts_it_does_not_serve() -> None:
    server = make()
    server.should_exit = True
    server.run()
    assert not server.started


def test_told_to_exit_while_it_starts_it_lets_the_program_go_on() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(server.serve())
        await begun.wait()
        server.should_exit = True
        await task

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    begun = asyncio.Event()
    server = make(slow)
    asyncio.run(main())
    assert not server.started


def test_to_cancel_it_is_to_drain_it_and_the_next_server_in_this_loop_answers() -> None:
    lived: list[str] = []

    async def living(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return await app(scope, receive, send)
        for kind in ("startup", "shutdown"):
            lived.append((await receive())["type"])
            await send({"type": f"lifespan.{kind}.complete"})

    async def main() -> None:
        for _ in range(2):
            server = make(living, signals=False)
            task = asyncio.ensure_future(server.serve())
            while not server.started:
                await asyncio.sleep(0)
            address = server.servers[0].sockets[0].getsockname()
            assert (await asyncio.to_thread(ask, address, request())).body == b"app"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert lived == ["lifespan.startup", "lifespan.shutdown"] * 2


def test_sockets_of_the_program_are_served() -> None:
    config = Config(app, port=0, log_level="warning", access_log=False)
    sock = config.bind_socket()
    server = Server(config)

    async def main() -> None:
        task = asyncio.ensure_future(server.serve(sockets=[sock]))
        answer = await asyncio.to_thread(ask, sock.getsockname(), request())
        assert answer.body == b"app"
        await server.shutdown()
        await task

    asyncio.run(main())


@pytest.mark.parametrize("given, code", [(broken, 3), ("no_such_module:app", 3)])
def test_a_failure_to_start_ends_the_program_with_its_code(given: Any, code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        make(given).run()
    assert ended.value.code == code

    async def main() -> None:
        with pytest.raises(SystemExit) as ended:
            await make(given).serve()
        assert ended.value.code == code

    asyncio.run(main())


def test_a_port_in_use_ends_the_program_with_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as ended:
        make(port=taken.getsockname()[1]).run()
    assert ended.value.code == 1


def test_options_are_read_on_the_config() -> None:
    config = Config("main:app", "0.0.0.0", 80, workers=2, root_path="/api", log_level="warning")
    assert (config.app, config.host, config.port, config.root_path, config.workers) == ("main:app", "0.0.0.0", 80, "/api", 2)
    assert (config.is_ssl, config.ssl, config.should_reload, config.use_subprocess) == (False, None, False, True)
    with pytest.raises(AttributeError):
        config.no_such_option


def test_fields_for_every_response_are_read_as_octets() -> None:
    assert Config(app, log_level="warning", headers=["X-One: 1", "x-two:2"]).encoded_headers == [(b"x-one", b"1"), (b"x-two", b"2")]


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(TypeError, match=r"no option 'prot'; did you mean port\?"):
        Config(app, prot=1)
    with pytest.raises(ValueError, match="port must be"):
        Config(app, port=-1)


def test_the_application_is_loaded_once_and_served_as_it_was_loaded() -> None:
    config = Config(lambda: app, factory=False, port=0, log_level="warning", interface="asgi3")
    config.app = app
    config.load()
    loaded = config.loaded_app
    config.load()
    assert config.loaded and config.loaded_app is loaded and config.asgi_version == "3.0"
    with in_thread(Server(config)) as port:
        assert ask(("127.0.0.1", port), request()).body == b"app"


def test_an_application_that_is_not_there_ends_the_program_when_it_is_loaded() -> None:
    with pytest.raises(SystemExit):
        Config("no_such_module:app", log_level="critical").load()


def test_a_context_of_the_program_encrypts() -> None:
    made: list[Any] = []

    def factory(config: Any, usual: Any) -> ssl.SSLContext:
        made.append(usual())
        return made[0]  # type: ignore[no-any-return]  # it is what the usual function makes

    server = make(ssl_certfile=str(CERTIFICATE), ssl_context_factory=factory)
    assert server.config.is_ssl and server.config.ssl_certfile == str(CERTIFICATE)
    with in_thread(server) as port:
        client = ssl.create_default_context(cafile=str(CERTIFICATE))
        with socket.create_connection(("127.0.0.1", port)) as sock, client.wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(request())
            assert tls.recv(100).startswith(b"HTTP/1.1 200 ")
    assert made and context_of(server.config.settings) is not None


def test_the_loop_is_ours_and_needs_no_setting_up() -> None:
    config = Config(app, log_level="warning")
    config.setup_event_loop()
    loop = config.get_loop_factory()()
    assert type(loop).__module__.startswith("penstock_reactor")
    loop.close()


def test_main_is_the_command_line() -> None:
    assert penstock.main(["--version"]) == 0
