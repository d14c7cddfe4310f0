"""`penstock check MODULE[:ATTR] [options]`: all that a start would do, tried and told, and nothing served.

Shows the settings that hold and where each was written, then what is dangerous or in vain; looks for the files, reads the
certificates, binds the addresses, opens that for commands, imports the application and runs its lifespan up and down. What
the application prints goes to standard error; standard output has the report, as text or, with --json, for programs. The
exit code is that of the start: 0, 1 for settings, files and addresses, 3 for the application.
"""

import asyncio
import ipaddress
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any, NamedTuple

from . import cli, log, runner
from .listener import ListenError, bind, url_of
from .settings import Settings, options
from .sources import Found
from .supervisor.door import DoorError, open_door
from .tls import TlsError, context_of

_HELP = """usage: penstock check MODULE[:ATTR] [options] [--all] [--json]

Tries all that a start with the same options would do, and tells what would go wrong or is dangerous.

  --all   Show all settings, not only those that were given.
  --json  Report for programs.

The options are those of penstock --help. A module of this name is served by: penstock -- check"""

_SECRET = "password"


class Finding(NamedTuple):
    """What was seen. `level` is ok, info, warning or error; an error means that a start would fail."""

    level: str
    subject: str
    text: str


class _Rule(NamedTuple):
    """A danger that the value of one option is, perhaps only where strangers can connect."""

    name: str
    is_dangerous: Callable[[Any, Settings], bool]
    text: str
    only_in_public: bool = True


_RULES = (
    _Rule("forwarded_allow_ips", lambda value, other: other.proxy_headers and "*" in value,
          "every client can say who it is; name the proxies instead"),
    _Rule("proxy_protocol_allow_ips", lambda value, other: other.proxy_protocol and "*" in value,
          "every client can say who it is; name the proxies instead"),
    _Rule("reload", lambda value, _: value, "for development: it serves whatever is saved"),
    _Rule("log_level", lambda value, _: value in ("debug", "trace"), "the log may hold what clients sent"),
    _Rule("limit_body", lambda value, _: value is None, "a request may be of any size, unless the application looks"),
    _Rule("limit_connections", lambda value, other: value is None and other.limit_concurrency is None,
          "nothing bounds how much runs at once; limit_concurrency would, too"),
    _Rule("min_body_rate", lambda value, _: not value, "clients may drip their requests, and each keeps a connection"),
    _Rule("lenient_requests", lambda value, _: value, "proxies may read the same octets in another way"),
    _Rule("timeout_graceful_shutdown", lambda value, _: value is None, "one request without an end keeps the server from ending",
          only_in_public=False),
    _Rule("timeout_startup", lambda value, _: value is None, "an application that hangs is never given up",
          only_in_public=False),
)  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Check what `words` say; the exit code."""
    wants_json, wants_all = "--json" in words, "--all" in words
    if "-h" in words or "--help" in words:
        print(_HELP)
        return 0
    try:
        found = cli.read([word for word in words if word not in ("--json", "--all")])
    except cli.UsageError as error:
        if wants_json:
            print(_as_json(None, [Finding("error", "options", line) for line in str(error).splitlines()]))
            return 1
        return cli.complain(error)
    if found is None:
        return 0
    code, findings = examine(found)
    print(_as_json(found, findings) if wants_json else _as_text(found, findings, wants_all), flush=True)
    return runner.leave(code, found.settings.timeout_graceful_shutdown)


def examine(found: Found) -> tuple[int, list[Finding]]:
    """The exit code that a start would have, and all that was seen."""
    settings = found.settings
    findings = [Finding(level, "options", text) for level, text in found.notes]
    findings += [*_dangers(found), *_look_for_files(settings), *_try_sockets(settings), *_try_door(settings)]
    with redirect_stdout(sys.stderr):
        try:
            findings += [Finding(level, "options", text) for level, text in cli.beliefs(settings)]
            log.configure(replace(settings, log_level="warning"))
        except ValueError as error:
            return runner.NOT_BOUND, [*findings, Finding("error", "options", str(error))]
        code = runner.NOT_BOUND if any(each.level == "error" for each in findings) else runner.ENDED
        started, result = time.monotonic(), runner.run_to_end(lambda: _live_and_die(found, findings))
    if result == runner.ENDED:
        findings.append(Finding("ok", "app", f"{found.app} starts and stops, in {time.monotonic() - started:.2f} s"))
    return code or result, findings


async def _live_and_die(found: Found, findings: list[Finding]) -> int:
    """The whole life of the application, without an address."""
    stopping = runner.Stopping(())
    try:
        return await runner.serve(
            found.app, replace(found.settings, reload=False), list, stopping, lambda sockets: stopping.ask(has_successor=False))
    except runner.CannotStart as error:
        message, code = error.args
        findings.append(Finding("error", "app", message))
        return int(code)


def _dangers(found: Found) -> Iterator[Finding]:
    settings = found.settings
    is_public = settings.fd is not None or (settings.uds is None and not all(map(_is_local, settings.host)))
    for rule in _RULES:
        value = getattr(settings, rule.name, None)
        if hasattr(settings, rule.name) and (is_public or not rule.only_in_public) and rule.is_dangerous(value, settings):
            yield Finding("warning", rule.name, rule.text)
    for name, origin in found.origins.items():
        if _SECRET in name and origin.startswith("--"):
            yield Finding("warning", name, "everybody on this machine can read it in the list of processes")
    if is_public and hasattr(os, "geteuid") and os.geteuid() == 0:
        yield Finding("warning", "user", "the server would run as root")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _look_for_files(settings: Settings) -> Iterator[Finding]:
    """What options name as files and folders, and where files are yet to be made."""
    for option in options():
        value = getattr(settings, option.name)
        paths = [value] if isinstance(value, str) else value if isinstance(value, tuple) else []
        for path in filter(None, paths if option.doc.metavar in ("FILE", "DIR") else []):
            is_there = os.path.isdir(path) if option.doc.metavar == "DIR" else os.path.isfile(path)
            kind = "folder" if option.doc.metavar == "DIR" else "file"
            if not is_there:
                yield Finding("error", option.name, f"there is no {kind} {os.path.abspath(path)}")
            elif not os.access(path, os.R_OK):
                yield Finding("error", option.name, f"this user may not read the {kind} {os.path.abspath(path)}")
    folder = os.path.dirname(os.path.abspath(settings.ready_file or ""))
    if settings.ready_file and not os.access(folder, os.W_OK):
        yield Finding("error", "ready_file", f"nothing can be written in the folder {folder}")


def _try_sockets(settings: Settings) -> Iterator[Finding]:
    try:
        context_of(settings)
        sockets = bind(settings)
    except (ListenError, TlsError) as error:
        yield Finding("error", "address", str(error))
        return
    for sock in sockets:
        yield Finding("ok", "address", f"{url_of(sock, settings)} can be listened on")
        sock.close()


def _try_door(settings: Settings) -> Iterator[Finding]:
    async def open_and_close(nobody: Any) -> None:
        # Who knocks at this moment is told an error.
        async with open_door(settings.control, nobody):
            pass

    try:
        asyncio.run(open_and_close(None))
    except DoorError as error:
        yield Finding("error", "control", str(error))


# -- the report


def _rows(found: Found) -> Iterator[tuple[str, Any, str, str]]:
    """Each option, its value for programs and for people, and its origin; no secret."""
    yield "app", found.app, found.app, found.origins.get("app", "default")
    for option in options():
        value = getattr(found.settings, option.name)
        if _SECRET in option.name and value is not None:
            value = "***"
        yield option.name, value, option.written(value), found.origins.get(option.name, "default")


def _as_text(found: Found, findings: Sequence[Finding], wants_all: bool) -> str:
    rows = [(name, text, origin) for name, _, text, origin in _rows(found) if wants_all or origin != "default"]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{name:{widths[0]}}  {text:{widths[1]}}  {origin}" for name, text, origin in rows]
    lines.append("" if wants_all else "All else is as by default (--all shows it).\n")
    for each in findings:
        lines.append(f"{each.level + ':':9}{each.subject}: " + each.text.replace("\n", "\n" + " " * 9))
    return "\n".join(lines)


def _as_json(found: Found | None, findings: Sequence[Finding]) -> str:
    settings = {name: {"value": value, "origin": origin} for name, value, _, origin in _rows(found)} if found else {}
    is_ok = not any(each.level == "error" for each in findings)
    report = {"ok": is_ok, "settings": settings, "findings": [each._asdict() for each in findings]}
    return json.dumps(report, indent=2, default=str)
