"""A file of environment variables (`--env-file .env`), read as python-dotenv reads it.

    NAME=value                     blank lines, `export ` before a name, and `# comments` on a line or behind a value
    NAME='as it is'                over several lines, too; only \\\\ and \\' are escapes
    NAME="a\\nb"                    the same with \\n \\t \\r \\" \\\\ \\a \\b \\f \\v
    NAME=${OTHER}-${UNSET:-or so}  in every value, quoted or not; the environment goes before what the file says itself
    NAME                           nothing is set

What the environment has already stays. Where python-dotenv passes over a line that it does not understand, this is an
error: a setting that is silently missing is found late.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import NoReturn

_STATEMENT = re.compile(
    r"""
    (?:export[^\S\n]++)?+
    (?: '(?P<quoted>[^']+)' | (?P<name>[^=\#\s'][^=\#\s]*+) )
    [^\S\n]*+
    (?: = (?: [^\S\n]++ (?=\#)
            | [^\S\n]*+ (?: '(?P<single>(?:\\.|[^'\\])*)' | "(?P<double>(?:\\.|[^"\\])*)" | (?P<plain>(?!['"])[^\n]*) ) )
      (?P<equals>) )?
    [^\S\n]* (?:\#[^\n]*)? (?:\n|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_NOTHING = re.compile(r"(?:\s+|\#[^\n]*)*")
_QUOTED = re.compile(r"""[^\n=]*=[^\S\n]*(?:(['"])(?:\\.|(?!\1)[^\\])*(?P<closed>\1)?)""", re.DOTALL)
_COMMENT = re.compile(r"\s+#.*")
_ESCAPE = re.compile(r"\\([\\'\"abfnrtv])")
_SINGLE_ESCAPE = re.compile(r"\\([\\'])")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_REFERENCE = re.compile(r"\$\{(?P<name>[^}:]*)(?::-(?P<default>[^}]*))?\}")

_MOST_SHOWN = 40


class EnvFileError(Exception):
    """The file cannot be read; the text names it, the line and the reason."""


def load(path: str, environ: MutableMapping[str, str]) -> None:
    """Put what the file says into `environ`, except what is there already. Raises EnvFileError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise EnvFileError(f"The file of --env-file cannot be read: {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise EnvFileError(f"{path}, line {line}: not UTF-8 text") from None
    for name, value in parse(text, path, environ).items():
        environ.setdefault(name, value)


def parse(text: str, path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that `text` sets; `path` is for messages. Raises EnvFileError."""
    found: dict[str, str] = {}
    place = _after_nothing(text, 0)
    while place < len(text):
        statement = _STATEMENT.match(text, place)
        if statement is None:
            _complain(text, place, path)
        name = statement["quoted"] or statement["name"]
        found.pop(name, None)
        if statement["equals"] is not None:
            value = _expand(_value_of(statement), {**found, **environ})
            if "\0" in value:
                raise EnvFileError(f"{path}, line {_line(text, place)}: a NUL character, which no environment can hold")
            found[name] = value
        place = _after_nothing(text, statement.end())
    return found


def _after_nothing(text: str, place: int) -> int:
    nothing = _NOTHING.match(text, place)
    return nothing.end() if nothing is not None else place


def _value_of(statement: re.Match[str]) -> str:
    if statement["single"] is not None:
        return _SINGLE_ESCAPE.sub(r"\1", statement["single"])
    if statement["double"] is not None:
        return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), statement["double"])
    return _COMMENT.sub("", statement["plain"] or "").rstrip()


def _expand(value: str, known: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda reference: known.get(reference["name"], reference["default"] or ""), value)


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _complain(text: str, place: int, path: str) -> NoReturn:
    """Say what is wrong with the statement that begins at `place`."""
    where = f"{path}, line {_line(text, place)}"
    quoted = _QUOTED.match(text, place)
    if quoted is not None and quoted["closed"] is None:
        raise EnvFileError(f"{where}: the quote {quoted[1]} is not closed")
    at = place if quoted is None else quoted.end()
    rest = text[at : text.find("\n", at) % (len(text) + 1)].strip()
    shown = repr(rest if len(rest) <= _MOST_SHOWN else rest[:_MOST_SHOWN] + "…")
    if quoted is not None:
        raise EnvFileError(f"{path}, line {_line(text, at)}: {shown} behind the closing quote")
    raise EnvFileError(f"{where}: NAME=value was expected, not {shown}")
