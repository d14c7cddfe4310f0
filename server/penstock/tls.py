"""TLS contexts, from settings: certificates, keys, who may connect.

One certificate is the rule. With several, the name that a client asks for (SNI, RFC 6066 3) chooses among them: the
exact name first, then a wildcard, then the first certificate. Everything is read when the server starts, and again by
the new workers of a reload, so a renewed certificate is taken up by SIGHUP.
"""

import os
import ssl

from .settings import Settings


# DER: the object identifier 2.5.29.17, five octets that stand nowhere else by chance; and two tags.
_SUBJECT_ALT_NAME = b"\x06\x03\x55\x1d\x11"
_BOOLEAN = 0x01
_DNS_NAME = 0x82


class TlsError(Exception):
    """A certificate, a key or an option of TLS cannot be used; the text says which, and why."""


class Context(ssl.SSLContext):
    """A server's context, and the certificate it shows (PEM)."""

    certificate = ""


def context_of(settings: Settings) -> Context | None:
    """The context that connections are encrypted by; None where no certificate is given. Raises TlsError."""
    certificates, keys = settings.ssl_certfile, settings.ssl_keyfile
    if not certificates:
        if keys:
            raise TlsError("--ssl-keyfile needs a --ssl-certfile: a key is nothing without its certificate")
        return None
    if len(keys) not in (0, len(certificates)):
        raise TlsError(f"{len(certificates)} × --ssl-certfile and {len(keys)} × --ssl-keyfile: give one key for each, or none")
    contexts = [_make(settings, *pair) for pair in zip(certificates, keys or certificates, strict=True)]
    if len(contexts) > 1:
        _choose_by_name(contexts)
    return contexts[0]


def _make(settings: Settings, certificate: str, key: str) -> Context:
    try:
        context = Context(settings.ssl_version)
    except ValueError:
        raise TlsError(f"--ssl-version must be a protocol of Python's ssl module, such as 17, not {settings.ssl_version}") from None
    _load(context, settings, certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    # The client starts no second handshake in the middle of a connection (RFC 5746 is about what came of that).
    context.options |= ssl.OP_NO_RENEGOTIATION
    if settings.ssl_ciphers is not None:
        try:
            context.set_ciphers(settings.ssl_ciphers)
        except ssl.SSLError:
            raise TlsError(f"--ssl-ciphers: OpenSSL knows none of {settings.ssl_ciphers!r}") from None
    if settings.ssl_ca_certs is not None:
        try:
            context.load_verify_locations(settings.ssl_ca_certs)
        except OSError as error:
            raise TlsError(f"--ssl-ca-certs {settings.ssl_ca_certs}: {_reason(error)}") from None
    elif settings.ssl_cert_reqs:
        raise TlsError("--ssl-cert-reqs needs --ssl-ca-certs: nobody is named who may sign a client's certificate")
    context.verify_mode = ssl.VerifyMode(settings.ssl_cert_reqs)
    return context


def _load(context: Context, settings: Settings, certificate: str, key: str) -> None:
    """Read a certificate and its key."""
    password = settings.ssl_keyfile_password

    def ask() -> str:
        # Else OpenSSL asks in the terminal, and there may be none.
        if password is None:
            raise TlsError(f"--ssl-keyfile {key}: it is encrypted; give its password with --ssl-keyfile-password")
        return password

    for flag, path in (("--ssl-certfile", certificate), ("--ssl-keyfile", key)):
        try:
            with open(path, encoding="latin-1") as text:
                context.certificate = context.certificate or _first_certificate(text.read())
        except OSError as error:
            raise TlsError(f"{flag} {path}: {_reason(error)}") from None
    try:
        context.load_cert_chain(certificate, key, ask)
    except ssl.SSLError as error:
        which = f"--ssl-certfile {certificate}" + (f" and --ssl-keyfile {key}" if key != certificate else "")
        raise TlsError(f"{which}: {_explain(error)}" + (", or the password is wrong" if password and not error.reason else "")) from None


def _first_certificate(text: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = text.find(begin)
    return text[first : text.find(end, first) + len(end)] + "\n" if first >= 0 else ""


def _explain(error: ssl.SSLError) -> str:
    known = {
        "KEY_VALUES_MISMATCH": "the key is another certificate's",
        "NO_START_LINE": "no PEM text in it",
        "BAD_DECRYPT": "the password is wrong",
        "BAD_PASSWORD_READ": "the password is wrong",
    }
    reason = error.reason or ""
    if reason in known:
        return known[reason]
    return "no certificate and key in PEM" + (f" ({reason.replace('_', ' ').lower()})" if reason else "")


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return _explain(error)
    return os.strerror(error.errno) if error.errno else str(error)


# ── several names ──


def _choose_by_name(contexts: list[Context]) -> None:
    by_name: dict[str, Context] = {}
    for context in contexts:
        for name in _names_in(context.certificate):
            by_name.setdefault(name, context)

    def choose(tls: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> None:
        name = (name or "").lower()
        found = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
        if found is not None:
            tls.context = found

    contexts[0].sni_callback = choose


def _names_in(certificate: str) -> list[str]:
    """The DNS names that a certificate is for (RFC 5280 4.2.1.6); "*.example.org" stands for one label."""
    der = ssl.PEM_cert_to_DER_cert(certificate)
    place = der.find(_SUBJECT_ALT_NAME)
    if place < 0:
        return []
    place += len(_SUBJECT_ALT_NAME)
    if der[place] == _BOOLEAN:
        place = _value(der, place)[1]
    # An octet string around a sequence of names.
    place, _ = _value(der, place)
    place, end = _value(der, place)
    names = []
    while place < end:
        kind = der[place]
        start, place = _value(der, place)
        if kind == _DNS_NAME:
            names.append(der[start:place].decode("ascii", "replace").lower())
    return names


def _value(der: bytes, place: int) -> tuple[int, int]:
    """From where to where the value of the DER element at `place` goes (X.690 8.1.3)."""
    length, start = der[place + 1], place + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[place + 2 : start], "big")
    return start, start + length
