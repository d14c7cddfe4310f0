"""What can go wrong in a codec: the peer's fault, or the app's.

`ProtocolError` is the peer's: the connection answers it with its status and closes. `ResponseError` is the
app's: what it asked for cannot be put on the wire, and nothing of it was. Both say which rule was broken.
"""


class ProtocolError(Exception):
    """The peer broke a rule. `status` is the answer, `reason` one sentence for the peer and the log.

    `clause` names the rule's source ("RFC 9112 5.1"); `offset` is the octet's place in what was being read and
    `excerpt` the octets around it, where one octet is to blame.
    """

    def __init__(self, status: int, reason: str, clause: str, *, offset: int = 0, excerpt: bytes = b"") -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.clause = clause
        self.offset = offset
        self.excerpt = excerpt


class ResponseError(ValueError):
    """The app's response breaks HTTP; raised to the app, with nothing written."""
