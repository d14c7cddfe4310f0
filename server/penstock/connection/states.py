"""The states of a connection, and every move between them that there is.

    state        what it waits for                      limit
    HANDSHAKING  the TLS handshake                      handshake
    IDLE         the first octet of a request           first byte, keep-alive
    HEAD         the rest of a request's head           head
    RUNNING      the app, the body, the client taking   write; body and its least rate, while the app waits for it
    SKIPPING     the rest of a body nobody read         keep-alive
    OPEN         a WebSocket's frames                   ping, pong, write
    ENDING       its app, to take what came before      a second
    CLOSING      its client's Close, discarding         close
    FLUSHING     the client taking the last answer      write
    LINGERING    the client's end (FIN), discarding     linger
    CLOSED       nothing

Looking moves up would cost each request half a microsecond, so the connection does not: the tests watch it, and a move
that is not here fails them.
"""

from enum import Enum


class State(Enum):
    """What a connection waits for."""

    HANDSHAKING = "shaking hands"
    IDLE = "idle"
    HEAD = "reading head"
    RUNNING = "running"
    SKIPPING = "skipping a body"
    OPEN = "an open WebSocket"
    ENDING = "ending a WebSocket"
    CLOSING = "closing a WebSocket"
    FLUSHING = "flushing"
    LINGERING = "lingering"
    CLOSED = "closed"


# What ends a connection in any state: the client left, a limit passed, the server gives up on it.
_END = {State.CLOSED: "the client is gone, or a limit has passed"}
_LAST_ANSWER = {
    State.FLUSHING: "the last answer is not all taken",
    State.LINGERING: "the last answer was given: FIN",
}
_LAST_FRAME = {
    State.FLUSHING: "the last frame is not all taken",
    State.LINGERING: "both have said Close, or one waits no longer: FIN",
}

MOVES: dict[State, dict[State, str]] = {
    State.HANDSHAKING: {State.IDLE: "TLS is agreed on", **_END},
    State.IDLE: {State.HEAD: "some of a head", State.RUNNING: "a head", **_LAST_ANSWER, **_END},
    State.HEAD: {State.RUNNING: "the rest of the head", **_LAST_ANSWER, **_END},
    State.RUNNING: {
        State.IDLE: "the answer",
        State.SKIPPING: "the answer, before the body's end",
        State.OPEN: "a WebSocket is accepted",
        **_LAST_ANSWER,
        **_END,
    },
    State.SKIPPING: {State.IDLE: "the body's end", **_LAST_ANSWER, **_END},
    State.OPEN: {
        State.ENDING: "an end, behind messages the app has not taken",
        State.CLOSING: "our Close",
        **_LAST_FRAME,
        **_END,
    },
    State.ENDING: {State.CLOSING: "all is taken: our Close", **_LAST_FRAME, **_END},
    State.CLOSING: {**_LAST_FRAME, **_END},
    State.FLUSHING: {State.LINGERING: "all is taken: FIN", **_END},
    State.LINGERING: _END,
    State.CLOSED: {},
}
