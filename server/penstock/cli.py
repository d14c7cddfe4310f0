"""The command line: `penstock MODULE[:ATTR] [options]`, and `penstock COMMAND …` for what else there is to do.

Arguments, with what the environment and a file add (`sources.py`), become Settings, and the runner does the rest. Every
option is made from a field of Settings, so this file knows none by name. A mistake is answered with a line that names it,
and exit code 1. A module that is called as a command is served as `penstock -- check` or `penstock check:app`.
argparse and the server are imported only by the runs that need them: `--version` answers at once.
"""

import os
import sys

TYPE_CHECKING = False  # as type checkers know it, without the five milliseconds of importing typing
if TYPE_CHECKING:
    from argparse import ArgumentParser, HelpFormatter
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from .options import Option
    from .settings import Settings
    from .sources import Found

_COMMANDS = {"check": ".check", "ctl": ".supervisor.knock"}
"""Each a module with `main(words)`, which returns the exit code."""

_WIDEST = 100

_INTRO = "Serve an ASGI or WSGI application over HTTP."
_APP_HELP = "The application: a module, or the path of its file, and after a colon the name it has there (app when left out)."
_NO_OBJECTS = (
    "several workers, a reload, and workers that are replaced or controlled need an import string such as main:app;"
    " an object cannot be loaded again"
)
_CONFIG_HELP = "TOML file with more options; without it [tool.penstock] of pyproject.toml, if there is one here."
_EXAMPLES = (
    "Each option may stand in the environment (PENSTOCK_LOG_LEVEL) and in the file (log_level), too."
    " To see what holds, and whether it works: penstock check MODULE[:ATTR] [options]."
    " To tell running workers what to do: penstock ctl --help"
)


class UsageError(Exception):
    """The command line makes no sense; the text says why."""


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command line `argv` (the process's own when None) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "--version" in words:
        print(_version())
        return 0
    if words and words[0] in _COMMANDS:
        from importlib import import_module

        return int(import_module(_COMMANDS[words[0]], __package__).main(words[1:]))
    try:
        found = read(words)
    except UsageError as error:
        return complain(error)
    if found is None:
        return 0
    from . import runner

    return runner.leave(serve(found), found.settings.timeout_graceful_shutdown)


def complain(error: Exception) -> int:
    """A mistake in the command line or another source, as its user reads it; the exit code."""
    print(*(f"penstock: {line}" for line in str(error).splitlines()), "See penstock --help.", sep="\n", file=sys.stderr)
    return 1


def serve(found: "Found") -> int:
    """Serve in this process, or in workers where the settings want several or a reload; the exit code."""
    import json

    from . import log, runner

    app, settings = found.app, found.settings
    try:
        log.configure(settings)
        notes = beliefs(settings)
    except ValueError as error:
        return complain(error)
    log.tell([*found.notes, *notes])
    count = settings.workers or 1
    needs_supervisor = settings.reload or settings.reload_dry_run or settings.worker_lifetime or settings.limit_worker_memory or settings.control
    if count == 1 and not needs_supervisor:
        return runner.run(app, settings)
    if not isinstance(app, str):
        print(f"penstock: {_NO_OBJECTS}", file=sys.stderr)
        return runner.NOT_STARTED
    try:
        json.dumps(settings.log_config)
    except (TypeError, ValueError) as error:
        return complain(ValueError(f"--log-config: it goes to the workers as JSON, which it cannot ({error}). Name classes by their paths"))
    from .supervisor.supervisor import supervise

    return runner.run_to_end(lambda: supervise(app, settings, count))


def beliefs(settings: "Settings") -> list[tuple[str, str]]:
    """Whom the settings trust to speak for others, for the log; ValueError for a list that is none."""
    from .connection.trust import Trust

    asked = ("forwarded_allow_ips", "forwarded headers", settings.proxy_headers or settings.forwarded_headers), (
        "proxy_protocol_allow_ips", "the PROXY protocol", settings.proxy_protocol)  # fmt: skip
    said = []
    for name, what, is_on in asked:
        try:
            said.append(Trust(getattr(settings, name)).warning(what) if is_on else "")
        except ValueError as error:
            raise ValueError(f"--{name.replace('_', '-')}: {error}") from None
    return [("info", line) for line in said if line]


def _version() -> str:
    from . import __version__

    kind = sys.implementation.name
    name = {"cpython": "CPython", "pypy": "PyPy"}.get(kind, kind)
    python = ".".join(map(str, sys.version_info[:3]))
    return f"penstock {__version__} with {name} {python} on {sys.platform}"


def read(words: "Sequence[str]") -> "Found | None":
    """The application and the settings that `words` and the other sources ask for; None when they ask for help.

    Raises UsageError.
    """
    from .settings import options
    from .sources import SourceError, from_command_line

    parser = _make_parser(options())
    if "-h" in words or "--help" in words:
        print(parser.format_help(), end="")
        return None
    words = _read_truths(words, options())
    _refuse_unknown(words, options())
    try:
        found = from_command_line(vars(parser.parse_args(words)), os.environ)
    except SourceError as error:
        raise UsageError(str(error)) from None
    if found.app is None:
        raise UsageError("which application? Name it as MODULE:ATTR, for example main:app")
    return found


def _read_truths(words: "Sequence[str]", known: "Sequence[Option]") -> list[str]:
    """Switches with a value, as some command lines have them: `--reload=false`, `--reload false`."""
    switches = {option.flag: option for option in known if option.kind is bool}
    result: list[str] = []
    for word in words:
        flag, _, value = word.partition("=")
        if result and result[-1] in switches and word.lower() in ("true", "false"):
            flag, value = result.pop(), word
        if flag in switches and value:
            try:
                word = flag if switches[flag].parse(value) else "--no-" + flag[2:]
            except ValueError as error:
                raise UsageError(str(error)) from None
        result.append(word)
    return result


def _refuse_unknown(words: "Sequence[str]", known: "Sequence[Option]") -> None:
    """Refuse an option that does not exist, before argparse takes its value for the application."""
    from .options import did_you_mean

    flags = ["-h", "--help", "--version", "--config", *(flag for option in known for flag in _flags(option))]
    for word in words:
        if word == "--":
            return
        flag = word.partition("=")[0]
        if flag.startswith("-") and flag.strip("-") and not flag[1].isdigit() and flag not in flags:
            near = did_you_mean(flag if flag.startswith("--") else "-" + flag, flags)
            raise UsageError(f"unknown option {flag}{near}")


# -- the parser


def _make_parser(known: "Sequence[Option]") -> "ArgumentParser":
    from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction

    class Parser(ArgumentParser):
        def error(self, message: str) -> "NoReturn":
            raise UsageError(_reword(message))

    # What is not given is not in the result: the defaults are those of Settings.
    parser = Parser(
        prog="penstock",
        usage="penstock MODULE[:ATTR] [options]",
        description=_INTRO,
        epilog=_EXAMPLES,
        formatter_class=_formatter,
        allow_abbrev=False,
        add_help=False,
        argument_default=SUPPRESS,
    )
    first = parser.add_argument_group("What to serve")
    first.add_argument("app", nargs="?", metavar="MODULE[:ATTR]", help=_APP_HELP)
    first.add_argument("--config", metavar="FILE", help=_CONFIG_HELP)
    groups: "dict[str, Any]" = {}
    for option in known:
        title = option.doc.group
        group = groups.get(title) or groups.setdefault(title, parser.add_argument_group(title))
        text = _help_text(option)
        if option.kind is bool:
            group.add_argument(option.flag, action=BooleanOptionalAction, default=SUPPRESS, help=text)
        else:
            action = "append" if option.kind is tuple else "store"
            group.add_argument(option.flag, dest=option.name, action=action, metavar=option.doc.metavar, help=text)
    # Listed here, answered before the parser sees them.
    last = parser.add_argument_group("Help")
    last.add_argument("--version", action="store_true", help="Show the version and leave.")
    last.add_argument("-h", "--help", action="store_true", help="Show this text and leave.")
    return parser


def _formatter(prog: str) -> "HelpFormatter":
    from argparse import HelpFormatter
    from shutil import get_terminal_size

    return HelpFormatter(prog, max_help_position=28, width=min(_WIDEST, get_terminal_size((_WIDEST, 24)).columns))


def _flags(option: "Option") -> list[str]:
    return [option.flag, "--no-" + option.flag[2:]] if option.kind is bool else [option.flag]


def _help_text(option: "Option") -> str:
    default = option.written(option.default)
    shown = f"default: {default}" if default else ""
    notes = "; ".join(filter(None, (", ".join(option.doc.choices), shown)))
    return (option.doc.help + (f" ({notes})" if notes else "")).replace("%", "%%")


def _reword(message: str) -> str:
    """An argparse message in our words; one that is not known stays as it is."""
    subject, _, trouble = message.removeprefix("argument ").partition(": ")
    if trouble == "expected one argument":
        return f"{subject} needs a value"
    if trouble.startswith("ignored explicit argument"):
        return f"{subject} takes no value"
    if subject == "unrecognized arguments":
        return f"there can be one application only, so what is {trouble}?"
    return message
