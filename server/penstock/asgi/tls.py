"""What an app is told of TLS: the `tls` extension of its scope (ASGI TLS spec 0.2).

Made once for a connection, at its first request: nothing of it changes later, for a client may not shake hands again.
The chain behind a client's own certificate is public from Python 3.13 on; before, the chain is that certificate alone.
"""

import ssl
from typing import Any

from ..connection.https import HttpsConnection
from ..connection.life import Connection

_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

# RFC 4514 3 has these names; other kinds are written as the number OpenSSL knows them by.
_SHORT = {
    "commonName": "CN", "localityName": "L", "stateOrProvinceName": "ST", "organizationName": "O",
    "organizationalUnitName": "OU", "countryName": "C", "streetAddress": "STREET", "domainComponent": "DC", "userId": "UID",
    "emailAddress": "1.2.840.113549.1.9.1", "serialNumber": "2.5.4.5", "givenName": "2.5.4.42", "surname": "2.5.4.4", "title": "2.5.4.12",
}  # fmt: skip

_SPECIAL = str.maketrans({each: "\\" + each for each in '"+,;<>\\'} | {"\0": "\\00"})


def add_tls(extensions: dict[str, Any], connection: Connection) -> None:
    """Tell what is known of TLS, if there is any on the connection."""
    if isinstance(connection, HttpsConnection):
        if connection.told is None:
            connection.told = tls_extension(connection.channel.tls)
        extensions["tls"] = connection.told.copy()


def tls_extension(tls: ssl.SSLObject) -> dict[str, Any]:
    """The values of `scope["extensions"]["tls"]` for one connection."""
    chain = _chain(tls)
    cipher = tls.cipher()
    numbers = {each["name"]: int(each["id"]) & 0xFFFF for each in tls.context.get_ciphers()}
    return {
        "server_cert": getattr(tls.context, "certificate", None),
        "client_cert_chain": chain,
        "client_cert_name": _name(tls) if chain else None,
        # Who fails the check does not get as far as a request.
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(tls.version() or ""),
        "cipher_suite": numbers.get(cipher[0]) if cipher is not None else None,
    }


def _chain(tls: ssl.SSLObject) -> list[str]:
    """The client's certificate and those that vouch for it, as PEM; empty when it showed none."""
    own = tls.getpeercert(binary_form=True)
    if own is None:
        return []
    chain: list[bytes] = getattr(tls, "get_verified_chain", lambda: [own])() or [own]
    return [ssl.DER_cert_to_PEM_cert(each) for each in chain]


def _name(tls: ssl.SSLObject) -> str:
    """The subject of the client's certificate, the most specific part first (RFC 4514 2)."""
    subject: Any = (tls.getpeercert() or {}).get("subject", ())
    parts = ["+".join(f"{_SHORT.get(kind, kind)}={_escape(value)}" for kind, value in part) for part in reversed(subject)]
    return ",".join(parts)


def _escape(value: str) -> str:
    """A value as RFC 4514 2.4 writes it."""
    text = value.translate(_SPECIAL)
    if text[:1] in (" ", "#"):
        text = "\\" + text
    if text.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text
