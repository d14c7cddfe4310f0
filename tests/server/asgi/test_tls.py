import ssl
from pathlib import Path

from support.secure import talk
from support.streams import CERTIFICATE

from penstock.asgi.tls import tls_extension
from penstock.settings import Settings
from penstock.tls import context_of

CLIENT = str(Path(CERTIFICATE).with_name("client.pem"))


def shaken(shows_certificate: bool = False, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLObject:
    """The server's side of a connection."""
    settings = Settings(ssl_certfile=(str(CERTIFICATE),), ssl_cert_reqs=1, ssl_ca_certs=CLIENT)
    server, client = context_of(settings), ssl.create_default_context(cafile=str(CERTIFICATE))
    assert server is not None
    client.maximum_version = version
    if shows_certificate:
        client.load_cert_chain(CLIENT)
    return talk(server, client, "localhost")[1]


def test_every_key_is_there_and_says_what_was_agreed_on() -> None:
    found = tls_extension(shaken())
    assert set(found) == {
        "server_cert", "client_cert_chain", "client_cert_name", "client_cert_error", "tls_version", "cipher_suite",
    }
    assert found["server_cert"] in Path(CERTIFICATE).read_text(encoding="ascii")
    assert found["server_cert"].startswith("-----BEGIN CERTIFICATE-----")
    assert found["tls_version"] == 0x0304
    # TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256
    assert found["cipher_suite"] in (0x1301, 0x1302, 0x1303)


def test_tls_1_2_has_its_number() -> None:
    found = tls_extension(shaken(version=ssl.TLSVersion.TLSv1_2))
    assert found["tls_version"] == 0x0303
    assert 0xC000 <= found["cipher_suite"] <= 0xCFFF


def test_a_client_without_a_certificate_has_no_name() -> None:
    found = tls_extension(shaken())
    assert (found["client_cert_chain"], found["client_cert_name"], found["client_cert_error"]) == ([], None, None)


def test_a_client_s_certificate_is_given_with_its_name_escaped_and_turned_round() -> None:
    found = tls_extension(shaken(shows_certificate=True))
    assert found["client_cert_chain"][0].strip() in Path(CLIENT).read_text(encoding="ascii")
    assert found["client_cert_name"] == r"CN=ann,OU=\#1+O=Acme\, Inc.,C=CH"
