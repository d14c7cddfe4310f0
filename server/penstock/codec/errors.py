"""What can go wrong in a codec: the peer's fault, or the app's.

`ProtocolError` is the peer's: the connection answers it with its status and closes. `ResponseError` is the
app's: what it asked for cannot be put on the wire, and nothing of it was. Both say which rule was broken.
"""

_LOOKS = (
    (b"\x16\x03", "a TLS handshake: https spoken to a plain port"),
    (b"PRI * HTTP/2", "HTTP/2 with prior knowledge; HTTP/1.1 is spoken here"),
    (b"PROXY ", "a PROXY protocol line; --proxy-protocol would expect it"),
    (b"\r\n\r\n\0\r\nQUIT\n", "a PROXY protocol header (version 2); --proxy-protocol would expect it"),
    (b"SSH-", "an SSH client"),
    (b"EHLO ", "a mail client"),
    (b"CONNECT ", "a client that takes this server for a proxy"),
    (b"\x05\x01\0", "a client that takes this server for a SOCKS proxy"),
)


class ProtocolError(Exception):
    """The peer broke a rule. `status` is the answer, `reason` one sentence for the peer and the log.

    `clause` names the rule's source ("RFC 9112 5.1"); `excerpt` the octets to blame, where there are such, `offset`
    their place in the head or -1, and `hint` what the octets look like that are no HTTP. As text: a line for the log.
    """

    def __init__(self, status: int, reason: str, clause: str, *, offset: int = -1, excerpt: bytes = b"") -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.clause = clause
        self.offset = offset
        self.excerpt = excerpt
        self.hint = ""

    def locate(self, head: bytes) -> None:
        """Find the excerpt's place in the head it was taken from, and guess what that head is instead."""
        if self.offset < 0 and self.excerpt:
            self.offset = head.find(self.excerpt)
        self.hint = next((what for start, what in _LOOKS if head[:20].startswith(start)), "")

    def __str__(self) -> str:
        where = f" at octet {self.offset}" if self.offset >= 0 else ""
        what = f": {self.excerpt[:80]!r}" if self.excerpt else ""
        hint = f"; it looks like {self.hint}" if self.hint else ""
        return f"{self.status}, {self.reason} ({self.clause}){where}{what}{hint}"


class ResponseError(ValueError):
    """The app's response breaks HTTP; raised to the app, with nothing written."""
