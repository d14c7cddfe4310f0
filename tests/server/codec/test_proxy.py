import pytest

from penstock.codec.errors import ProtocolError
from penstock.codec.proxy import MOST_BLOCK, MOST_LINE, SIGNATURE, ProxyHeader, crc32c, read_header

V4 = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + (4711).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6 = bytes(15) + b"\1" + bytes(15) + b"\2" + b"\x12\x67\x01\xbb"
CALLED = ProxyHeader(("192.0.2.1", 4711), ("198.51.100.2", 443))
NOTHING = ProxyHeader(None, None)


def binary(block: bytes = V4, family: int = 0x11, first: int = 0x21) -> bytes:
    return SIGNATURE + bytes([first, family]) + len(block).to_bytes(2, "big") + block


def extension(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def summed() -> bytes:
    blank = binary(V4 + extension(4, b"x") + extension(3, bytes(4)))
    return blank[:-4] + crc32c(blank).to_bytes(4, "big")


GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n", CALLED),
    (b"PROXY TCP6 2001:db8::1 ::2 4711 0\r\n", ProxyHeader(("2001:db8::1", 4711), ("::2", 0))),
    (b"PROXY UNKNOWN\r\n", NOTHING),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", NOTHING),
    (binary(), CALLED),
    (binary(V6, 0x21), ProxyHeader(("::1", 4711), ("::2", 443))),
    (binary(bytes(216), 0x31), NOTHING),
    (binary(b"", 0), NOTHING),
    (binary(extension(1, b"h2"), 0), NOTHING),
    (binary(V4 + extension(2, b"host") + extension(4, b"")), CALLED),
    (binary(b"", 0, 0x20), NOTHING),
    (binary(b"anything at all", 0x77, 0x20), NOTHING),
    (summed(), CALLED),
]


@pytest.mark.parametrize("octets, header", GOOD)
@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"])
def test_a_header_is_read_wherever_it_is_cut_and_nothing_behind_it(octets: bytes, header: ProxyHeader, behind: bytes) -> None:
    for cut in range(len(octets)):
        assert read_header(octets[:cut]) is None
    assert read_header(octets + behind) == (header, len(octets))


@pytest.mark.parametrize("octets, told", [
    (b"GET / HTTP/1.1\r\n", "no PROXY protocol header"),
    (b"\x16\x03\x01", "no PROXY protocol header"),
    (b"PROXI", "no PROXY protocol header"),
    (b"proxy TCP4", "no PROXY protocol header"),
    (b"\r\n\r\nGET", "no PROXY protocol header"),
    (b"PROXY TCP4 " + b"1" * MOST_LINE, "without an end"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\n" + b"x" * MOST_LINE, "without an end"),
    (b"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n", "malformed"),
    (b"PROXY \r\n", "malformed"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", "malformed"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", "malformed"),
    (b"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n", "malformed"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "malformed"),
    (b"PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n", "address"),
    (b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n", "address"),
    (b"PROXY TCP4 ::1 ::2 1 2\r\n", "address"),
    (b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", "address"),
    (b"PROXY TCP4 \xff 198.51.100.2 1 2\r\n", "address"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n", "port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 02\r\n", "port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n", "port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n", "port"),
    (binary(first=0x11), "version or command"),
    (binary(first=0x22), "version or command"),
    (binary(bytes(MOST_BLOCK + 1)), f"over {MOST_BLOCK}"),
    (binary(V4[:-1]), "too short"),
    (binary(family=0x12), "another family"),
    (binary(V4 + b"\1"), "extension"),
    (binary(V4 + b"\1\0\2x"), "extension"),
    (summed()[:-1] + b"\0", "checksum"),
    (binary(V4 + extension(3, b"12")), "checksum"),
])
def test_what_is_no_header_is_refused(octets: bytes, told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        read_header(octets)


def test_the_checksum_is_that_of_rfc_3720() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"123456789") == 0xE3069283
