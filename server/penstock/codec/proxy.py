"""The PROXY protocol's header, which a load balancer sends before anything else: who the client really is.

Version 1 is a line of text, version 2 is binary (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). Read as
strictly as a request: what is malformed, too long or missing is refused, for whoever listens with this option on has
said that every connection begins with one. Extensions (TLVs) are checked in their framing and skipped; a checksum counts.
"""

from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from .errors import ProtocolError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MOST_LINE = 107
"""Octets of a version 1 line at most, with its CRLF (2.1)."""
MOST_BLOCK = 4096
"""Octets behind a version 2 header's fixed part. The format allows 65,535; nobody sends a tenth of this."""

_FIXED = 16
_LINE_START = b"PROXY "
_CRC32C = 0x03

Address = tuple[str, int]


class ProxyHeader(NamedTuple):
    """What a header says; None for an address that it leaves as the connection has it (LOCAL, UNKNOWN, UNSPEC, Unix)."""

    client: Address | None
    server: Address | None


_NOTHING = ProxyHeader(None, None)


def read_header(octets: bytes) -> tuple[ProxyHeader, int] | None:
    """A header and its size, of what begins with it; None when more must come. ProtocolError."""
    if SIGNATURE.startswith(octets[:12]) and octets[:1] == b"\r":
        return _read_binary(octets)
    if not _LINE_START.startswith(octets[:6]):
        raise _wrong("no PROXY protocol header", "2", octets)
    end = octets.find(b"\r\n", 0, MOST_LINE)
    if end >= 0:
        return _read_line(octets[:end]), end + 2
    if len(octets) >= MOST_LINE:
        raise _wrong("a PROXY line without an end", "2.1", octets)
    return None


def _read_line(line: bytes) -> ProxyHeader:
    protocol, *parts = line.split(b" ")[1:]
    if protocol == b"UNKNOWN":
        return _NOTHING
    kind = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}.get(protocol)
    if kind is None or len(parts) != 4 or b"%" in line:
        raise _wrong("a malformed PROXY line", "2.1", line)
    try:
        client, server = (str(kind(part.decode("ascii"))) for part in parts[:2])
    except ValueError:
        raise _wrong("a PROXY line with an address that is none", "2.1", line) from None
    for port in parts[2:]:
        if not port.isdigit() or len(port) > 5 or int(port) > 65535 or (port[:1] == b"0" and port != b"0"):
            raise _wrong("a PROXY line with a port that is none", "2.1", line)
    return ProxyHeader((client, int(parts[2])), (server, int(parts[3])))


def _read_binary(octets: bytes) -> tuple[ProxyHeader, int] | None:
    if len(octets) < _FIXED:
        return None
    version, command, family = octets[12] >> 4, octets[12] & 15, octets[13]
    size = int.from_bytes(octets[14:16], "big")
    if version != 2 or command > 1:
        raise _wrong("a PROXY header of another version or command", "2.2", octets)
    if size > MOST_BLOCK:
        raise _wrong(f"a PROXY header over {MOST_BLOCK} octets", "2.2", octets)
    end = _FIXED + size
    if len(octets) < end:
        return None
    # A health check of the proxy itself; what else it says is to be ignored.
    if command == 0:
        return _NOTHING, end
    header, extensions = _read_addresses(family, octets[_FIXED:end])
    _check_extensions(octets[:end], end - len(extensions))
    return header, end


def _read_addresses(family: int, block: bytes) -> tuple[ProxyHeader, bytes]:
    """TCP over IPv4 or IPv6, a Unix socket's stream, or what the proxy does not know; and what stands behind it."""
    size = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}.get(family)
    if size is None or len(block) < size:
        raise _wrong("a PROXY header of another family, or too short for its own", "2.2", block)
    if family in (0x00, 0x31):
        return _NOTHING, block[size:]
    width = 4 if family == 0x11 else 16
    kind = IPv4Address if family == 0x11 else IPv6Address
    client, server = str(kind(block[:width])), str(kind(block[width : 2 * width]))
    ports = [int.from_bytes(block[at : at + 2], "big") for at in (2 * width, 2 * width + 2)]
    return ProxyHeader((client, ports[0]), (server, ports[1])), block[size:]


def _check_extensions(header: bytes, at: int) -> None:
    """Each has a type, a length and so many octets, to the very end (2.2.7); a checksum is that of the whole header."""
    while at < len(header):
        start, size = at + 3, int.from_bytes(header[at + 1 : at + 3], "big")
        kind, at = header[at], start + size
        if start > len(header) or at > len(header):
            raise _wrong("a PROXY header with a broken extension", "2.2.7", header)
        if kind == _CRC32C:
            value, blank = header[start:at], header[:start] + bytes(size) + header[at:]
            if value != crc32c(blank).to_bytes(4, "big"):
                raise _wrong("a PROXY header with a wrong checksum", "2.2.7.3", header)


def crc32c(octets: bytes) -> int:
    """The checksum of RFC 3720 B.4."""
    table, crc = _table(), 0xFFFFFFFF
    for octet in octets:
        crc = table[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


def _wrong(what: str, clause: str, octets: bytes) -> ProtocolError:
    return ProtocolError(400, what, f"PROXY protocol {clause}", excerpt=octets[:80])
