"""Child processes, by the loop's own methods and by asyncio.subprocess; polled, and over threads as on Windows."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop, child
from penstock_reactor import subprocess as room
from penstock_reactor.pipe_ends import NATIVE, THREADED, PipeEnds
from support.recorders import Recorder

PATIENCE = 20
CAT = (sys.executable, "-c", "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)")
BLOCKED = (sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()")

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def threaded_ways() -> room.Ways:
    return room.Ways(THREADED, child.ThreadWatch)


def mixed_ways() -> room.Ways:
    """As on a POSIX system without pidfds."""
    return room.Ways(NATIVE, child.ThreadWatch)


@pytest.fixture(params=[None, threaded_ways, mixed_ways], ids=["native", "threaded", "without pidfd"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test once in each way of driving a child."""
    if request.param is not None:
        if sys.platform == "win32":
            pytest.skip("all three are the same there")
        monkeypatch.setattr(room, "native_ways", request.param)


def run(loop: EventLoop, coro: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(coro, PATIENCE))


def code(text: str) -> tuple[str, str, str]:
    return sys.executable, "-c", text


async def started(*command: str, **options: Any) -> tuple[room.ChildTransport, Recorder]:
    transport, recorder = await asyncio.get_running_loop().subprocess_exec(Recorder, *command, **options)
    assert isinstance(transport, room.ChildTransport)
    return transport, recorder


# What the protocol hears


@pytest.mark.usefixtures("ways")
def test_the_protocol_hears_the_whole_life_of_a_child(loop: EventLoop) -> None:
    async def main() -> None:
        text = "import sys; print(sys.stdin.read()); sys.stderr.write('e'); sys.exit(3)"
        transport, recorder = await started(*code(text))
        assert recorder.transport is transport
        assert recorder.names() == ["connection_made"]
        stdin: Any = transport.get_pipe_transport(0)
        stdin.write(b"hello")
        stdin.close()
        await recorder.heard("connection_lost")
        assert recorder.data(1).strip() == b"hello"
        assert recorder.data(2) == b"e"
        assert transport.get_returncode() == 3
        assert recorder.names()[-1] == "connection_lost"
        assert sorted(event[1:] for event in recorder.calls("pipe_connection_lost")) == [(0, None), (1, None), (2, None)]
        assert len(recorder.calls("process_exited")) == 1
        transport.close()

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_a_child_gets_what_is_written_and_closed_in_connection_made(loop: EventLoop) -> None:
    class Hasty(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.get_pipe_transport(0).write(b"hello")
            transport.get_pipe_transport(0).close()

    async def main() -> None:
        transport, recorder = await loop.subprocess_exec(Hasty, *CAT)
        await recorder.heard("connection_lost")
        assert recorder.data(1) == b"hello"
        transport.close()

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_nothing_is_heard_before_connection_made_even_of_a_child_that_ends_at_once(loop: EventLoop) -> None:
    async def main() -> None:
        for _ in range(20):
            transport, recorder = await loop.subprocess_shell(Recorder, "exit 0")
            transport.get_pipe_transport(0).close()
            await recorder.heard("connection_lost")
            assert recorder.names()[0] == "connection_made"
            assert recorder.names()[-1] == "connection_lost"
            assert "process_exited" in recorder.names()

    run(loop, main())


def test_extra_info_and_pipes_are_those_that_were_asked_for(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder = await started(
            *code("pass"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        popen = transport.get_extra_info("subprocess")
        assert isinstance(popen, subprocess.Popen)
        assert transport.get_pid() == popen.pid
        assert transport.get_pipe_transport(0) is None
        assert transport.get_pipe_transport(2) is None
        assert transport.get_pipe_transport(1).get_extra_info("pipe") is popen.stdout
        assert transport.get_protocol() is recorder
        assert f"pid={popen.pid} running" in repr(transport)
        await recorder.heard("connection_lost")
        assert "returncode=0" in repr(transport)

    run(loop, main())


def test_a_child_without_pipes_is_lost_when_it_ends(loop: EventLoop) -> None:
    async def main() -> None:
        _, recorder = await started(*code("pass"), stdin=None, stdout=None, stderr=None)
        await recorder.heard("connection_lost")
        assert recorder.names() == ["connection_made", "process_exited", "connection_lost"]

    run(loop, main())


def test_the_protocol_is_called_in_the_context_of_its_making(loop: EventLoop) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    class Looking(Recorder):
        def note(self, *event: Any) -> None:
            super().note(event[0], variable.get())

    async def main() -> None:
        variable.set("inside")
        transport, recorder = await loop.subprocess_exec(Looking, *code("print(1)"))
        variable.set("later")
        transport.get_pipe_transport(0).close()
        await recorder.heard("connection_lost")
        assert {event[1] for event in recorder.events} == {"inside"}

    run(loop, main())


def test_the_protocol_can_be_switched(loop: EventLoop) -> None:
    async def main() -> None:
        transport, _ = await started(*BLOCKED)
        second = Recorder()
        transport.set_protocol(second)
        transport.close()
        await second.heard("connection_lost")

    run(loop, main())


# Through asyncio.subprocess


@pytest.mark.usefixtures("ways")
def test_communicate_passes_a_lot_both_ways(loop: EventLoop) -> None:
    data = os.urandom(3_000_000)

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(*CAT, stdin=-1, stdout=-1)
        out, err = await process.communicate(data)
        assert out == data
        assert err is None
        assert process.returncode == 0

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_communicate_survives_a_child_that_does_not_read(loop: EventLoop) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(*code("pass"), stdin=-1, stdout=-1)
        assert (await process.communicate(b"x" * 1_000_000))[0] == b""
        assert process.returncode == 0

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_a_shell_runs_a_line(loop: EventLoop) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_shell("exit 7")
        assert await process.wait() == 7
        assert await process.wait() == 7

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_many_wait_for_the_same_child(loop: EventLoop) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(*BLOCKED, stdin=-1, stdout=-1)
        waiters = [asyncio.ensure_future(process.wait()) for _ in range(5)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        assert process.stdin is not None
        process.stdin.close()
        codes = await asyncio.gather(*waiters, return_exceptions=True)
        assert isinstance(codes[0], asyncio.CancelledError)
        assert codes[1:] == [0] * 4
        await process.communicate()

    run(loop, main())


@posix
def test_wait_ends_with_the_child_though_a_grandchild_holds_the_pipes(loop: EventLoop) -> None:
    async def main() -> None:
        read, write = os.pipe()
        # The grandchild lives until our end of `read` is closed, and has inherited the child's standard output.
        grandchild = f"[sys.executable, '-c', 'import os; os.read({read}, 1)']"
        text = f"import subprocess, sys; subprocess.Popen({grandchild}, pass_fds=[{read}])"
        process = await asyncio.create_subprocess_exec(*code(text), stdout=-1, pass_fds=[read])
        assert await process.wait() == 0
        assert process.stdout is not None
        assert not process.stdout.at_eof()
        os.close(write)
        os.close(read)
        await process.communicate()

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_many_children_at_once(loop: EventLoop) -> None:
    async def one(number: int) -> bytes:
        process = await asyncio.create_subprocess_shell(f"echo {number}", stdout=-1)
        return (await process.communicate())[0].strip()

    async def main() -> None:
        assert await asyncio.gather(*map(one, range(20))) == [str(number).encode() for number in range(20)]

    run(loop, main())


def test_a_loop_in_another_thread_has_children_too() -> None:
    codes: list[int | None] = []

    def work() -> None:
        async def main() -> None:
            process = await asyncio.create_subprocess_exec(*code("raise SystemExit(5)"))
            codes.append(await process.wait())

        loop = EventLoop()
        try:
            run(loop, main())
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert codes == [5]


def test_options_go_through_to_popen(loop: EventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            *code("import os; print(os.getcwd(), os.environ['PENSTOCK_TEST'])"),
            stdout=-1, cwd=tmp_path, env={**os.environ, "PENSTOCK_TEST": "yes"},
        )  # fmt: skip
        out, _ = await process.communicate()
        assert out.decode().split() == [os.path.realpath(tmp_path), "yes"]
        with pytest.raises(TypeError, match="nonsense"):
            await started(*code("pass"), nonsense=1)

    run(loop, main())


@posix
def test_a_new_session_is_started_when_asked_for(loop: EventLoop) -> None:
    async def main() -> None:
        command = code("import os; print(os.getsid(0))")
        process = await asyncio.create_subprocess_exec(*command, stdout=-1, start_new_session=True)
        out, _ = await process.communicate()
        assert int(out) == process.pid

    run(loop, main())


# Signals and the end


@posix
@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize(
    ("stop", "name"),
    [
        (lambda transport: transport.kill(), "SIGKILL"),
        (lambda transport: transport.terminate(), "SIGTERM"),
        (lambda transport: transport.send_signal(signal.Signals["SIGHUP"]), "SIGHUP"),
    ],
)
def test_signals_reach_a_running_child_and_no_other(loop: EventLoop, stop: Callable[[Any], None], name: str) -> None:
    async def main() -> None:
        transport, recorder = await started(*BLOCKED)
        await recorder.heard("pipe_data_received")
        stop(transport)
        assert await transport._wait() == -signal.Signals[name]
        with pytest.raises(ProcessLookupError):
            stop(transport)
        transport.close()
        await recorder.heard("connection_lost")

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_close_kills_a_running_child(loop: EventLoop) -> None:
    loop.set_debug(True)

    async def main() -> None:
        transport, recorder = await started(*BLOCKED)
        await recorder.heard("pipe_data_received")
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert await transport._wait() == (1 if sys.platform == "win32" else -signal.SIGKILL)
        await recorder.heard("process_exited")

    run(loop, main())


def test_close_does_not_kill_a_child_that_ended(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        transport, _ = await started(*BLOCKED)
        popen = transport.get_extra_info("subprocess")
        popen.kill()
        popen.wait(PATIENCE)
        assert transport.get_returncode() is None  # the loop has not looked yet
        monkeypatch.setattr(popen, "kill", lambda: pytest.fail("killed again"))
        transport.close()
        assert await transport._wait() == popen.returncode

    run(loop, main())


@posix
def test_close_lets_go_of_a_child_that_may_not_be_killed(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> None:
        raise PermissionError("another user's")

    async def main() -> None:
        transport, recorder = await started(*code("import sys; sys.stdin.read()"), stdout=None)
        popen = transport.get_extra_info("subprocess")
        monkeypatch.setattr(popen, "kill", forbidden)
        transport.close()  # its standard input ends, so it does too
        assert await transport._wait() == 0
        await recorder.heard("connection_lost")

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_cancelling_the_start_kills_and_reaps_the_child(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list["subprocess.Popen[bytes]"] = []
    popen_type = subprocess.Popen

    def noting(*args: Any, **options: Any) -> Any:
        children.append(popen_type(*args, **options))
        return children[-1]

    monkeypatch.setattr(subprocess, "Popen", noting)

    async def main() -> None:
        task = asyncio.ensure_future(started(*BLOCKED))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children[0].returncode not in (None, 0)

    run(loop, main())
    for _ in range(3):
        run(loop, asyncio.sleep(0))


def test_a_watch_that_fails_kills_and_reaps_the_child(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list["subprocess.Popen[bytes]"] = []

    def failing(loop: Any, popen: "subprocess.Popen[bytes]", on_exit: Any) -> Any:
        children.append(popen)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(room, "native_ways", lambda: room.Ways(NATIVE, failing))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run(loop, started(*BLOCKED))
    assert children[0].returncode not in (None, 0)
    run(loop, asyncio.sleep(0))


def test_a_program_that_does_not_exist_is_an_error_of_the_call(loop: EventLoop) -> None:
    with pytest.raises(FileNotFoundError):
        run(loop, loop.subprocess_exec(Recorder, "/nonexistent/penstock-test"))


def test_pipes_that_cannot_be_joined_kill_and_reap_the_child(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list["subprocess.Popen[bytes]"] = []

    def refusing(loop: Any, pipe: Any, protocol: Any, context: Any) -> Any:
        children.append(protocol._child._popen)
        raise OSError("no")

    ends = PipeEnds(refusing, NATIVE.write, sees_hangup=True)
    monkeypatch.setattr(room, "native_ways", lambda: room.Ways(ends, child.watch_exit))
    with pytest.raises(OSError, match="no"):
        run(loop, started(*BLOCKED))
    [popen] = children
    assert popen.returncode not in (None, 0)
    for file in (popen.stdout, popen.stderr):
        if file is not None:
            file.close()
    run(loop, asyncio.sleep(0))


@posix
def test_an_unclosed_child_of_a_closed_loop_warns_and_is_killed_and_reaped() -> None:
    loop = EventLoop()
    transport, recorder = run(loop, started(*code("import time; time.sleep(60)"), stdin=None, stdout=None, stderr=None))
    popen = transport.get_extra_info("subprocess")
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport <ChildTransport"):
        del transport, recorder
        gc.collect()
    assert popen.returncode == -signal.SIGKILL


# Flow control


@pytest.mark.usefixtures("ways")
def test_a_child_that_does_not_read_pauses_the_protocol(loop: EventLoop) -> None:
    async def main() -> None:
        transport, recorder = await started(*code("import sys; input(); sys.stdin.read()"))
        stdin: Any = transport.get_pipe_transport(0)
        stdin.write(b"x" * 1_000_000)
        assert recorder.names() == ["connection_made", "pause_writing"]
        stdin.write(b"\n")
        await recorder.heard("resume_writing")
        stdin.close()
        await recorder.heard("connection_lost")
        assert transport.get_returncode() == 0

    run(loop, main())


@pytest.mark.usefixtures("ways")
def test_a_paused_pipe_stops_the_child(loop: EventLoop) -> None:
    async def main() -> None:
        text = "import sys; sys.stdout.write('x' * 1_000_000)"
        transport, recorder = await started(*code(text), stdin=None, stderr=None)
        stdout: Any = transport.get_pipe_transport(1)
        stdout.pause_reading()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert recorder.data(1) == b""
        assert transport.get_returncode() is None
        stdout.resume_reading()
        await recorder.heard("connection_lost")
        assert len(recorder.data(1)) == 1_000_000

    run(loop, main())


# What is refused


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"shell": True}, "shell must be False"),
        ({"bufsize": 4096}, "bufsize must be 0"),
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
    ],
)
def test_options_that_would_make_text_of_the_pipes_are_refused(
    loop: EventLoop, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        run(loop, loop.subprocess_exec(Recorder, *code("pass"), **options))
    if "shell" not in options:
        with pytest.raises(ValueError, match=complaint):
            run(loop, loop.subprocess_shell(Recorder, "exit 0", **options))


def test_a_shell_takes_a_line_and_nothing_else(loop: EventLoop) -> None:
    with pytest.raises(ValueError, match="shell must be True"):
        run(loop, loop.subprocess_shell(Recorder, "exit 0", shell=False))
    with pytest.raises(ValueError, match="cmd must be a string"):
        run(loop, loop.subprocess_shell(Recorder, ["exit", "0"]))
