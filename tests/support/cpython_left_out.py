"""Which tests of CPython's own asyncio suite are not run on our loop, and why.

A test is named as `Class.method`, `*.method` for every class, or `Class` for all of it. Every reason is a sentence about
the test, not about us. An entry whose test an interpreter of `since` to `until` does not have is an error, so
the list cannot outlive its tests.
"""

from typing import NamedTuple

PRIVATE = "touches a private name of the stock loop: "


class LeftOut(NamedTuple):
    """One test that is not run, and the interpreters that have it."""

    test: str
    reason: str
    since: tuple[int, int] = (3, 11)
    until: tuple[int, int] = (3, 13)


MODULES: dict[str, list[LeftOut]] = {
    "test_events": [
        LeftOut("*.test_create_server_multiple_hosts_ipv4", PRIVATE + "replaces _start_serving"),
        LeftOut("*.test_create_server_multiple_hosts_ipv6", PRIVATE + "replaces _start_serving"),
        LeftOut("*.test_prompt_cancellation", PRIVATE + "replaces _stop_serving"),
        LeftOut("*.test_timeout_rounding", PRIVATE + "replaces _run_once"),
        LeftOut("PollEventLoopTests", "the same tests on poll(); epoll and select() are run"),
    ],
    "test_sock_lowlevel": [
        LeftOut("PollEventLoopTests", "the same tests on poll(); epoll and select() are run"),
    ],
    "test_server": [
        LeftOut("TestServer2.test_wait_closed_basic", PRIVATE + "calls Server._attach()", (3, 12), (3, 12)),
        LeftOut("TestServer2.test_wait_closed_race", PRIVATE + "calls Server._attach()", (3, 12), (3, 12)),
    ],
    "test_streams": [],
    "test_subprocess": [
        LeftOut("GenericWatcherTests", "expects an error without an active child watcher; our loop needs none"),
        LeftOut("SubprocessFastWatcherTests", "installs a watcher that reaps every child of the process, ours too"),
        LeftOut("*.test_pause_reading", "expects a child's pipes to be made by the loop's connect_read_pipe"),
    ],
    "test_buffered_proto": [],
    "test_sendfile": [
        LeftOut("*.test_sendfile_force_unsupported_native", PRIVATE + "replaces _sendfile_native"),
        LeftOut("PollEventLoopTests", "the same tests on poll(); epoll and select() are run"),
    ],
    "test_ssl": [
        LeftOut("TestSSL.test_flush_before_shutdown", PRIVATE + "reads transport._ssl_protocol"),
        LeftOut("TestSSL.test_remote_shutdown_receives_trailing_data",
                PRIVATE + "calls transport._test__append_write_backlog"),
    ],
    "test_sslproto": [],
    "test_context": [],
    "test_tasks": [],
    "test_timeouts": [],
    "test_taskgroups": [],
    "test_runners": [],
    "test_queues": [],
    "test_locks": [],
    "test_futures": [],
    "test_futures2": [],
    "test_pep492": [],
    "test_threads": [],
    "test_waitfor": [],
    "test_eager_task_factory": [],
}

# Modules that came after 3.11.
SINCE = {"test_waitfor": (3, 12), "test_eager_task_factory": (3, 12)}
