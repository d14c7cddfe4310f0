"""The loggers made ready, from the options or from a log configuration: a dict, or a file of one (JSON, TOML, YAML, INI).

LOGGING_CONFIG is what the options come to, as a dict, for programs that change a copy of it. Without one, nothing of
`logging.config` is loaded: that takes longer than everything else here.
"""

import logging
import os
import sys
from collections.abc import Iterable
from io import TextIOWrapper
from typing import Any

from ..settings import Settings
from .atoms import compile_format
from .formatters import DEFAULT_FORMAT, TRACE, AccessFormatter, DefaultFormatter, JsonFormatter, wants_colours
from .handlers import StreamHandler

LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}

LOGGING_CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {"()": "penstock.logging.DefaultFormatter", "fmt": DEFAULT_FORMAT, "use_colors": None},
        "access": {
            "()": "penstock.logging.AccessFormatter",
            "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
            "use_colors": None,
        },
    },
    "handlers": {
        "default": {"class": "penstock.logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"},
        "access": {"class": "penstock.logging.StreamHandler", "formatter": "access", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "penstock": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "penstock.error": {"level": "INFO"},
        "penstock.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}

_AS_IT_WAS = repr(LOGGING_CONFIG)


class LogConfigError(ValueError):
    """The log cannot be made as the options want it; the text names the option and the reason."""


def configure(settings: Settings) -> None:
    """Make the loggers ready; a second call replaces the first one's handlers. Raises LogConfigError."""
    logging.addLevelName(TRACE, "TRACE")
    try:
        compile_format(settings.access_log_format or "", lambda exchange: {})
    except ValueError as error:
        raise LogConfigError(f"--access-log-format: {error}") from None
    # A program may have changed the dict in place.
    source = LOGGING_CONFIG if settings.log_config == "" and repr(LOGGING_CONFIG) != _AS_IT_WAS else settings.log_config
    if source != "":
        if settings.log_json:
            raise LogConfigError("--log-json and --log-config: name penstock.logging.JsonFormatter in the configuration instead")
        if source is not None:
            _apply(source, settings.use_colors)
        for name in ("penstock.error", "penstock.access", "penstock.asgi") if settings.log_level != "info" else ():
            logging.getLogger(name).setLevel(LEVELS[settings.log_level])
        return
    for name, stream in (("penstock", sys.stderr), ("penstock.access", sys.stdout)):
        logger = logging.getLogger(name)
        logger.setLevel(LEVELS[settings.log_level])
        for old in [each for each in logger.handlers if isinstance(each, StreamHandler)]:
            logger.removeHandler(old)
            old.close()
        # A program without a console (pythonw) has no streams.
        if not logger.handlers and stream is not None:
            # Unbuffered (python -u), print() writes a line and its end apart, and the log could come between the two.
            if isinstance(stream, TextIOWrapper) and stream.write_through:
                stream.reconfigure(line_buffering=True, write_through=False)
            handler = StreamHandler(stream)
            colours = wants_colours(stream) if settings.use_colors is None else settings.use_colors
            handler.setFormatter(_formatter(name, settings.log_json, colours))
            logger.addHandler(handler)
            logger.propagate = False


def tell(notes: Iterable[tuple[str, str]]) -> None:
    """Log what others found before there was a log: pairs of a level and a line."""
    for level, line in notes:
        logging.getLogger("penstock.error").log(LEVELS[level], "%s", line)


def flush() -> None:
    """Wait a moment for what was logged to be written, so that what a program prints next stands behind it."""
    for name in ("penstock", "penstock.error", "penstock.access", "penstock.asgi"):
        for handler in logging.getLogger(name).handlers:
            handler.flush()


def _formatter(name: str, is_json: bool, colours: bool) -> logging.Formatter:
    if is_json:
        return JsonFormatter()
    return AccessFormatter(use_colors=colours) if name == "penstock.access" else DefaultFormatter(DEFAULT_FORMAT, use_colors=colours)


def _apply(source: str | dict[str, Any], use_colors: bool | None) -> None:
    import logging.config

    try:
        config = _load(source) if isinstance(source, str) else source
        if config is None:
            logging.config.fileConfig(str(source), disable_existing_loggers=False)
            return
        for name in ("default", "access"):
            formatter = config.get("formatters", {}).get(name)
            if use_colors is not None and isinstance(formatter, dict):
                formatter["use_colors"] = use_colors
        logging.config.dictConfig(config)
    # Whatever a constructor named in it raises.
    except Exception as error:
        reason = f"{error}: {error.__cause__}" if error.__cause__ is not None else str(error) or type(error).__name__
        raise LogConfigError(f"--log-config {source if isinstance(source, str) else ''}: {reason}") from error


def _load(path: str) -> dict[str, Any] | None:
    """The dict in a file, by the end of its name; None for an INI file, which logging reads itself."""
    kind = os.path.splitext(path)[1].lower()
    if kind not in (".json", ".toml", ".yaml", ".yml"):
        with open(path, encoding="utf-8"):
            return None
    with open(path, "rb") as file:
        if kind == ".json":
            import json

            config = json.load(file)
        elif kind == ".toml":
            import tomllib

            config = tomllib.load(file)
        else:
            from importlib import import_module

            try:
                config = import_module("yaml").safe_load(file)
            except ImportError:
                raise ValueError("YAML needs the package PyYAML; or write it as JSON or TOML") from None
    if not isinstance(config, dict):
        raise ValueError("it holds no table of settings")
    return config
