"""What an application says wrong, in words that name the message, the key and what was expected.

Types are told by TypeError, values and missing keys by ValueError, the order by RuntimeError. Nothing here is on the way
of a message that is right, except `take` for the rarer ones. Keys that nobody knows are tolerated.
"""

from typing import Any

from ..connection.exchange import ResponseError

Message = dict[str, Any]

_NEEDED: Any = object()


def take(message: Message, key: str, kinds: type | tuple[type, ...], wanted: str, default: Any = _NEEDED) -> Any:
    """The value under `key`, which must be one of `kinds` (`wanted`, in words), or `default` when it is left out."""
    value = message.get(key, default)
    if value is _NEEDED:
        raise missing(message, key)
    if value is default and default is not _NEEDED:
        return value
    # Python counts True as a number.
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is int):
        raise wrong(message, key, wanted)
    return value


def kind_of(message: Any) -> str:
    """The message's type; raises when it has none, or is no message at all."""
    if not isinstance(message, dict):
        raise TypeError(f"a message must be a dict, not {type(message).__name__}")
    kind: str = take(message, "type", str, "a str")
    return kind


def explained(error: Exception, message: Any) -> Exception:
    """What is to be raised to the app where a message led to `error`: a key that is not there, or what the codec says."""
    kind = kind_of(message)
    # The one key that is not taken by `take`. Any other may be missing in the app's own code, which makes the headers.
    if isinstance(error, KeyError) and kind == "http.response.start" and "status" not in message:
        return missing(message, "status")
    return ValueError(f"{kind}: {error}") if isinstance(error, ResponseError) else error


def wrong(message: Message, key: str, wanted: str) -> TypeError:
    """The value under `key` is of another type than `wanted`."""
    return TypeError(f"{_title(message)}: {key!r} must be {wanted}, not {type(message[key]).__name__}")


def missing(message: Message, key: str) -> ValueError:
    """`key` must be there and is not."""
    return ValueError(f"{_title(message)} without {key!r}")


def octets_of(message: Message, key: str) -> bytes:
    """A body that is not bytes: other buffers are copied, anything else is a mistake."""
    value = message[key]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise wrong(message, key, "bytes")


def _title(message: Message) -> str:
    return str(message.get("type", "a message"))
