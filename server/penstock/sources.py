"""Where settings come from: command line > environment > file > default, and each value's origin with it.

    from_command_line   the flags, PENSTOCK_<NAME>, UVICORN_<NAME> where the meaning is the same, WEB_CONCURRENCY,
                        FORWARDED_ALLOW_IPS, and the TOML file of --config or [tool.penstock] of ./pyproject.toml
    from_keywords       what a program says itself, and of the environment only those two, as uvicorn.run does

Only the value that counts is read; the others may be wrong. What is wrong is told together, each with the place where
it was written. Nothing is logged here: `notes` are for whoever has a log.
"""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .options import Doc, Option, did_you_mean
from .settings import Settings, from_options, options

UVICORN = frozenset(
    "app host port uds fd reload reload_dirs reload_includes reload_excludes reload_delay workers loop http http2 ws ws_max_size"
    " ws_max_queue ws_ping_interval ws_ping_timeout ws_per_message_deflate lifespan interface env_file log_config log_level"
    " access_log use_colors proxy_headers server_header date_header forwarded_allow_ips root_path limit_concurrency backlog"
    " limit_max_requests limit_max_requests_jitter timeout_keep_alive timeout_graceful_shutdown timeout_worker_healthcheck"
    " ssl_keyfile ssl_certfile ssl_keyfile_password ssl_version ssl_cert_reqs ssl_ca_certs ssl_ciphers headers app_dir"
    " h11_max_incomplete_event_size reset_contextvars factory".split()
)
"""Its options; each means the same here, so UVICORN_<NAME> holds, too."""

FILE, ENVIRONMENT, KEYWORD, COMMAND = 1, 2, 3, 4
"""How much a source counts."""

_COMMON = {"workers": "WEB_CONCURRENCY", "forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}
_PROJECT_FILE = "pyproject.toml"

# One that stands for another, where that is not given.
_OTHER_NAMES = {"h11_max_incomplete_event_size": "limit_head"}

# Two ways to say the same thing: the stronger source counts. From one source they are a mistake, or the second is in vain.
_EXCLUSIVE = (("uds", "fd"),)
_ALTERNATIVES = (("uds", "host"), ("uds", "port"), ("fd", "host"), ("fd", "port"))

# Without the second the first is in vain. Told only to who wrote it into the command: in a file it may wait for the day
# when the other is given.
_NEEDS = tuple((name, other) for other, names in {
    "reload": "reload_dirs reload_includes reload_excludes reload_delay reload_mode timeout_reload",
    "uds": "uds_mode uds_owner",
    "limit_max_requests": "limit_max_requests_jitter",
    "proxy_headers": "forwarded_allow_ips",
    "proxy_protocol": "proxy_protocol_allow_ips",
    "ssl_certfile": "ssl_keyfile_password ssl_version ssl_cert_reqs ssl_ca_certs ssl_ciphers",
}.items() for name in names.split())  # fmt: skip

_APP = Option("app", str, True, None, Doc("", ""))


class SourceError(ValueError):
    """Something is wrong in a source; the text says what, where and what is allowed, a line for each."""


class Found(NamedTuple):
    """The configuration. `origins` has what is not a default; `notes` are pairs of a log level and a line."""

    app: Any
    settings: Settings
    origins: dict[str, str]
    notes: list[tuple[str, str]]


class _Given(NamedTuple):
    """What was written somewhere: a text to read, or a value. `label` is how a message calls it."""

    value: Any
    label: str
    origin: str
    rank: int


_Layer = dict[str, _Given]


def from_command_line(given: Mapping[str, Any], environ: Mapping[str, str]) -> Found:
    """`given` is what the flags said: texts, lists of texts and True or False, by option; SourceError."""
    notes: list[tuple[str, str]] = []
    words = {**given}
    file, label = words.pop("config", None), "--config"
    if file is None:
        file, label = environ.get("PENSTOCK_CONFIG") or None, "PENSTOCK_CONFIG"
    flags = {name: _flag(name) if name != "app" else "command line" for name in words}
    command = {name: _Given(value, flags[name], flags[name], COMMAND) for name, value in words.items()}
    return _combine(_read_file(file, label) | _read_environment(environ, notes) | command, notes)


def from_keywords(app: Any, given: Mapping[str, Any], environ: Mapping[str, str]) -> Found:
    """`given` are keywords of a program: TypeError for an unknown one, ValueError for a bad value. SourceError for the rest."""
    keywords = {name: value for name, value in given.items() if value is not None or name not in _COMMON}
    from_options(keywords)
    command = {name: _Given(value, name, "keyword", KEYWORD) for name, value in keywords.items()}
    found = _combine(_common(environ) | command, [])
    return found._replace(app=app)


# -- the sources


def _common(environ: Mapping[str, str]) -> _Layer:
    known = _known()
    return {name: _Given(environ[variable], variable, variable, ENVIRONMENT)
            for name, variable in _COMMON.items() if name in known and environ.get(variable)}  # fmt: skip


def _read_environment(environ: Mapping[str, str], notes: list[tuple[str, str]]) -> _Layer:
    """An empty variable counts as none, as for uvicorn."""
    found, known = _common(environ), _known()
    ours = {f"PENSTOCK_{name.upper()}": name for name in known}
    for variable, name in {**{f"UVICORN_{name.upper()}": name for name in known if name in UVICORN}, **ours}.items():
        if environ.get(variable):
            found[name] = _Given(environ[variable], variable, variable, ENVIRONMENT)
    for variable in environ:
        if variable.startswith("PENSTOCK_") and variable not in ours and variable != "PENSTOCK_CONFIG":
            near = did_you_mean(variable, list(ours))
            notes.append(("warning", f"There is no option for the environment variable {variable}{near}"))
    return found


def _read_file(named: str | None, label: str) -> _Layer:
    """A file that is named must be there; the project's may be anything as long as it does not speak of us."""
    path = named or _PROJECT_FILE
    try:
        with open(path, "rb") as file:
            octets = file.read()
    except OSError as error:
        if named is None:
            return {}
        raise SourceError(f"{label}: cannot read {path}: {error.strerror or error}") from None
    if named is None and b"penstock" not in octets:
        return {}
    import tomllib

    try:
        text = octets.decode("utf-8-sig")
        content = tomllib.loads(text)
    except ValueError as error:
        raise SourceError(f"{path} cannot be read as TOML: {error}") from None
    tools = content.get("tool")
    table: Any = tools.get("penstock") if isinstance(tools, dict) else None
    is_project = table is not None or os.path.basename(path) == _PROJECT_FILE
    table = (table or {}) if is_project else content
    if not isinstance(table, dict):
        raise SourceError(f"{path}: tool.penstock must be a table of options")
    return _from_table(table, path, text, "[tool.penstock]" if is_project else "")


def _from_table(table: dict[str, Any], path: str, text: str, header: str) -> _Layer:
    """The keys of a file, with - or _ in them, and where they stand."""
    found: _Layer = {}
    wrong = []
    for key, value in table.items():
        name, line = key.replace("-", "_"), _line_of(text, key, header)
        place = f"{path}:{line}" if line else path
        if name not in _known():
            wrong.append(f"{place}: penstock has no option {key!r}" + did_you_mean(name, list(_known())))
        elif name in found:
            wrong.append(f"{place}: {name} is there already, at {found[name].origin}")
        found[name] = _Given(value, f"{place}: {key}", place, FILE)
    if wrong:
        raise SourceError("\n".join(wrong))
    return found


def _line_of(text: str, key: str, header: str) -> int:
    """Where a key of the table `header` is written, counted from 1; 0 when that cannot be seen."""
    here, pattern = "", re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            here = line.partition("#")[0].replace(" ", "")
        elif here == header and pattern.match(line):
            return number
    return 0


# -- what comes of them


def _combine(given: _Layer, notes: list[tuple[str, str]]) -> Found:
    for pair in _EXCLUSIVE + _ALTERNATIVES:
        _choose(given, *pair)
    values: dict[str, Any] = {}
    wrong = []
    for name, each in given.items():
        try:
            values[name] = _read(_known()[name], each)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise SourceError("\n".join(wrong))
    app = values.pop("app", None)
    for name, other in _OTHER_NAMES.items():
        if values.get(name) is not None and other not in values:
            values[other], given[other] = values[name], given[name]
    notes += _remarks(values, given)
    return Found(app, from_options(values), {name: each.origin for name, each in given.items()}, notes)


def _read(option: Option, given: _Given) -> Any:
    if isinstance(given.value, str) and given.rank in (ENVIRONMENT, COMMAND):
        return option.parse(given.value, given.label)
    value = option.gather(given.value)
    option.check(value, given.label)
    return value


def _choose(given: _Layer, one: str, other: str) -> None:
    """Of two that exclude each other leave the one from the stronger source."""
    if one not in given or other not in given or None in (given[one].value, given[other].value):
        return
    if given[one].rank != given[other].rank:
        del given[one if given[one].rank < given[other].rank else other]
    elif (one, other) in _EXCLUSIVE:
        raise SourceError(f"{given[one].label} and {given[other].label} exclude each other: leave one of them out")


def _remarks(values: Mapping[str, Any], given: _Layer) -> list[tuple[str, str]]:
    """What is taken, but does less than its writer may think."""
    notes = []
    for option in options():
        if option.doc.instead and values.get(option.name, option.default) != option.default:
            notes.append(("info", f"{given[option.name].label}: {option.doc.instead}"))
    said = {name for name, each in given.items() if each.rank >= KEYWORD}
    for name, other in _NEEDS:
        if name in said and values[name] != _known()[name].default and not values.get(other, _known()[other].default):
            notes.append(("warning", f"{given[name].label} does nothing without {_flag(other)}"))
    for other, name in _ALTERNATIVES:
        if name in said and values[name] != _known()[name].default and values.get(other) is not None:
            notes.append(("warning", f"{given[name].label} does nothing beside {given[other].label}"))
    return notes


def _flag(name: str) -> str:
    return _known()[name].flag


def _known() -> dict[str, Option]:
    return _KNOWN


_KNOWN = {"app": _APP, **{option.name: option for option in options()}}
